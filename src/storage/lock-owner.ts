// Who holds a data directory, told so that the next one can prove whether that process still lives: a pid alone may have been given
// to another process since, and after a reboot to any. Pure; /proc is read in directory-lock.ts.

export interface LockOwner {
  readonly pid: number
  /** Differs after every boot of the machine. */
  readonly bootId: string
  /** A pid means something only there; differs from container to container. */
  readonly pidNamespace: string
  /** In clock ticks since the boot: tells two processes apart that had one pid. */
  readonly startTime: string
  /** It let go in order, whether or not it lives. */
  readonly released: boolean
}

/** Null: not a whole description, so nobody who holds anything. */
export function parseOwner(text: string): LockOwner | null {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return null
  }
  if (typeof value !== 'object' || value === null) return null
  const { pid, bootId, pidNamespace, startTime, released }: Partial<Record<keyof LockOwner, unknown>> = value
  if (typeof pid !== 'number' || typeof bootId !== 'string' || typeof pidNamespace !== 'string') return null
  if (typeof startTime !== 'string' || typeof released !== 'boolean') return null
  return { pid, bootId, pidNamespace, startTime, released }
}

/** The start time of a process by its /proc/<pid>/stat; null when it is dead and only waits for its parent to notice. */
export function startTimeOf(stat: string): string | null {
  // The name, in parentheses, may hold anything; the fields count from behind it: state is the 3rd, start time the 22nd.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[0]
  if (state === 'Z' || state === 'X') return null
  return fields[19] ?? null
}

/** Of a file that the lock of a data directory consists of, or that a process left which died while it took it. */
export function isLockName(name: string): boolean {
  return name === 'lock' || /^owner-(?:\d+|[\da-f-]{36}\.tmp)$/.test(name)
}
