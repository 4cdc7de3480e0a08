// The environment in, one frozen Config out: this room alone reads process.env. Everything past here may trust what it is given.

import { resolve } from 'node:path'
import { type Address, formatAddress, isLoopback, type Listen, parseAddress, parseListen } from './config/address.ts'
import type { LoadOptions } from './config/client-config.ts'
import { type Environment, readEnvironment, readSettings, refuseLater } from './config/environment.ts'
import { parseMembers } from './config/members.ts'
import { Problems } from './config/problems.ts'
import { readServiceManager, type ServiceManager, stateDirectory } from './config/service-manager.ts'
import { type SettingName, type Settings, settings, wanted } from './config/settings.ts'
import { formatSize, parseSizeBytes } from './config/size.ts'
import type { Member } from './raft/configuration.ts'

export { type Address, formatAddress, type Listen } from './config/address.ts'
export { type ClientConfig, loadClientConfig } from './config/client-config.ts'

export interface Config {
  readonly nodeId: string
  readonly cluster: string
  /** Whom to found the cluster with at the first start; null: the data directory has to know. */
  readonly members: readonly Member[] | null
  readonly peerListen: Address
  /** Absolute. */
  readonly dataDir: string
  readonly apiListen: Listen
  readonly apiToken: string | null
  readonly statusListen: Address | null
  /** Without a slash at its end. */
  readonly appUrl: string | null
  /** What requests to the application are signed with; none: they are not. Each `whsec_` and base64. */
  readonly appSecrets: readonly string[]
  /** Where on the application's origin it says whether it is healthy: path, with a query or without. */
  readonly appHealth: string | null
  readonly advertiseAppUrl: string | null
  readonly stateMachine: Settings['STATE_MACHINE']
  readonly electionTimeoutMinMs: number
  readonly electionTimeoutMaxMs: number
  readonly heartbeatIntervalMs: number
  readonly leaseReads: boolean
  readonly maxClockDriftPpm: number
  readonly rpcTimeoutMs: number
  readonly segmentBytes: number
  /** Applied entries between two snapshots. */
  readonly snapshotThreshold: number
  /** Entries that stay in the log behind a snapshot. */
  readonly maxLogEntries: number
  /** To one follower, a second. */
  readonly snapshotSendBytesPerSecond: number
  /** 0: none is kept. */
  readonly diskReserveBytes: number
  readonly maxCommandBytes: number
  readonly maxPendingProposals: number
  readonly maxPendingBytes: number
  /** Remembered at a time, for a day at the longest. */
  readonly maxIdempotencyKeys: number
  readonly applyBatchCommands: number
  readonly applyBatchBytes: number
  /** AppendEntries under way to one follower. */
  readonly maxInflightAppends: number
  readonly appTimeoutMs: number
  readonly logLevel: Settings['LOG_LEVEL']
  readonly serviceManager: ServiceManager
}

const KiB = 1024
const MiB = 1024 * KiB
const GiB = 1024 * MiB

/** Throws FatalError `configuration`: one line that names each bad variable, its value and what would do. */
export function loadConfig(env: Environment = process.env, options: LoadOptions = {}): Config {
  const workingDirectory = options.workingDirectory ?? process.cwd()
  const environment = readEnvironment(env, workingDirectory)
  const problems = new Problems()
  refuseLater(environment, problems)
  problems.throwIfAny()
  const config = parse(readSettings(settings, environment, workingDirectory), env, workingDirectory, problems)
  problems.throwIfAny()
  holdTogether(config, problems)
  problems.throwIfAny()
  return deepFreeze(config)
}

/** Reads each setting by itself. What it returns is whole only when no problem was added. */
function parse(given: Settings, env: Environment, workingDirectory: string, problems: Problems): Config {
  const unfit = (name: SettingName): null => {
    problems.add(name, given[name], `does not fit: ${wanted(name)}`)
    return null
  }
  const address = (name: 'PEER_LISTEN' | 'STATUS_LISTEN'): Address | null => {
    const text = given[name]
    return text === undefined ? null : (parseAddress(text) ?? unfit(name))
  }
  const url = (name: 'APP_URL' | 'ADVERTISE_APP_URL'): string | null => {
    const text = given[name]
    return text === undefined ? null : (parseHttpUrl(text) ?? unfit(name))
  }
  const sizeBytes = (name: SizeName, minBytes: number, maxBytes: number): number => {
    const bytes = parseSizeBytes(given[name])
    if (bytes !== null && bytes >= minBytes && bytes <= maxBytes) return bytes
    problems.add(name, given[name], `does not fit: give a size from ${formatSize(minBytes)} to ${formatSize(maxBytes)}`)
    return minBytes
  }

  const members = readMembers(given, problems)
  const own = members?.find((member) => member.id === given.NODE_ID)
  const peerListen = given.PEER_LISTEN === undefined ? own && parseAddress(own.peerAddress) : address('PEER_LISTEN')
  if (given.MEMBERS === undefined && given.PEER_LISTEN === undefined) {
    problems.add(
      'PEER_LISTEN',
      undefined,
      `is not set, nor is MEMBERS that it would be taken from: ${wanted('PEER_LISTEN')}`,
    )
  }
  return {
    nodeId: given.NODE_ID,
    cluster: given.CLUSTER,
    members,
    peerListen: peerListen ?? nowhere,
    dataDir: resolve(workingDirectory, given.DATA_DIR ?? stateDirectory(env) ?? 'data'),
    apiListen: parseListen(given.API_LISTEN) ?? unfit('API_LISTEN') ?? { kind: 'tcp', ...nowhere },
    apiToken: given.API_TOKEN ?? null,
    statusListen: address('STATUS_LISTEN'),
    appUrl: url('APP_URL'),
    appSecrets: given.APP_SECRET?.split(/[ ,]+/) ?? [],
    appHealth: given.APP_HEALTH ?? null,
    advertiseAppUrl: url('ADVERTISE_APP_URL'),
    stateMachine: given.STATE_MACHINE,
    electionTimeoutMinMs: given.ELECTION_TIMEOUT_MIN_MS,
    electionTimeoutMaxMs: given.ELECTION_TIMEOUT_MAX_MS,
    heartbeatIntervalMs: given.HEARTBEAT_INTERVAL_MS,
    leaseReads: given.LEASE_READS === 'true',
    maxClockDriftPpm: given.MAX_CLOCK_DRIFT_PPM,
    rpcTimeoutMs: given.RPC_TIMEOUT_MS,
    segmentBytes: sizeBytes('SEGMENT_BYTES', 64 * KiB, GiB),
    snapshotThreshold: given.SNAPSHOT_THRESHOLD,
    maxLogEntries: given.MAX_LOG_ENTRIES,
    snapshotSendBytesPerSecond: sizeBytes('SNAPSHOT_SEND_RATE', 64 * KiB, 64 * GiB),
    diskReserveBytes: sizeBytes('DISK_RESERVE_BYTES', 0, 64 * GiB),
    maxCommandBytes: sizeBytes('MAX_COMMAND_BYTES', 128, 16 * MiB),
    maxPendingProposals: given.MAX_PENDING_PROPOSALS,
    maxPendingBytes: sizeBytes('MAX_PENDING_BYTES', KiB, 4 * GiB),
    maxIdempotencyKeys: given.MAX_IDEMPOTENCY_KEYS,
    applyBatchCommands: given.APPLY_BATCH_COMMANDS,
    applyBatchBytes: sizeBytes('APPLY_BATCH_BYTES', KiB, 64 * MiB),
    maxInflightAppends: given.MAX_INFLIGHT_APPENDS,
    appTimeoutMs: given.APP_TIMEOUT_MS,
    logLevel: given.LOG_LEVEL,
    serviceManager: readServiceManager(env, process.pid, problems),
  }
}

