// Tells the application who leads, beside its batches and never in their way: in order, one request at a time, until it is acknowledged. News that
// newer ones overtook are left out, but never the `lost` that takes back an `acquired` which the application may have heard; and no
// `acquired` goes to an application that was not found, right before, to hold what it should: it may have been restarted.

import type { Clock } from '../node/ports.ts'
import type { NodeId } from '../raft/entry.ts'
import { judgeNewsAnswer, type NewsOutcome } from './app-answer.ts'
import { messageOf } from './error-message.ts'
import { HookClient } from './hook-client.ts'
import { type ApplierObserver, boundedWish, Obstacle, type ObstacleKind, slowRetryMs } from './obstacle.ts'
import type { WebhookSigner } from './webhook-signature.ts'

/** What the node tells of leadership; see there when which is due. */
export interface LeadershipNews {
  readonly event: 'acquired' | 'lost' | 'changed'
  readonly leader: { readonly id: NodeId } | null
  readonly term: number
}

export interface LeadershipHookOptions {
  /** Where the hooks are, as for the machine. */
  readonly url: string
  readonly clock: Pick<Clock, 'after' | 'unixMs'>
  readonly random: () => number
  readonly timeoutMs: number
  readonly signer: WebhookSigner | null
  /** Finds out whether the application still holds what it should, and calls `repeat` when it does. */
  readonly recheck: () => void
  readonly observer?: Pick<ApplierObserver, 'obstructed' | 'resumed'>
}

const maxResponseBytes = 64 * 1024
/** An application without the hook may be replaced by one that has it, without having failed. */
const notOfferedRetryMs = 10 * 60 * 1000
/** On closing, for a `lost` that is under way or due. */
const closeTimeoutMs = 1000

interface Message {
  readonly event: LeadershipNews['event']
  readonly leader: NodeId | null
  readonly term: number
  /** For its signature: the same through all its tries. */
  readonly name: string
}

export class LeadershipHook {
  readonly #client: HookClient
  readonly #path: string
  readonly #clock: Pick<Clock, 'after' | 'unixMs'>
  readonly #signer: WebhookSigner | null
  readonly #recheck: () => void
  readonly #obstacle: Obstacle
  /** What holds now; null: nothing was told yet. */
  #current: LeadershipNews | null = null
  /** What the application acknowledged last. */
  #acknowledged: Message | null = null
  /** It was sent `acquired`, and acknowledged no `lost` since. */
  #mayBelieve = false
  /** To be sent first. */
  #lost: Message | null = null
  /** To be sent after it: the newest there is. */
  #newest: Message | null = null
  /** held: for the application to be found whole. */
  #phase: 'idle' | 'sending' | 'waiting' | 'held' | 'closed' = 'idle'
  /** The application may have been restarted while a message was under way. */
  #isRepeatDue = false
  #closing: Promise<void> | null = null
  #cancelSlowTimer: () => void = () => {}
  #rested: () => void = () => {}

  constructor({ url, clock, random, timeoutMs, signer, recheck, observer }: LeadershipHookOptions) {
    const { origin, pathname } = new URL(url)
    this.#path = `${pathname.replace(/\/+$/, '')}/leadership`
    this.#clock = clock
    this.#signer = signer
    this.#recheck = recheck
    this.#client = new HookClient({ origin, clock, timeoutMs, maxResponseBytes, signer })
    const quiet = { obstructed() {}, resumed() {} }
    this.#obstacle = new Obstacle(clock, random, { ...(observer ?? quiet), restoring() {} })
  }

