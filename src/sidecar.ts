// Puts one sidecar together and keeps it running: config → lock → storage → transport, state machine, node → API. It stops in the opposite
// order, and at once when the node says that nothing more can be trusted.

import { randomBytes } from 'node:crypto'
import { createRequire } from 'node:module'
import { type Api, createApi } from './api/server.ts'
import { type Config, formatAddress, loadConfig } from './config.ts'
import { exitCodes, FatalError } from './errors.ts'
import { RaftNode } from './node/node.ts'
import { systemClock } from './node/system-clock.ts'
import { foundingDigest } from './peers/founding-digest.ts'
import { createTransport } from './peers/transport.ts'
import { readyChecks } from './readiness.ts'
import { createStateMachines, type StateMachines, validateKvCommand } from './state-machines.ts'
import { AcquaintanceFile } from './storage/acquaintances.ts'
import { lockDirectory } from './storage/directory-lock.ts'
import { nodeDisk } from './storage/node-disk.ts'
import { isFounded } from './storage/open-directory.ts'
import { decodeRecords, encodeEntry } from './storage/record.ts'
import { ResultFile } from './storage/result-file.ts'
import { type DurableStorage, openStorage } from './storage/storage.ts'
import { createLogger, type Logger } from './telemetry/logger.ts'
import { createMetrics } from './telemetry/metrics.ts'
import { createObserver } from './telemetry/observer.ts'
import { createServiceNotifier } from './telemetry/systemd-notify.ts'

const mebibyte = 1024 * 1024

/** What the core sends at once and keeps in memory; not for users to tune. */
const bounds = { maxMessageBytes: mebibyte, maxUncommittedBytes: 64 * mebibyte, maxCachedBytes: 16 * mebibyte }

interface Sidecar {
  readonly node: RaftNode
  readonly api: Api
  readonly machines: StateMachines
  readonly acquaintances: AcquaintanceFile
  readonly unlock: () => Promise<void>
}

/** Resolves when it serves; rejects with FatalError when it cannot start. Afterwards it ends the process by itself. */
export async function runSidecar(): Promise<void> {
  const config = loadConfig()
  const { version } = createRequire(import.meta.url)('../package.json') as { version: string }
  const logger = createLogger({ level: config.logLevel, cluster: config.cluster, node: config.nodeId })
  const notifier = createServiceNotifier({ ...config.serviceManager, logger })
  const onFatal = (error: FatalError) => {
    logger.fatal({ event: 'fatal', exitCode: error.exitCode, cause: String(error.cause ?? '') }, error.message)
    // At once: a node in doubt must not say another word.
    process.exit(error.exitCode)
  }
  // What nobody awaits is a defect of ours, and as such a reason to stop.
  process.on('unhandledRejection', (cause) => {
    onFatal(
      new FatalError(
        exitCodes.software,
        `Stopped by a defect: ${cause instanceof Error ? cause.stack : String(cause)}`,
      ),
    )
  })
  const sidecar = await assemble(config, version, logger, onFatal)

  const { apiListen, peerListen } = config
  const api = apiListen.kind === 'unix' ? `unix:${apiListen.path}` : formatAddress(apiListen)
  const peers = formatAddress(peerListen)
  logger.info(
    { event: 'started', version, api, peers, dataDir: config.dataDir },
    `raft-sidecar ${version} serves: API on ${api}, peers on ${peers}`,
  )
  const shutDown = async (signal: string) => {
    logger.info({ event: 'stopping', signal }, `${signal}: handing over and stopping`)
    await notifier.stopping()
    await stop(config, sidecar)
    notifier.close()
    logger.info({ event: 'stopped' }, 'Stopped')
    process.exit(0)
  }
  let isStopping = false
  for (const signal of ['SIGTERM', 'SIGINT'] as const) {
    process.on(signal, () => {
      if (!isStopping) void shutDown(signal)
      isStopping = true
    })
  }
  await notifier.ready(`Node ${config.nodeId} of cluster ${config.cluster}`)
}

