// Tells systemd when the service is ready, what it does, and that it is alive (sd_notify). Node has no unix datagram sockets, so each
// message is sent by the program systemd-notify: one child at a time, and what comes up meanwhile goes with the next. The unit needs
// NotifyAccess=all. Only that child is given NOTIFY_SOCKET. Trouble with it is logged and never stops the service.

import { spawn } from 'node:child_process'
import type { Logger } from './logger.ts'

export interface ServiceNotifier {
  /** Resolves once systemd was told, or the attempt failed. Begins the signs of life for the watchdog. */
  ready(status: string): Promise<void>
  /** A sentence for `systemctl status`. */
  status(text: string): void
  stopping(): Promise<void>
  /** Ends the signs of life. */
  close(): void
}

export interface ServiceNotifierOptions {
  /** Null: nobody listens, and every call does nothing. */
  readonly notifySocket: string | null
  /** How long systemd waits for a sign of life; null: it does not. Each sign costs a process, so this is 10 s or more. */
  readonly watchdogMs: number | null
  readonly logger: Pick<Logger, 'warn'>
  readonly program?: string
}

const searchPath = '/usr/bin:/bin:/usr/local/bin:/run/current-system/sw/bin'
const childTimeoutMs = 5000
const maxStatusLength = 200

const silentNotifier: ServiceNotifier = {
  ready: async () => {},
  status: () => {},
  stopping: async () => {},
  close: () => {},
}

export function createServiceNotifier(options: ServiceNotifierOptions): ServiceNotifier {
  const { notifySocket, watchdogMs, logger, program = 'systemd-notify' } = options
  if (notifySocket === null) return silentNotifier
  const env = { NOTIFY_SOCKET: notifySocket, PATH: searchPath }

  let waiting = new Map<string, string>()
  let sending: Promise<void> | null = null
  let watchdog: NodeJS.Timeout | null = null

  function notify(assignments: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, value] of Object.entries(assignments)) waiting.set(name, value)
    sending ??= sendAll()
    return sending
  }

  async function sendAll(): Promise<void> {
    while (waiting.size > 0) {
      const assignments = [...waiting].map(([name, value]) => `${name}=${value}`)
      waiting = new Map()
      const failure = await run(program, assignments, env)
      if (failure !== null) {
        logger.warn(
          { event: 'systemd-notify', assignments },
          `Could not tell systemd ${assignments.join(', ')}: ${failure}`,
        )
      }
    }
    sending = null
  }

  function close(): void {
    if (watchdog !== null) clearInterval(watchdog)
    watchdog = null
  }

  return {
    ready(status) {
      if (watchdogMs !== null && watchdog === null) {
        // Half of what systemd waits for; it comes from the event loop, so that a loop that hangs is found out.
        watchdog = setInterval(() => void notify({ WATCHDOG: '1' }), watchdogMs / 2).unref()
      }
      return notify({ READY: '1', STATUS: oneLine(status) })
    },
    status(text) {
      void notify({ STATUS: oneLine(text) })
    },
    stopping() {
      close()
      return notify({ STOPPING: '1' })
    },
    close,
  }
}

/** Null when it went well, or else what went wrong. */
function run(program: string, args: readonly string[], env: NodeJS.ProcessEnv): Promise<string | null> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { env, stdio: 'ignore', timeout: childTimeoutMs })
    child.once('error', (error) => resolve(`${program} cannot be run (${error.message})`))
    child.once('exit', (code, signal) =>
      resolve(code === 0 ? null : `${program} ended with ${signal ?? `exit code ${code}`}`),
    )
  })
}

function oneLine(text: string): string {
  return text.replace(/\s+/g, ' ').slice(0, maxStatusLength)
}
