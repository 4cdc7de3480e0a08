// Whether what the clients of one key saw can be explained by a single register that each operation touches at one moment between its call and its
// answer: the search of Wing and Gong, with Lowe's memory of configurations that led nowhere. Partitioned by key, since registers compose.

export interface Operation {
  readonly kind: 'write' | 'read'
  readonly key: string
  /** What was written or seen; null: nothing is there. */
  readonly value: string | null
  /** Places in the order of all calls and answers. */
  readonly calledAt: number
  /** Infinity: nobody knows what became of it, and it may take effect at any time, or never. */
  readonly returnedAt: number
}

export type Verdict = 'linearizable' | 'not-linearizable' | 'undecided'

interface Node {
  readonly operation: Operation
  readonly number: number
  readonly isCall: boolean
  /** The answer of a call. */
  answer: Node | null
  prev: Node | null
  next: Node | null
}

/** The first key whose history cannot be explained, if there is one. `maxSteps` bounds the search of each key. */
export function checkHistory(
  operations: readonly Operation[],
  maxSteps = 200_000,
): { readonly verdict: Verdict; readonly key: string | null } {
  const byKey = new Map<string, Operation[]>()
  for (const operation of operations) {
    const ofKey = byKey.get(operation.key)
    if (ofKey === undefined) byKey.set(operation.key, [operation])
    else ofKey.push(operation)
  }
  let undecided: string | null = null
  for (const [key, ofKey] of byKey) {
    const verdict = checkRegister(ofKey, maxSteps)
    if (verdict === 'not-linearizable') return { verdict, key }
    if (verdict === 'undecided') undecided ??= key
  }
  return { verdict: undecided === null ? 'linearizable' : 'undecided', key: undecided }
}

/** The register begins empty. */
export function checkRegister(operations: readonly Operation[], maxSteps: number): Verdict {
  const relevant = withoutIdleUnknowns(operations).sort((a, b) => a.calledAt - b.calledAt)
  const head = linkedList(relevant)
  const taken = new Uint8Array(relevant.length)
  const seen = new Set<string>()
  const path: { readonly call: Node; readonly before: string | null }[] = []
  let state: string | null = null
  let unanswered = relevant.filter((operation) => operation.returnedAt !== Number.POSITIVE_INFINITY).length
  let highest = 0
  let steps = 0
  let at = head.next
  while (unanswered > 0) {
    if (++steps > maxSteps) return 'undecided'
    if (at?.isCall) {
      const { operation } = at
      if (operation.kind === 'write' || operation.value === state) {
        const after: string | null = operation.kind === 'write' ? operation.value : state
        taken[at.number] = 1
        highest = Math.max(highest, at.number)
        const configuration = `${configurationOf(head, taken, highest)}${after ?? ''}`
        if (!seen.has(configuration)) {
          seen.add(configuration)
          path.push({ call: at, before: state })
          state = after
          if (at.answer !== null) unanswered--
          lift(at)
          at = head.next
          continue
        }
        taken[at.number] = 0
      }
      at = at.next
      continue
    }
    // An answer whose call has not taken effect, or the end: the last choice was wrong.
    const last = path.pop()
    if (last === undefined) return 'not-linearizable'
    state = last.before
    taken[last.call.number] = 0
    if (last.call.answer !== null) unanswered++
    unlift(last.call)
    at = last.call.next
  }
  return 'linearizable'
}

/** Which operations have taken effect: all before the first that has not, and of those behind it, through `highest`, the marked ones. */
function configurationOf(head: Node, taken: Uint8Array, highest: number): string {
  // What is left stands in the list, in the order of the calls.
  let first = head.next?.number ?? 0
  while (taken[first] === 1) first++
  let marks = ''
  let length = 0
  for (let number = first + 1; number <= highest; number++) {
    marks += taken[number] === 1 ? '1' : '0'
    if (taken[number] === 1) length = marks.length
  }
  return `${first}:${marks.slice(0, length)}/`
}

/** A write of which nobody knows and that nobody saw explains nothing; a read without an answer even less. */
function withoutIdleUnknowns(operations: readonly Operation[]): Operation[] {
  const seen = new Set(operations.filter(({ kind }) => kind === 'read').map(({ value }) => value))
  return operations.filter(
    ({ kind, value, returnedAt }) => returnedAt !== Number.POSITIVE_INFINITY || (kind === 'write' && seen.has(value)),
  )
}

function linkedList(operations: readonly Operation[]): Node {
  const nodes = operations.flatMap((operation, number) => {
    const call: Node = { operation, number, isCall: true, answer: null, prev: null, next: null }
    if (operation.returnedAt === Number.POSITIVE_INFINITY) return [{ at: operation.calledAt, node: call }]
    const answer: Node = { operation, number, isCall: false, answer: null, prev: null, next: null }
    call.answer = answer
    return [
      { at: operation.calledAt, node: call },
      { at: operation.returnedAt, node: answer },
    ]
  })
  nodes.sort((a, b) => a.at - b.at)
  const nothing: Operation = { kind: 'read', key: '', value: null, calledAt: 0, returnedAt: 0 }
  const head: Node = { operation: nothing, number: -1, isCall: false, answer: null, prev: null, next: null }
  let last = head
  for (const { node } of nodes) {
    last.next = node
    node.prev = last
    last = node
  }
  return head
}

function lift(call: Node): void {
  unlink(call)
  if (call.answer !== null) unlink(call.answer)
}

function unlift(call: Node): void {
  if (call.answer !== null) relink(call.answer)
  relink(call)
}

function unlink(node: Node): void {
  if (node.prev !== null) node.prev.next = node.next
  if (node.next !== null) node.next.prev = node.prev
}

function relink(node: Node): void {
  if (node.prev !== null) node.prev.next = node
  if (node.next !== null) node.next.prev = node
}