  tell(news: LeadershipNews): void {
    if (this.#closing !== null) return
    this.#current = news
    this.#enqueue(news)
    if (this.#phase === 'idle' || this.#phase === 'held') this.#send()
  }

  /** The application is found to hold what it should; what it was told it may not know any more. */
  repeat(): void {
    if (this.#closing !== null) return
    if (this.#phase === 'sending') {
      this.#isRepeatDue = true
      return
    }
    this.#remind()
    this.#obstacle.stopTimer()
    this.#cancelSlowTimer()
    this.#send(true)
  }

  /** What is due still goes out, if the application takes it soon. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#phase === 'sending') {
      await new Promise<void>((resolve) => {
        const cancel = this.#clock.after(closeTimeoutMs, resolve)
        this.#rested = () => {
          cancel()
          resolve()
        }
      })
    }
    this.#phase = 'closed'
    this.#obstacle.stopTimer()
    this.#cancelSlowTimer()
    await this.#client.close()
  }

  #enqueue(news: LeadershipNews): void {
    if (news.event !== 'lost') {
      this.#newest = this.#message(news.event, news)
    } else if (this.#mayBelieve) {
      this.#lost = this.#message('lost', news)
      this.#newest = null
    } else {
      // It never heard of the `acquired`: to it, this is but another leader, or none.
      this.#newest = this.#message('changed', news)
    }
  }

  /** Whatever holds now is news again. */
  #remind(): void {
    this.#acknowledged = null
    if (this.#current === null || this.#lost !== null || this.#newest !== null) return
    const { event } = this.#current
    this.#newest = this.#message(event === 'lost' ? 'changed' : event, this.#current)
  }

  #message(event: LeadershipNews['event'], { leader, term }: LeadershipNews): Message {
    return { event, leader: leader?.id ?? null, term, name: `leadership-${term}-${this.#signer?.moment() ?? 0}` }
  }

  #send(isWhole = false): void {
    // What changed and changed back is no news.
    if (this.#newest !== null && this.#lost === null && isSame(this.#newest, this.#acknowledged)) this.#newest = null
    const message = this.#lost ?? this.#newest
    if (message === null) {
      this.#phase = 'idle'
      this.#rested()
      return
    }
    if (message.event === 'acquired' && !isWhole) {
      this.#phase = 'held'
      this.#rested()
      this.#recheck()
      return
    }
    this.#phase = 'sending'
    // Whether it was taken is in doubt from here on.
    this.#acknowledged = null
    if (message.event === 'acquired') this.#mayBelieve = true
    void this.#request(message)
  }

  async #request(message: Message): Promise<void> {
    const { event, leader, term, name } = message
    // A resource may fence by the term: it rises with each leader.
    const body = Buffer.from(JSON.stringify({ event, leader, term, fencingToken: term }))
    let outcome: NewsOutcome
    try {
      const answer = await this.#client.request({ method: 'POST', path: this.#path, name, body })
      outcome = judgeNewsAnswer(answer, this.#clock.unixMs())
    } catch (error) {
      outcome = { type: 'retry', afterMs: null, reason: messageOf(error) }
    }
    if (this.#phase !== 'closed') this.#settle(message, outcome)
  }

  #settle(message: Message, outcome: NewsOutcome): void {
    const isRepeatDue = this.#isRepeatDue
    this.#isRepeatDue = false
    switch (outcome.type) {
      case 'taken':
        this.#acknowledge(message)
        if (isRepeatDue) this.#remind()
        this.#send()
        break
      case 'not-offered':
        this.#disbelieve()
        this.#obstacle.overcome()
        this.#phase = 'waiting'
        this.#cancelSlowTimer = this.#clock.after(notOfferedRetryMs, () => this.#send())
        break
      case 'retry':
        this.#meet('unavailable', outcome.reason, boundedWish(outcome.afterMs) ?? this.#obstacle.backoffMs())
        break
      case 'misconfigured':
        this.#meet('misconfigured', outcome.reason, slowRetryMs)
        break
      default:
        outcome satisfies never
    }
    if (this.#phase === 'waiting') this.#rested()
  }

  #acknowledge(message: Message): void {
    this.#obstacle.overcome()
    this.#acknowledged = message
    if (message.event === 'lost') this.#mayBelieve = false
    if (this.#lost === message) this.#lost = null
    if (this.#newest === message) this.#newest = null
  }

  /** An application without the hook has heard nothing. */
  #disbelieve(): void {
    this.#mayBelieve = false
    if (this.#lost !== null) this.#newest ??= { ...this.#lost, event: 'changed' }
    this.#lost = null
  }

  #meet(kind: ObstacleKind, reason: string, retryAfterMs: number): void {
    this.#phase = 'waiting'
    this.#obstacle.meet(kind, `Cannot tell the application who leads: ${reason}`, retryAfterMs, () => this.#send())
  }
}

function isSame(message: Message, other: Message | null): boolean {
  return (
    other !== null && message.event === other.event && message.leader === other.leader && message.term === other.term
  )
}
