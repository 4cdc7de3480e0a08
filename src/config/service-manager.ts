// What systemd tells the services that it starts. It comes from the real environment only: a `.env` file has no say in it.

import type { Environment } from './environment.ts'
import type { Problems } from './problems.ts'

export interface ServiceManager {
  /** Where readiness is reported; null when nobody waits for it. */
  readonly notifySocket: string | null
  /** A sign of life is wanted at least this often; null: no watchdog. */
  readonly watchdogMs: number | null
}

/** Each sign of life starts a process, so a shorter watchdog is refused. */
const minWatchdogMs = 10_000

export function readServiceManager(env: Environment, pid: number, problems: Problems): ServiceManager {
  const notifySocket = env.NOTIFY_SOCKET || null
  const forThisProcess = env.WATCHDOG_PID === undefined || env.WATCHDOG_PID === String(pid)
  if (notifySocket === null || !env.WATCHDOG_USEC || !forThisProcess) return { notifySocket, watchdogMs: null }
  const watchdogMs = Number(env.WATCHDOG_USEC) / 1000
  if (!(watchdogMs >= minWatchdogMs)) {
    problems.add('WATCHDOG_USEC', env.WATCHDOG_USEC, 'does not fit: set WatchdogSec= to 10s or more, or remove it')
  }
  return { notifySocket, watchdogMs }
}

/** The first directory of StateDirectory=. */
export function stateDirectory(env: Environment): string | null {
  return env.STATE_DIRECTORY?.split(':')[0] || null
}
