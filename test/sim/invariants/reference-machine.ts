// What the key-value machine ought to do, written a second time and naively. Results are compared by what they mean, not by their wording, and
// whole states by a digest that does not depend on the order of their items.

export interface Item {
  readonly valueJson: string
  readonly createdIndex: number
  readonly modifiedIndex: number
}

interface Fields {
  readonly op?: unknown
  readonly key?: unknown
  readonly value?: unknown
  readonly ifModifiedIndex?: number
}

export class ReferenceMachine {
  #items = new Map<string, Item>()
  #digest = 0

  get items(): ReadonlyMap<string, Item> {
    return this.#items
  }

  /** Equal for equal states. */
  get digest(): number {
    return this.#digest
  }

  copy(): ReferenceMachine {
    const copy = new ReferenceMachine()
    copy.#items = new Map(this.#items)
    copy.#digest = this.#digest
    return copy
  }

  put(key: string, item: Item): void {
    this.remove(key)
    this.#items.set(key, item)
    this.#digest = (this.#digest + hash(key, item)) % digestLimit
  }

  /** Whether it was there. */
  remove(key: string): boolean {
    const old = this.#items.get(key)
    if (old === undefined) return false
    this.#items.delete(key)
    this.#digest = (this.#digest - hash(key, old) + digestLimit) % digestLimit
    return true
  }

  /** The commands of the simulator's clients only: everything else is invalid. */
  apply(kind: string, payload: Uint8Array, index: number): Record<string, unknown> {
    if (kind !== 'json') return { ok: false, code: 'invalid-command' }
    const { op, key, value, ifModifiedIndex } = JSON.parse(Buffer.from(payload).toString()) as Fields
    if (op === 'custom') return { ok: true }
    if ((op !== 'set' && op !== 'delete') || typeof key !== 'string') return { ok: false, code: 'invalid-command' }
    const old = this.#items.get(key)
    const modifiedIndex = old?.modifiedIndex ?? 0
    if (ifModifiedIndex !== undefined && ifModifiedIndex !== modifiedIndex) {
      return { ok: false, code: 'condition-failed', modifiedIndex }
    }
    if (op === 'delete') return { ok: true, existed: this.remove(key) }
    const item = { valueJson: JSON.stringify(value), createdIndex: old?.createdIndex ?? index, modifiedIndex: index }
    this.put(key, item)
    return { ok: true, createdIndex: item.createdIndex, modifiedIndex: index }
  }
}

export function meaningOf(result: unknown): string {
  const { ok, code, existed, createdIndex, modifiedIndex } = (result ?? {}) as Readonly<Record<string, unknown>>
  return `${ok}/${code}/${existed}/${createdIndex}/${modifiedIndex}`
}

const digestLimit = 2 ** 48

/** FNV-1a, twice, as 48 bits. */
function hash(key: string, { valueJson, createdIndex, modifiedIndex }: Item): number {
  let low = 0x811c9dc5 ^ createdIndex
  let high = 0x01234567 ^ modifiedIndex
  for (const text of [key, valueJson]) {
    for (let at = 0; at < text.length; at++) {
      const code = text.charCodeAt(at)
      low = Math.imul(low ^ code, 0x01000193)
      high = Math.imul(high ^ code, 0x01000197)
    }
    low = Math.imul(low ^ 0x1ff, 0x01000193)
  }
  return (low >>> 0) * 2 ** 16 + ((high >>> 0) >>> 16)
}
