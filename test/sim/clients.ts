// Clients of the cluster: each does one thing after the other, at any node that runs, and what it has proposed under a key it proposes again until
// it is answered, and sometimes after that. Every answer is held against the ledger.

import { ProposalError } from '../../src/errors.ts'
import type { CommittedCommand } from '../../src/node/contract.ts'
import type { RaftNode } from '../../src/node/node.ts'
import { History } from './history/history.ts'
import type { KeyedEntry } from './invariants/keys.ts'
import type { Ledger } from './invariants/ledger.ts'
import type { Member } from './member.ts'
import type { Profile } from './profile.ts'
import type { Random } from './world/random.ts'
import type { World } from './world/world.ts'
import { type Write, Writes } from './writes.ts'

export interface ClientCounts {
  acknowledged: number
  unknown: number
  refused: number
  reads: number
  failedReads: number
  duplicates: number
  /** A key that was given to another command. */
  reused: number
  /** Applied, and nobody could say what it answered. */
  resultless: number
  skipped: number
}

/** What a client hears of a proposal; null: nothing, its node died. */
type Answer = (CommittedCommand & { readonly result?: unknown }) | ProposalError | null

/** What a proposal came to; `open`: it is to be made again. */
interface Verdict {
  readonly type: 'acknowledged' | 'resultless' | 'reused' | 'skipped' | 'open'
  readonly index: number
}

const open: Verdict = { type: 'open', index: 0 }

/** A write at one node. */
interface Attempt {
  readonly write: Write
  readonly member: Member
  /** What stood under its key before. */
  readonly firstBefore: KeyedEntry | null
}

export class Clients {
  readonly history = new History()
  readonly counts: ClientCounts = {
    acknowledged: 0,
    unknown: 0,
    refused: 0,
    reads: 0,
    failedReads: 0,
    duplicates: 0,
    reused: 0,
    resultless: 0,
    skipped: 0,
  }
  readonly #world: World
  readonly #profile: Profile
  readonly #members: readonly Member[]
  readonly #ledger: Ledger
  readonly #random: Random
  readonly #writes: Writes
  #busy = 0
  #isOver = false

  constructor(world: World, profile: Profile, members: readonly Member[], ledger: Ledger) {
    this.#world = world
    this.#profile = profile
    this.#members = members
    this.#ledger = ledger
    this.#random = world.random('clients')
    this.#writes = new Writes(profile, ledger, this.#random)
  }

  get isIdle(): boolean {
    return this.#busy === 0
  }

  start(): void {
    for (let client = 0; client < this.#profile.clients; client++) this.#next()
  }

  /** What is under way comes to its end. */
  stop(): void {
    this.#isOver = true
  }

  /** A write at this member that is made again until it is acknowledged. */
  async probe(member: Member): Promise<void> {
    for (;;) {
      const { node } = member
      if (node !== null) {
        const { type } = await this.#attempt(node, member, this.#writes.set('k0'), true, 1000)
        if (type !== 'open') return
      }
      await this.#pause(20)
    }
  }

  /** Asks this member once more for some of what was proposed under keys; `others`: the rest of those that are well. */
  async examine(member: Member, others: readonly Member[]): Promise<void> {
    for (const write of this.#random.shuffled(this.#writes.keyed).slice(0, 4)) {
      const { key = null } = write.command
      const first = key === null ? null : this.#ledger.find(key)
      if (key === null || first === null) continue
      const verdict = await this.#ask(member, write)
      // It may have expired meanwhile.
      if (this.#ledger.find(key) !== first) continue
      const isSame = Buffer.compare(first.entry.payload, write.command.payload) === 0
      const { index } = first.entry
      const isRight = isSame ? verdict.index === index : verdict.type === 'reused'
      if (!isRight)
        this.#misled(`${member.id} answers the key ${key}, at ${index}, with ${verdict.type} at ${verdict.index}`)
      const knowing = others.filter((other) => other.knows(index))
      if (verdict.type === 'resultless' && knowing.length > 0)
        this.#misled(
          `${member.id} cannot tell what ${key} answered, and ${knowing.map(({ id }) => id).join()} knows it`,
        )
    }
  }

  async #ask(member: Member, write: Write): Promise<Verdict> {
    for (;;) {
      const { node } = member
      const verdict = node === null ? open : await this.#attempt(node, member, write, true, 600)
      if (verdict.type !== 'open') return verdict
      await this.#pause(20)
    }
  }

