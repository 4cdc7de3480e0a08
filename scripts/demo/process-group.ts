// Each child leads a process group of its own, so that what it started dies with it.

/** SIGKILL to every process of the group; false when there is none left that could be killed. */
export function killGroup(pid: number): boolean {
  try {
    process.kill(-pid, 'SIGKILL')
    return true
  } catch (error) {
    // EPERM: some systems say so of a group whose processes are all dead, but not yet waited for.
    if (error instanceof Error && 'code' in error && (error.code === 'ESRCH' || error.code === 'EPERM')) return false
    throw error
  }
}
