// What clients propose. Every value that is written is different, so that a read tells which write it saw; under a key the same command comes again,
// or another one, as careless clients do.

import type { NewCommand } from '../../src/node/contract.ts'
import type { Ledger } from './invariants/ledger.ts'
import type { Profile } from './profile.ts'
import { poisonMark } from './world/application.ts'
import type { Random } from './world/random.ts'

export interface Write {
  readonly command: NewCommand
  /** Null: not a write that the history can judge. */
  readonly recorded: { readonly key: string; readonly value: string | null } | null
  /** In the history, from the first time that it is proposed on. */
  historyId: number | null
}

type Draft = Pick<Write, 'recorded'> & { readonly command: Pick<NewCommand, 'kind' | 'payload'> }

/** So many are asked for again, the newest ones. */
const maxRemembered = 60

export class Writes {
  readonly #profile: Profile
  readonly #ledger: Ledger
  readonly #random: Random
  #count = 0
  readonly #keyed: Write[] = []

  constructor(profile: Profile, ledger: Ledger, random: Random) {
    this.#profile = profile
    this.#ledger = ledger
    this.#random = random
  }

  /** Those that were proposed under a key, the newest last. */
  get keyed(): readonly Write[] {
    return this.#keyed
  }

  draw(): Write {
    const { keyedShare, repeatShare } = this.#profile.idempotency
    if (!this.#random.chance(keyedShare)) return written(this.#draft(false), null)
    if (!this.#random.chance(repeatShare)) return this.#remember(written(this.#draft(true), this.#newKey()))
    return this.again() ?? this.#remember(written(this.#draft(true), this.#newKey()))
  }

  /** One that was proposed before; now and then another command under its key. */
  again(): Write | null {
    if (this.#keyed.length === 0) return null
    const earlier = this.#random.pick(this.#keyed)
    return this.#random.chance(0.85) ? earlier : this.other(earlier)
  }

  /** Another command under the same key. */
  other({ command: { key = null } }: Write): Write {
    return this.#remember(written(this.#draft(true), key))
  }

  set(key: string): Write {
    return written(this.#set(key, undefined), null)
  }

  #remember(write: Write): Write {
    this.#keyed.push(write)
    if (this.#keyed.length > maxRemembered) this.#keyed.shift()
    return write
  }

  #newKey(): string {
    return `key-${++this.#count}`
  }

  #draft(isKeyed: boolean): Draft {
    const { keys, poisonShare, idempotency } = this.#profile
    // What may be done twice, once its key has expired, goes to keys of its own.
    const prefix = isKeyed && idempotency.keysExpire ? 'e' : ''
    const key = `${prefix}k${this.#random.below(keys)}`
    if (this.#random.chance(poisonShare)) return this.#poison()
    const dice = this.#random.next()
    if (dice < 0.7) return this.#set(key, undefined)
    if (dice < 0.8) return this.#delete(key)
    // Conditional writes go to keys of their own: a register does not know them, the ledger's reference machine does.
    if (dice < 0.9) return this.#set(`c${key}`, this.#random.below(this.#ledger.commitIndex + 2))
    return dice < 0.95 ? this.#custom() : this.#opaque()
  }

  #set(key: string, ifModifiedIndex: number | undefined): Draft {
    const value = `${this.#tag()}${'x'.repeat(this.#random.below(this.#profile.payloadBytes))}`
    const isRecorded = ifModifiedIndex === undefined && !key.startsWith('e')
    const recorded = isRecorded ? { key, value: JSON.stringify(value) } : null
    return { command: json(JSON.stringify({ op: 'set', key, value, ifModifiedIndex })), recorded }
  }

  /** Deletions look all alike, but for the white space behind them. */
  #delete(key: string): Draft {
    const number = ++this.#count
    const mark = number.toString(2).replaceAll('0', ' ').replaceAll('1', '\t')
    const recorded = key.startsWith('e') ? null : { key, value: null }
    return { command: json(`${JSON.stringify({ op: 'delete', key })}${mark}`), recorded }
  }

  #custom(): Draft {
    return { command: json(JSON.stringify({ op: 'custom', name: this.#tag(), payload: null })), recorded: null }
  }

  #opaque(): Draft {
    return { command: { kind: 'bytes', payload: Buffer.from(this.#tag()) }, recorded: null }
  }

  /** Whoever takes it has another state, and nothing else depends on it. */
  #poison(): Draft {
    const tag = this.#tag()
    return {
      command: json(JSON.stringify({ op: 'set', key: `p${tag}`, value: `${tag}${poisonMark}` })),
      recorded: null,
    }
  }

  #tag(): string {
    this.#count++
    return `w${this.#count}.`
  }
}

function written({ command, recorded }: Draft, key: string | null): Write {
  return { command: { ...command, key }, recorded, historyId: null }
}

function json(text: string): Pick<NewCommand, 'kind' | 'payload'> {
  return { kind: 'json', payload: Buffer.from(text) }
}
