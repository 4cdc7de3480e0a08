// One JSON object a line on standard output, one line an event, none per command. Secrets are cut out by name.

import { type DestinationStream, destination, type Level, type Logger, pino, stdTimeFunctions } from 'pino'

export type { Logger }

export interface LoggerOptions {
  readonly level: Level | 'silent'
  readonly cluster: string
  readonly node: string
  /** Standard output unless given. */
  readonly stream?: DestinationStream
}

const secretPaths = [
  'apiToken',
  'token',
  'authorization',
  'headers.authorization',
  'req.headers.authorization',
  'config.apiToken',
]

export function createLogger({ level, cluster, node, stream }: LoggerOptions): Logger {
  return pino(
    {
      level,
      base: { cluster, node, pid: process.pid },
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: secretPaths,
    },
    // Asynchronous, so that a reader who stalls never holds the loop; what is left is flushed when the process exits.
    stream ?? destination({ dest: 1, sync: false }),
  )
}
