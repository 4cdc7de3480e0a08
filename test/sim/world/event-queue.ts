// A binary heap of events by time; those of one time come out in the order in which they went in.

export interface Timed {
  readonly atMs: number
  readonly sequence: number
}

export class EventQueue<E extends Timed> {
  readonly #heap: E[] = []

  get size(): number {
    return this.#heap.length
  }

  peek(): E | undefined {
    return this.#heap[0]
  }

  push(event: E): void {
    const heap = this.#heap
    let at = heap.length
    heap.push(event)
    while (at > 0) {
      const parent = (at - 1) >> 1
      const above = heap[parent] as E
      if (!isBefore(event, above)) break
      heap[at] = above
      at = parent
    }
    heap[at] = event
  }

  pop(): E | undefined {
    const heap = this.#heap
    const first = heap[0]
    const last = heap.pop()
    if (last === undefined || heap.length === 0) return first
    let at = 0
    for (;;) {
      let child = 2 * at + 1
      if (child >= heap.length) break
      if (child + 1 < heap.length && isBefore(heap[child + 1] as E, heap[child] as E)) child++
      if (!isBefore(heap[child] as E, last)) break
      heap[at] = heap[child] as E
      at = child
    }
    heap[at] = last
    return first
  }
}

function isBefore(a: Timed, b: Timed): boolean {
  return a.atMs < b.atMs || (a.atMs === b.atMs && a.sequence < b.sequence)
}
