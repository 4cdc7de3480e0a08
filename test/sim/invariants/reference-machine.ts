// What the key-value machine ought to do, written a second time and naively. Results are compared by what they mean, not by their wording.

interface Item {
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
  items = new Map<string, Item>()

  copy(): ReferenceMachine {
    const copy = new ReferenceMachine()
    copy.items = new Map(this.items)
    return copy
  }

  /** The commands of the simulator's clients only: everything else is invalid. */
  apply(kind: string, payload: Uint8Array, index: number): Record<string, unknown> {
    if (kind !== 'json') return { ok: false, code: 'invalid-command' }
    const { op, key, value, ifModifiedIndex } = JSON.parse(Buffer.from(payload).toString()) as Fields
    if (op === 'custom') return { ok: true }
    if ((op !== 'set' && op !== 'delete') || typeof key !== 'string') return { ok: false, code: 'invalid-command' }
    const old = this.items.get(key)
    const modifiedIndex = old?.modifiedIndex ?? 0
    if (ifModifiedIndex !== undefined && ifModifiedIndex !== modifiedIndex) {
      return { ok: false, code: 'condition-failed', modifiedIndex }
    }
    if (op === 'delete') return { ok: true, existed: this.items.delete(key) }
    const item = { valueJson: JSON.stringify(value), createdIndex: old?.createdIndex ?? index, modifiedIndex: index }
    this.items.set(key, item)
    return { ok: true, createdIndex: item.createdIndex, modifiedIndex: index }
  }
}

export function meaningOf(result: unknown): string {
  const { ok, code, existed, createdIndex, modifiedIndex } = (result ?? {}) as Readonly<Record<string, unknown>>
  return `${ok}/${code}/${existed}/${createdIndex}/${modifiedIndex}`
}