/** Stands in for an address that did not fit, in a Config that is thrown away. */
const nowhere: Address = { host: '', port: 0 }

type SizeName =
  | 'SEGMENT_BYTES'
  | 'SNAPSHOT_SEND_RATE'
  | 'DISK_RESERVE_BYTES'
  | 'MAX_COMMAND_BYTES'
  | 'MAX_PENDING_BYTES'
  | 'APPLY_BATCH_BYTES'

function readMembers(given: Settings, problems: Problems): readonly Member[] | null {
  if (given.MEMBERS === undefined) return null
  const parsed = parseMembers(given.MEMBERS, given.NODE_ID)
  if ('members' in parsed) return parsed.members
  problems.add('MEMBERS', given.MEMBERS, parsed.problem)
  return null
}

function parseHttpUrl(text: string): string | null {
  if (!URL.canParse(text)) return null
  const url = new URL(text)
  const plain = url.username === '' && url.password === '' && url.search === '' && url.hash === ''
  if (!plain || (url.protocol !== 'http:' && url.protocol !== 'https:')) return null
  return url.href.replace(/\/+$/, '')
}

/** Settings that are right each by itself, and wrong side by side. */
function holdTogether(config: Config, problems: Problems): void {
  if (config.apiListen.kind === 'tcp' && !isLoopback(config.apiListen.host) && config.apiToken === null) {
    problems.add(
      'API_LISTEN',
      formatAddress(config.apiListen),
      'is open to other machines: set API_TOKEN, or listen on 127.0.0.1',
    )
  }
  if (config.stateMachine === 'app' && config.appUrl === null) {
    problems.add('STATE_MACHINE', 'app', 'has no application to feed: set APP_URL, or STATE_MACHINE=kv')
  }
  if (config.appHealth !== null && config.appUrl === null) {
    problems.add('APP_HEALTH', config.appHealth, 'has no application to ask: set APP_URL, or unset it')
  }
  if (config.electionTimeoutMaxMs <= config.electionTimeoutMinMs) {
    // §5.2: without a spread, nodes stand for election together and split the vote again and again.
    const reason = `is not above ELECTION_TIMEOUT_MIN_MS=${config.electionTimeoutMinMs}: give about twice as much`
    problems.add('ELECTION_TIMEOUT_MAX_MS', config.electionTimeoutMaxMs, reason)
  }
  if (config.heartbeatIntervalMs * 2 > config.electionTimeoutMinMs) {
    const most = Math.floor(config.electionTimeoutMinMs / 2)
    const reason = `is over half of ELECTION_TIMEOUT_MIN_MS=${config.electionTimeoutMinMs}, so that one late heartbeat would start an election: give at most ${most}`
    problems.add('HEARTBEAT_INTERVAL_MS', config.heartbeatIntervalMs, reason)
  }
  if (config.maxCommandBytes * 2 > config.segmentBytes) {
    const reason = `is over half of SEGMENT_BYTES=${formatSize(config.segmentBytes)}: give at most ${formatSize(Math.floor(config.segmentBytes / 2))}`
    problems.add('MAX_COMMAND_BYTES', formatSize(config.maxCommandBytes), reason)
  }
  if (config.maxPendingBytes < config.maxCommandBytes) {
    const reason = `has no room for one command of MAX_COMMAND_BYTES=${formatSize(config.maxCommandBytes)}: give at least that`
    problems.add('MAX_PENDING_BYTES', formatSize(config.maxPendingBytes), reason)
  }
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    for (const inner of Object.values(Object.freeze(value))) deepFreeze(inner)
  }
  return value
}
