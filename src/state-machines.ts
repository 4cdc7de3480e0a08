// Which state machines a node feeds: the embedded key-value one, the application, or both, where the application only watches; and what else the
// application is asked and told.

import type { KeyValueView } from './api/options.ts'
import type { Config } from './config.ts'
import type { FatalError } from './errors.ts'
import { createAppMachine } from './machine/app.ts'
import { createApplier } from './machine/applier.ts'
import { createHealthGate } from './machine/health.ts'
import { createKvMachine } from './machine/kv.ts'
import { parseKvCommand } from './machine/kv-command.ts'
import { LeadershipHook, type LeadershipNews } from './machine/leadership-hook.ts'
import type { ApplierObserver } from './machine/obstacle.ts'
import { WebhookSigner } from './machine/webhook-signature.ts'
import type { Applier } from './node/ports.ts'
import { systemClock } from './node/system-clock.ts'
import { Cursor } from './storage/cursor.ts'
import type { Disk } from './storage/disk.ts'
import type { Logger } from './telemetry/logger.ts'

export interface StateMachines {
  /** Its results answer the proposals. */
  readonly applier: Applier
  /** Feeds an application that only watches; null without one. */
  readonly watcher: Applier | null
  /** Null under STATE_MACHINE=app. */
  readonly kv: KeyValueView | null
  /** Where the application hears who leads; null without one. */
  readonly leadership: { tell(news: LeadershipNews): void } | null
  /** After the node was stopped. */
  close(): Promise<void>
}

/** What they keep in the data directory goes by way of `disk`. */
export async function createStateMachines(
  config: Config,
  disk: Disk,
  logger: Logger,
  onFatal: (error: FatalError) => void,
): Promise<StateMachines> {
  const closing: (() => Promise<void>)[] = []
  const close = async () => {
    for (const undo of closing) await undo()
  }
  const application =
    config.appUrl === null ? null : await createApplication(config, disk, config.appUrl, logger, onFatal, closing)
  const leadership = application?.leadership ?? null
  if (config.stateMachine === 'app' && application !== null)
    return { applier: application.applier, watcher: null, kv: null, leadership, close }
  const machine = createKvMachine(systemClock)
  closing.push(() => machine.close())
  const observer = log(logger, 'kv')
  const applier = createApplier({ machine, clock: systemClock, random: Math.random, observer, onFatal })
  return { applier, watcher: application?.applier ?? null, kv: machine, leadership, close }
}

/** What an `application/json` command must look like under STATE_MACHINE=kv; a sentence on what is wrong, or null. */
export function validateKvCommand(kind: 'json' | 'bytes', payload: Uint8Array): string | null {
  if (kind === 'bytes')
    return 'STATE_MACHINE=kv takes JSON commands, and these are opaque bytes: send application/json.'
  return parseKvCommand(payload).error
}

interface Application {
  readonly applier: Applier
  readonly leadership: LeadershipHook
}

async function createApplication(
  config: Config,
  disk: Disk,
  url: string,
  logger: Logger,
  onFatal: (error: FatalError) => void,
  closing: (() => Promise<void>)[],
): Promise<Application> {
  const cursor = await Cursor.open(disk, config.dataDir)
  const { cluster, nodeId: node, appTimeoutMs: timeoutMs, appSecrets: secrets, appHealth } = config
  const clock = systemClock
  const signer = secrets.length === 0 ? null : new WebhookSigner({ secrets, cluster, node, clock })
  const machine = createAppMachine({ url, cluster, node, clock, timeoutMs, signer })
  const { origin } = new URL(url)
  const gate = appHealth === null ? null : createHealthGate({ origin, path: appHealth, clock, timeoutMs, signer })
  const leadership = new LeadershipHook({
    url,
    clock,
    random: Math.random,
    timeoutMs,
    signer,
    recheck: () => applier.doubt(),
    observer: log(logger, 'leadership'),
  })
  closing.push(
    // First: it waits for a last word, for as long as the application is there.
    () => leadership.close(),
    async () => await gate?.close(),
    () => machine.close(),
    () => cursor.close(),
  )
  const applier = createApplier({
    machine,
    cursor,
    clock,
    random: Math.random,
    maxBatchCommands: config.applyBatchCommands,
    maxBatchBytes: config.applyBatchBytes,
    observer: log(logger, 'application'),
    gate,
    onRecovered: () => leadership.repeat(),
    onFatal,
  })
  return { applier, leadership }
}

function log(logger: Logger, machine: string): ApplierObserver {
  return {
    // Usual for a moment after a start, when it is not known yet what is committed.
    obstructed: (kind, sentence) =>
      logger[kind === 'ahead' ? 'info' : 'warn']({ event: 'delivery-blocked', machine, kind }, sentence),
    restoring: (sentence) => logger.info({ event: 'restoring', machine }, sentence),
    resumed: () => logger.info({ event: 'delivery-resumed', machine }, 'Delivery goes on'),
  }
}
