// Lets every promise reaction that is ready run to its end, here and now. What setImmediate would do costs thirty times as much, and a history
// has some ten thousand events. Must be called from a macrotask: V8 does not nest the draining of microtasks.

// What Node itself calls after each callback: next-ticks, microtasks, then the report of unhandled rejections.
const tickCallback: unknown = Reflect.get(process, '_tickCallback')

let isProved = false

export function drain(): void {
  ;(tickCallback as () => void).call(process)
}

/** Throws when this Node would leave reactions behind, or where it would: no history could be trusted then. */
export function assertDrains(): void {
  if (isProved) return
  let reached = 0
  const deep = async (depth: number): Promise<void> => {
    if (depth > 0) await deep(depth - 1)
    await null
    reached++
  }
  if (typeof tickCallback === 'function') {
    void deep(100)
    drain()
  }
  if (reached !== 101)
    throw new Error(`This version of Node (${process.version}) cannot drain promise reactions on demand here`)
  isProved = true
}
