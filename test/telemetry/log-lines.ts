// A logger whose lines can be read back.

import { createLogger, type Logger } from '../../src/telemetry/logger.ts'

export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly time: string
  readonly [field: string]: unknown
}

export function loggerWithLines(level: 'debug' | 'info' = 'info'): {
  readonly logger: Logger
  readonly lines: LogLine[]
} {
  const lines: LogLine[] = []
  const stream = { write: (text: string) => void lines.push(JSON.parse(text)) }
  return { logger: createLogger({ level, cluster: 'orders', node: 'n1', stream }), lines }
}