async function assemble(
  config: Config,
  version: string,
  logger: Logger,
  onFatal: (error: FatalError) => void,
): Promise<Sidecar> {
  const unlock = await lockDirectory(config.dataDir, onFatal)
  try {
    const storage = await open(config, logger, onFatal)
    const acquaintances = await AcquaintanceFile.open(storage.background, config.dataDir)
    const machines = await createStateMachines(config, storage.background, logger, onFatal)
    const results = machines.kv === null ? await openResults(config, storage, logger) : null
    const metrics = createMetrics({ version, node: () => node })
    const node: RaftNode = new RaftNode({
      id: config.nodeId,
      storage,
      incarnation: storage.incarnation,
      run: storage.run,
      acquaintances,
      transport: connect(config, storage, logger),
      applier: machines.applier,
      leavesOut: machines.kv === null,
      watcher: machines.watcher,
      results,
      ledger: { maxKeys: config.maxIdempotencyKeys, maxAnswerBytes: 64 * mebibyte },
      clock: systemClock,
      random: Math.random,
      encodeEntry,
      observer: createObserver({ logger, metrics }),
      raft: {
        electionTimeoutMinMs: config.electionTimeoutMinMs,
        electionTimeoutMaxMs: config.electionTimeoutMaxMs,
        heartbeatIntervalMs: config.heartbeatIntervalMs,
        leaseReads: config.leaseReads,
        maxClockDriftPpm: config.maxClockDriftPpm,
        waitsAfterRestart: true,
        maxInFlightMessages: config.maxInflightAppends,
        maxLogEntries: config.maxLogEntries,
        ...bounds,
      },
      snapshots: { threshold: config.snapshotThreshold, bytesPerSecond: config.snapshotSendBytesPerSecond },
      limits: { maxPendingProposals: config.maxPendingProposals, maxPendingBytes: config.maxPendingBytes },
      appUrl: config.advertiseAppUrl,
      onFatal,
    })
    const api = createApi({
      node,
      cluster: config.cluster,
      version,
      maxCommandBytes: config.maxCommandBytes,
      maxPendingBytes: config.maxPendingBytes,
      leaseReads: config.leaseReads,
      kv: machines.kv,
      validateCommand: machines.kv === null ? null : validateKvCommand,
      readyChecks: () => readyChecks(node),
      metrics: () => metrics.render(),
      logger,
      listen: config.apiListen.kind === 'unix' ? { path: config.apiListen.path } : config.apiListen,
      statusListen: config.statusListen,
      token: config.apiToken,
    })
    const sidecar = { node, api, machines, acquaintances, unlock }
    node.subscribe((change) => {
      if (change.type === 'leadership') machines.leadership?.tell(change.leadership)
    })
    try {
      await node.start()
      await api.listen()
    } catch (error) {
      await stop(config, sidecar)
      throw error
    }
    return sidecar
  } catch (error) {
    await unlock()
    throw error
  }
}

/** Requests in flight get their answers from a node that is handing over; the lock goes last. */
async function stop(config: Config, { node, api, machines, acquaintances, unlock }: Sidecar): Promise<void> {
  await Promise.all([api.close(), node.stop(config.electionTimeoutMaxMs)])
  await machines.close()
  await acquaintances.close()
  await unlock()
}

async function open(config: Config, logger: Logger, onFailure: (error: FatalError) => void): Promise<DurableStorage> {
  if (config.members === null && !(await isFounded(nodeDisk, config.dataDir))) {
    const problem = `MEMBERS is not set, and ${config.dataDir} is a new data directory`
    throw new FatalError(
      exitCodes.configuration,
      `${problem}: set MEMBERS to found a cluster, or DATA_DIR to go on with one.`,
    )
  }
  return await openStorage({
    disk: nodeDisk,
    directory: config.dataDir,
    identity: {
      cluster: config.cluster,
      nodeId: config.nodeId,
      newIncarnation: randomBytes(8).toString('hex'),
      foundingConfiguration: config.members === null ? null : { members: config.members },
    },
    newRunId: randomBytes(8).toString('hex'),
    segmentBytes: config.segmentBytes,
    reserveBytes: config.diskReserveBytes,
    after: systemClock.after,
    onTornTail: (tail) => {
      const sentence = `Cut ${tail.bytes} bytes from the end of ${tail.file}: a write that was never acknowledged (${tail.problem})`
      logger.warn({ event: 'torn-tail', ...tail }, sentence)
    },
    onFailure,
  })
}

/** Under STATE_MACHINE=app: the embedded machine is fed again after a restart, and answers anew. */
async function openResults(config: Config, storage: DurableStorage, logger: Logger): Promise<ResultFile> {
  return await ResultFile.open(storage.background, config.dataDir, {
    identity: storage.identity,
    isFull: () => storage.isFull,
    onDamage: (damage) => {
      const sentence = `${damage.file} is damaged at ${damage.offset}: what commands answered that stands behind it is asked of the other nodes`
      logger.warn({ event: 'results-damaged', ...damage }, sentence)
    },
    onLost: (reason) => logger.warn({ event: 'results-lost' }, `What commands answer cannot be kept: ${reason}`),
  })
}

function connect(config: Config, storage: DurableStorage, logger: Logger) {
  const { foundingConfiguration, restoredFrom } = storage.identity
  return createTransport({
    id: config.nodeId,
    cluster: config.cluster,
    appUrl: config.advertiseAppUrl,
    foundingDigest: foundingConfiguration === null ? null : foundingDigest(foundingConfiguration, restoredFrom),
    listen: config.peerListen,
    rpcTimeoutMs: config.rpcTimeoutMs,
    decodeRecords,
    random: Math.random,
    logger,
  })
}
