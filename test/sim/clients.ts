// Clients of the cluster: each does one thing after the other, at any node that runs. Every value that is written is different, so that a read
// tells which write it saw; and every answer is held against the ledger.

import { ProposalError } from '../../src/errors.ts'
import type { NewCommand } from '../../src/node/contract.ts'
import type { RaftNode } from '../../src/node/node.ts'
import { History } from './history/history.ts'
import type { Ledger } from './invariants/ledger.ts'
import type { Member } from './member.ts'
import type { Profile } from './profile.ts'
import type { Random } from './world/random.ts'
import type { World } from './world/world.ts'

export interface ClientCounts {
  acknowledged: number
  unknown: number
  refused: number
  reads: number
  failedReads: number
}

interface Write {
  readonly command: NewCommand
  /** Null: not a write that the history can judge. */
  readonly recorded: { readonly key: string; readonly value: string | null } | null
}

export class Clients {
  readonly history = new History()
  readonly counts: ClientCounts = { acknowledged: 0, unknown: 0, refused: 0, reads: 0, failedReads: 0 }
  readonly #world: World
  readonly #profile: Profile
  readonly #members: readonly Member[]
  readonly #ledger: Ledger
  readonly #random: Random
  #writes = 0
  #busy = 0
  #isOver = false

  constructor(world: World, profile: Profile, members: readonly Member[], ledger: Ledger) {
    this.#world = world
    this.#profile = profile
    this.#members = members
    this.#ledger = ledger
    this.#random = world.random('clients')
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
      const done =
        member.node === null ? false : await this.#write(member.node, member, this.#set('k0', undefined), 1000)
      if (done) return
      await this.#pause(20)
    }
  }

  #next(): void {
    this.#world.after(this.#world.nature, this.#random.exponential(this.#profile.operationEveryMs), () => {
      if (this.#isOver) return
      void this.#operate().then(() => this.#next())
    })
  }

  async #operate(): Promise<void> {
    const running = this.#members.filter((member) => member.node !== null)
    if (running.length === 0) return
    const member = this.#random.pick(running)
    const node = member.node
    if (node === null) return
    this.#busy++
    const timeoutMs = this.#random.pick([50, 200, 500, 1500])
    if (this.#random.chance(this.#profile.readShare)) await this.#read(node, member, timeoutMs)
    else {
      const burst = this.#random.chance(0.15) ? 2 + this.#random.below(6) : 1
      await Promise.all(Array.from({ length: burst }, () => this.#write(node, member, this.#draw(), timeoutMs)))
    }
    this.#busy--
  }

  #draw(): Write {
    const key = `k${this.#random.below(this.#profile.keys)}`
    const dice = this.#random.next()
    if (dice < 0.7) return this.#set(key, undefined)
    if (dice < 0.8) return this.#delete(key)
    // Conditional writes go to keys of their own: a register does not know them, the ledger's reference machine does.
    if (dice < 0.9) return this.#set(`c${key}`, this.#random.below(this.#ledger.commitIndex + 2))
    return dice < 0.95 ? this.#custom() : this.#opaque()
  }

  #set(key: string, ifModifiedIndex: number | undefined): Write {
    const value = `${this.#tag()}${'x'.repeat(this.#random.below(this.#profile.payloadBytes))}`
    const recorded = ifModifiedIndex === undefined ? { key, value: JSON.stringify(value) } : null
    return { command: json(JSON.stringify({ op: 'set', key, value, ifModifiedIndex })), recorded }
  }

  /** Deletions look all alike, but for the white space behind them. */
  #delete(key: string): Write {
    const number = ++this.#writes
    const mark = number.toString(2).replaceAll('0', ' ').replaceAll('1', '\t')
    return { command: json(`${JSON.stringify({ op: 'delete', key })}${mark}`), recorded: { key, value: null } }
  }

  #custom(): Write {
    return { command: json(JSON.stringify({ op: 'custom', name: this.#tag(), payload: null })), recorded: null }
  }

  #opaque(): Write {
    return { command: { kind: 'bytes', payload: Buffer.from(this.#tag()) }, recorded: null }
  }

  #tag(): string {
    this.#writes++
    return `w${this.#writes}.`
  }

  /** Whether it was acknowledged. */
  async #write(node: RaftNode, member: Member, { command, recorded }: Write, timeoutMs: number): Promise<boolean> {
    const id = recorded === null ? null : this.history.called('write', recorded.key, recorded.value)
    const waitsForResult = this.#random.chance(0.8)
    const proposal = waitsForResult ? node.propose(command, timeoutMs) : node.proposeCommitted(command, timeoutMs)
    try {
      const answer = await this.#orLost<{ index: number; term: number; timestampMs: number; result?: unknown }>(
        member,
        proposal,
      )
      if (answer === null) {
        this.counts.unknown++
        return false
      }
      const result = waitsForResult ? answer.result : null
      this.#ledger.acknowledged(member.id, command.payload, answer, result)
      if (id !== null) this.history.wrote(id)
      this.counts.acknowledged++
      return true
    } catch (error) {
      this.#failed(error, member, command, id)
      return false
    }
  }

  #failed(error: unknown, member: Member, command: NewCommand, id: number | null): void {
    if (!(error instanceof ProposalError)) {
      this.#world.violated('proposals fail with ProposalError', `${member.id}: ${String(error)}`)
    } else if (error.outcome === 'not_applied') {
      this.counts.refused++
      this.#ledger.notApplied(member.id, command.payload)
      if (id !== null) this.history.void(id)
    } else if (error.outcome === 'committed') {
      const { committed } = error
      const timestampMs = this.#ledger.committed(committed?.index ?? 0)?.entry.timestampMs ?? 0
      this.#ledger.acknowledged(member.id, command.payload, { index: 0, term: 0, ...committed, timestampMs }, null)
      if (id !== null) this.history.wrote(id)
    } else {
      this.counts.unknown++
    }
  }

  async #read(node: RaftNode, member: Member, timeoutMs: number): Promise<void> {
    const key = `k${this.#random.below(this.#profile.keys)}`
    const id = this.history.called('read', key, null)
    const committedBefore = this.#ledger.commitIndex
    const { kv } = member
    try {
      const index = await this.#orLost(member, node.readBarrier(timeoutMs))
      if (index === null) return
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
    const last = this.#ledger.committed(index)
    if (last === null || app.position < last.previousCommand) return null
    if (last.result !== null && app.position < index) return null
    return { json: app.valueOf(key) }
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

function json(text: string): NewCommand {
  return { kind: 'json', payload: Buffer.from(text) }
}

function jsonOf(value: unknown): string | null {
  return value === undefined ? null : JSON.stringify(value)
}