  #misled(message: string): void {
    this.#world.violated('every answer to a key is the first one', message)
  }

  #next(): void {
    this.#world.after(this.#world.nature, this.#random.exponential(this.#profile.operationEveryMs), () => {
      if (this.#isOver) return
      void this.#operate().then(() => this.#next())
    })
  }

  async #operate(): Promise<void> {
    const member = this.#runningMember()
    if (member === null) return
    this.#busy++
    const timeoutMs = this.#random.pick([50, 200, 500, 1500])
    if (this.#random.chance(this.#profile.readShare)) await this.#read(member, timeoutMs)
    else if (this.#random.chance(0.05)) await this.#batch(member, timeoutMs)
    else {
      const burst = this.#random.chance(0.15) ? 2 + this.#random.below(6) : 1
      await Promise.all(Array.from({ length: burst }, () => this.#insist(member, this.#writes.draw(), timeoutMs)))
    }
    this.#busy--
  }

  #runningMember(): (Member & { readonly node: RaftNode }) | null {
    const running = this.#members.filter(isRunning)
    return running.length === 0 ? null : this.#random.pick(running)
  }

  /** Under a key it is proposed again, anywhere, until it is answered; and now and then by two clients at once. */
  async #insist(first: Member, write: Write, timeoutMs: number): Promise<void> {
    const { repeatShare, retries } = this.#profile.idempotency
    const isKeyed = write.command.key !== null
    const twin = isKeyed && this.#random.chance(repeatShare * 0.3) ? this.#runningMember() : null
    const twinned = twin === null ? null : this.#attempt(twin.node, twin, write, true, timeoutMs)
    let member: Member | null = first
    for (let tries = 0; ; tries++) {
      const node: RaftNode | null = member?.node ?? null
      const waitsForResult = this.#random.chance(0.8)
      const isOpen =
        node === null ||
        member === null ||
        (await this.#attempt(node, member, write, waitsForResult, timeoutMs)).type === 'open'
      if (!isOpen || !isKeyed || tries >= retries || this.#isOver) break
      await this.#pause(this.#random.exponential(40))
      member = this.#runningMember()
    }
    await twinned
  }

  async #batch(member: Member, timeoutMs: number): Promise<void> {
    const { node } = member
    if (node === null) return
    const drawn = Array.from({ length: 2 + this.#random.below(5) }, () => this.#writes.draw())
    // Also one that comes twice.
    const last = drawn.at(-1)
    const writes =
      last !== undefined && last.command.key !== null && this.#random.chance(0.3) ? [...drawn, last] : drawn
    const wait = this.#random.chance(0.8) ? 'applied' : 'committed'
    const attempts = writes.map((write) => this.#begin(member, write))
    const commands = writes.map(({ command }) => command)
    const batch = node.proposeBatch(commands, wait, timeoutMs).catch((error: unknown) => writes.map(() => error))
    const answers = (await this.#orLost(member, batch)) ?? writes.map(() => null)
    attempts.forEach((attempt, i) => {
      this.#settle(attempt, this.#heard(member, answers[i]), wait === 'applied')
    })
  }

  async #attempt(node: RaftNode, member: Member, write: Write, waits: boolean, timeoutMs: number): Promise<Verdict> {
    const attempt = this.#begin(member, write)
    const { command } = write
    const proposal: Promise<CommittedCommand> = waits
      ? node.propose(command, timeoutMs)
      : node.proposeCommitted(command, timeoutMs)
    const answer: unknown = await this.#orLost(member, proposal).catch((error: unknown) => error)
    return this.#settle(attempt, this.#heard(member, answer), waits)
  }

  #heard(member: Member, answer: unknown): Answer {
    if (!(answer instanceof Error) || answer instanceof ProposalError) return answer as Answer
    this.#world.violated('proposals fail with ProposalError', `${member.id}: ${String(answer)}`)
    return null
  }

  #begin(member: Member, write: Write): Attempt {
    const { recorded, command } = write
    if (write.historyId === null && recorded !== null)
      write.historyId = this.history.called('write', recorded.key, recorded.value)
    this.#ledger.proposed(command)
    return { write, member, firstBefore: command.key ? this.#ledger.find(command.key) : null }
  }

  #settle({ write, member, firstBefore }: Attempt, answer: Answer, waits: boolean): Verdict {
    const { command, historyId } = write
    if (answer === null) {
      this.counts.unknown++
      return open
    }
    member.tellCommitIndex()
    if (answer instanceof ProposalError) return this.#failed(member, write, answer, firstBefore)
    this.#ledger.acknowledged(member.id, command, answer, waits ? answer.result : undefined)
    if (historyId !== null) this.history.wrote(historyId)
    this.counts.acknowledged++
    if (answer.duplicate) this.counts.duplicates++
    return { type: 'acknowledged', index: answer.index }
  }

  #failed(
    member: Member,
    { command, historyId }: Write,
    error: ProposalError,
    firstBefore: KeyedEntry | null,
  ): Verdict {
    const { code, outcome, committed } = error
    const { index = 0, term = 0 } = committed ?? {}
    if (code === 'command-skipped') {
      this.counts.skipped++
      this.#ledger.toldSkipped(member.id, command, index)
      return { type: 'skipped', index }
    }
    switch (outcome) {
      case 'not_applied':
        this.counts.refused++
        this.#ledger.notApplied(member.id, command)
        // Under a key, another proposal of it may be under way.
        if (historyId !== null && command.key === null) this.history.void(historyId)
        if (code !== 'idempotency-key-reused') return open
        this.counts.reused++
        this.#ledger.reused(member.id, command, firstBefore)
        return { type: 'reused', index }
      case 'committed': {
        const timestampMs = this.#ledger.committed(index)?.entry.timestampMs ?? 0
        // Whether it is a duplicate is not said.
        const place = { index, term, timestampMs, duplicate: command.key !== null }
        this.#ledger.acknowledged(member.id, command, place, undefined)
        if (historyId !== null) this.history.wrote(historyId)
        if (code !== 'result-unknown') return { type: 'acknowledged', index }
        this.counts.resultless++
        member.cannotTell(command, index)
        return { type: 'resultless', index }
      }
      case 'unknown':
        this.counts.unknown++
        return open
      default:
        return outcome satisfies never
    }
  }

  async #read(member: Member, timeoutMs: number): Promise<void> {
    const { node, kv } = member
    if (node === null) return
    const key = `k${this.#random.below(this.#profile.keys)}`
    const id = this.history.called('read', key, null)
    const committedBefore = this.#ledger.commitIndex
    try {
      const index = await this.#orLost(member, node.readBarrier(timeoutMs))
      if (index === null) return
      member.tellCommitIndex()
      this.#ledger.barrier(member.id, index, committedBefore)
      const value = kv === null ? this.#valueInApp(member, index, key) : { json: jsonOf(kv.get(key)?.value) }
      if (value === null) return
      this.history.saw(id, value.json)
      this.counts.reads++
    } catch {
      this.counts.failedReads++
    }
  }

  /** Null: the application lost what it had after it was read barrier's turn. */
  #valueInApp({ app }: Member, index: number, key: string): { readonly json: string | null } | null {
    return app.position < this.#ledger.lastTaken(index) ? null : { json: app.valueOf(key) }
  }

  /** Null: the node died, and nobody will ever answer. */
  #orLost<T>(member: Member, answer: Promise<T>): Promise<T | null> {
    return new Promise((resolve, reject) => {
      const forget = member.owner?.whenDead(() => resolve(null))
      answer.then(
        (value) => {
          forget?.()
          resolve(value)
        },
        (error: unknown) => {
          forget?.()
          reject(error)
        },
      )
    })
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise((resolve) => {
      this.#world.after(this.#world.nature, delayMs, resolve)
    })
  }
}

function isRunning(member: Member): member is Member & { readonly node: RaftNode } {
  return member.node !== null
}

function jsonOf(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value)
}
