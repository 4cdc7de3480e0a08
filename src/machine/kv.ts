// The embedded key-value state machine, in memory and rebuilt from snapshot and log at each start. `apply` is deterministic and never
// throws: what is no command of it, or whose condition fails, changes nothing and yields `{ "ok": false, … }` on every node alike.

import type { Clock } from '../node/ports.ts'
import type { Entry } from '../raft/entry.ts'
import { type KvCommand, parseKvCommand } from './kv-command.ts'
import { decodeSnapshot, encodeSnapshot } from './kv-snapshot.ts'
import { type KvItem, KvStore } from './kv-store.ts'
import type { ApplyOutcome, RestoreOutcome, Snapshot, StateMachine } from './state-machine.ts'

/** A key as it is read. */
export interface KvView {
  readonly key: string
  readonly value: unknown
  readonly createdIndex: number
  readonly modifiedIndex: number
}

export type KvResult =
  /** set */
  | { readonly ok: true; readonly createdIndex: number; readonly modifiedIndex: number }
  /** delete */
  | { readonly ok: true; readonly existed: boolean }
  /** custom */
  | { readonly ok: true }
  | { readonly ok: false; readonly code: 'invalid-command'; readonly error: string }
  /** `modifiedIndex` is the key's, 0 when it does not exist. */
  | { readonly ok: false; readonly code: 'condition-failed'; readonly error: string; readonly modifiedIndex: number }

export interface KvMachine extends StateMachine {
  readonly size: number
  apply(after: number, commands: readonly Entry[]): ApplyOutcome
  snapshot(): Promise<Snapshot>
  get(key: string): KvView | null
  /** The same as JSON text, with the value exactly as it was sent. */
  getJson(key: string): string | null
  /**
   * Keys that begin with the prefix and come behind `after`, in order of their UTF-16 code units, as such texts: at most `limit`, and fewer where they
   * grow beyond what the loop should be held for. `more`: others follow the last one.
   */
  listJson(prefix: string, after: string | null, limit: number): KvListing
}

export interface KvListing {
  readonly items: readonly string[]
  readonly more: boolean
}

/** A page of a listing ends behind the item that reaches this. */
const maxListingChars = 1024 * 1024

export function createKvMachine(clock: Pick<Clock, 'defer'>): KvMachine {
  return new KeyValueMachine(clock)
}

const done: KvResult = { ok: true }
const deleted: KvResult = { ok: true, existed: true }
const nothingDeleted: KvResult = { ok: true, existed: false }
const bytesRefused: KvResult = {
  ok: false,
  code: 'invalid-command',
  error: 'The key-value machine takes JSON commands, and this one is opaque bytes',
}

class KeyValueMachine implements KvMachine {
  readonly movesByItself = false
  readonly #giveWay: () => Promise<void>
  #store = new KvStore()
  #position = 0

  constructor(clock: Pick<Clock, 'defer'>) {
    this.#giveWay = () => new Promise((resolve) => clock.defer(resolve))
  }

  get size(): number {
    return this.#store.size
  }

  async position(): Promise<number> {
    return this.#position
  }

  apply(after: number, commands: readonly Entry[]): ApplyOutcome {
    if (after !== this.#position) return { type: 'elsewhere', position: this.#position }
    const results = commands.map((entry) => this.#applyEntry(entry))
    this.#position = commands.at(-1)?.index ?? after
    return { type: 'applied', results }
  }

  get(key: string): KvView | null {
    const item = this.#store.get(key)
    if (item === undefined) return null
    const { valueJson, createdIndex, modifiedIndex } = item
    return { key, value: JSON.parse(valueJson), createdIndex, modifiedIndex }
  }

  getJson(key: string): string | null {
    const item = this.#store.get(key)
    return item === undefined ? null : jsonOf(item)
  }

  listJson(prefix: string, after: string | null, limit: number): KvListing {
    const items: string[] = []
    let chars = 0
    for (const item of this.#store.list(prefix, after)) {
      if (items.length >= limit || chars >= maxListingChars) return { items, more: true }
      const text = jsonOf(item)
      items.push(text)
      chars += text.length
    }
    return { items, more: false }
  }

  async snapshot(): Promise<Snapshot> {
    const picture = this.#store.picture(this.#position)
    return { position: picture.position, body: encodeSnapshot(picture, this.#giveWay) }
  }

  /** Reads see the old state until the new one is whole. */
  async restore(snapshot: Snapshot): Promise<RestoreOutcome> {
    this.#store = await decodeSnapshot(snapshot.body, snapshot.position, this.#giveWay)
    this.#position = snapshot.position
    return { type: 'restored' }
  }

  async close(): Promise<void> {}

  #applyEntry(entry: Entry): KvResult {
    if (entry.kind !== 'json') return bytesRefused
    const { command, error } = parseKvCommand(entry.payload)
    if (command === null) return { ok: false, code: 'invalid-command', error }
    return this.#applyCommand(command, entry.index)
  }

  #applyCommand(command: KvCommand, index: number): KvResult {
    switch (command.op) {
      case 'set': {
        const refused = this.#conditionProblem(command.key, command.ifModifiedIndex)
        if (refused !== null) return refused
        const { createdIndex, modifiedIndex } = this.#store.set(command.key, command.valueJson, index)
        return { ok: true, createdIndex, modifiedIndex }
      }
      case 'delete': {
        const refused = this.#conditionProblem(command.key, command.ifModifiedIndex)
        if (refused !== null) return refused
        return this.#store.delete(command.key) ? deleted : nothingDeleted
      }
      case 'custom':
        return done
      default:
        return command satisfies never
    }
  }

  #conditionProblem(key: string, ifModifiedIndex: number | null): KvResult | null {
    if (ifModifiedIndex === null) return null
    const modifiedIndex = this.#store.get(key)?.modifiedIndex ?? 0
    if (modifiedIndex === ifModifiedIndex) return null
    const met = modifiedIndex === 0 ? 'it does not exist' : `it was modified at ${modifiedIndex}`
    const wanted = ifModifiedIndex === 0 ? 'must not exist' : `must stand as modified at ${ifModifiedIndex}`
    return {
      ok: false,
      code: 'condition-failed',
      error: `Nothing was changed: the key ${wanted}, and ${met}; read it again`,
      modifiedIndex,
    }
  }
}

function jsonOf({ key, valueJson, createdIndex, modifiedIndex }: KvItem): string {
  return `{"key":${JSON.stringify(key)},"value":${valueJson},"createdIndex":${createdIndex},"modifiedIndex":${modifiedIndex}}`
}
