// What is held against the three applications at the end, from what they themselves kept of every task. Pure.

import type { Task } from '../../test/apps/task-queue/queue.ts'

export interface Testimony {
  readonly node: string
  /** Log index of the state and digest of all of its tasks. */
  readonly position: number
  readonly digest: string
  readonly tasks: readonly Task[]
}

export interface Evidence {
  /** Ids of the tasks whose enqueueing was acknowledged. */
  readonly acknowledged: ReadonlySet<string>
  readonly testimonies: readonly Testimony[]
  /** What hashing the files again gave, by path; null for a file that changed meanwhile. */
  readonly digests: ReadonlyMap<string, string | null>
}

export interface Verdict {
  readonly holds: boolean
  readonly sentence: string
}

export function judge(evidence: Evidence): Verdict[] {
  return [
    allDone(evidence),
    noneInvented(evidence),
    onceUnderAValidLease(evidence),
    noOverlap(evidence),
    right(evidence),
    equal(evidence),
  ]
}

function allDone({ acknowledged, testimonies }: Evidence): Verdict {
  const missing = testimonies.flatMap(({ node, tasks }) => {
    const done = new Set(tasks.filter((task) => task.completions.length > 0).map((task) => task.id))
    return [...acknowledged].filter((id) => !done.has(id)).map((id) => `${id} on ${node}`)
  })
  return verdict(
    missing,
    `each of ${acknowledged.size} acknowledged tasks is done, on every application: none is lost`,
    'not done',
  )
}

function noneInvented({ acknowledged, testimonies }: Evidence): Verdict {
  const foreign = testimonies.flatMap(({ node, tasks }) =>
    tasks.filter((task) => !acknowledged.has(task.id)).map((task) => `${task.id} on ${node}`),
  )
  return verdict(foreign, 'no application holds a task that was not acknowledged', 'never acknowledged')
}

function onceUnderAValidLease({ testimonies }: Evidence): Verdict {
  const wrong = testimonies.flatMap(({ node, tasks }) =>
    tasks.filter((task) => !isDoneProperly(task)).map((task) => `${task.id} on ${node}`),
  )
  return verdict(wrong, 'each was done once, under the lease that was valid at that time', 'done otherwise')
}

function isDoneProperly({ leases, completions }: Task): boolean {
  const [completion] = completions
  if (completion === undefined || completions.length > 1) return false
  const lease = leases.find(({ leaseId }) => leaseId === completion.leaseId)
  return (
    lease !== undefined && lease === leases.at(-1) && lease.fromMs <= completion.atMs && completion.atMs < lease.untilMs
  )
}

function noOverlap({ testimonies }: Evidence): Verdict {
  const overlapping = testimonies.flatMap(({ node, tasks }) =>
    tasks.filter((task) => hasOverlap(task.leases)).map((task) => `${task.id} on ${node}`),
  )
  const leases = testimonies[0]?.tasks.map((task) => task.leases.length) ?? []
  const given = leases.reduce((sum, count) => sum + count, 0)
  const again = leases.filter((count) => count > 1).length
  return verdict(
    overlapping,
    `no task had two leases at once: ${given} leases, ${again} tasks leased more than once`,
    'overlapping',
  )
}

function hasOverlap(leases: Task['leases']): boolean {
  return leases.some((lease, at) =>
    leases.slice(at + 1).some((later) => later.fromMs < lease.untilMs && lease.fromMs < later.untilMs),
  )
}

function right({ testimonies, digests }: Evidence): Verdict {
  const wrong = testimonies.flatMap(({ node, tasks }) =>
    tasks.filter((task) => !isRight(task, digests)).map((task) => `${task.path} as ${task.id} on ${node}`),
  )
  const changed = [...digests.values()].filter((digest) => digest === null).length
  const except = changed === 0 ? '' : ` (${changed} that changed meanwhile left out)`
  return verdict(
    wrong,
    `the results are the SHA-256 of ${digests.size - changed} files, hashed again just now${except}`,
    'wrong',
  )
}

function isRight({ path, completions }: Task, digests: ReadonlyMap<string, string | null>): boolean {
  const expected = digests.get(path)
  return expected === null || (expected !== undefined && completions.every(({ result }) => result === expected))
}

function equal({ testimonies }: Evidence): Verdict {
  const states = new Set(testimonies.map(({ position, digest }) => `${position} ${digest}`))
  const histories = new Set(testimonies.map(({ tasks }) => JSON.stringify(tasks)))
  const listing = testimonies
    .map(({ node, position, digest }) => `${node} at ${position} with ${digest.slice(0, 12)}`)
    .join(', ')
  return states.size === 1 && histories.size === 1
    ? { holds: true, sentence: `the ${testimonies.length} states are equal: ${listing}` }
    : { holds: false, sentence: `the states differ: ${listing}` }
}

function verdict(culprits: readonly string[], sentence: string, accusation: string): Verdict {
  if (culprits.length === 0) return { holds: true, sentence }
  const shown = culprits.slice(0, 5).join(', ')
  return {
    holds: false,
    sentence: `${accusation}: ${shown}${culprits.length > 5 ? `, and ${culprits.length - 5} more` : ''}`,
  }
}
