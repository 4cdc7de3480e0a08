// The application as state machine, by its webhook: one request a batch, over one connection kept alive. Whether a batch is
// tried again, and when, is the applier's business: here one request becomes one outcome. Its whole state goes out and in beside that.

import type { Clock } from '../node/ports.ts'
import type { Entry } from '../raft/entry.ts'
import { type AppAnswer, judgeApplyAnswer, judgePositionAnswer } from './app-answer.ts'
import { ApplyBodyEncoder, sharedTraceparent } from './app-request.ts'
import { AppSnapshots } from './app-snapshot.ts'
import { messageOf } from './error-message.ts'
import { HookClient } from './hook-client.ts'
import type { ApplyOutcome, RestoreOutcome, Snapshot, StateMachine } from './state-machine.ts'
import type { WebhookSigner } from './webhook-signature.ts'

export interface AppMachineOptions {
  /** Where the hooks are: http or https, with a base path or without. */
  readonly url: string
  readonly cluster: string
  readonly node: string
  readonly clock: Pick<Clock, 'after' | 'unixMs'>
  /** From sending a request to the last byte of its answer; of a snapshot, to each part of it. */
  readonly timeoutMs?: number
  readonly maxResponseBytes?: number
  /** Null: nothing is signed. */
  readonly signer?: WebhookSigner | null
}

export function createAppMachine(options: AppMachineOptions): StateMachine {
  return new ApplicationMachine(options)
}

class ApplicationMachine implements StateMachine {
  readonly size = null
  readonly movesByItself = true
  readonly #client: HookClient
  readonly #snapshots: AppSnapshots
  readonly #encoder: ApplyBodyEncoder
  readonly #clock: Pick<Clock, 'after' | 'unixMs'>
  readonly #basePath: string

  constructor({
    url,
    cluster,
    node,
    clock,
    timeoutMs = 30_000,
    maxResponseBytes = 16 * 1024 * 1024,
    signer = null,
  }: AppMachineOptions) {
    const { origin, pathname } = new URL(url)
    this.#basePath = pathname.replace(/\/+$/, '')
    this.#clock = clock
    this.#snapshots = new AppSnapshots({ origin, path: `${this.#basePath}/snapshot`, clock, timeoutMs, signer })
    this.#encoder = new ApplyBodyEncoder(cluster, node)
    this.#client = new HookClient({ origin, clock, timeoutMs, maxResponseBytes, signer })
  }

  async position(): Promise<number | null> {
    const path = `${this.#basePath}/position`
    return judgePositionAnswer(
      await this.#client.request({ method: 'GET', path, name: 'position', isMomentary: true, body: null }),
    )
  }

  async apply(after: number, commands: readonly Entry[]): Promise<ApplyOutcome> {
    const body = this.#encoder.encode(after, commands)
    const name = `${commands[0]?.index}-${commands.at(-1)?.index}`
    const traceparent = sharedTraceparent(commands)
    let answer: AppAnswer
    try {
      const path = `${this.#basePath}/apply`
      answer = await this.#client.request({ method: 'POST', path, name, body, traceparent })
    } catch (error) {
      return { type: 'retry', afterMs: null, reason: messageOf(error) }
    }
    return judgeApplyAnswer(answer, commands, this.#clock.unixMs())
  }

  snapshot(): Promise<Snapshot | null> {
    return this.#snapshots.take()
  }

  restore(snapshot: Snapshot): Promise<RestoreOutcome> {
    return this.#snapshots.restore(snapshot)
  }

  async close(): Promise<void> {
    await Promise.all([this.#client.close(), this.#snapshots.close()])
  }
}
