// Takes a body of lines off the wire as it arrives, and gives way to others between them: checking 10,000 commands takes longer than a
// heartbeat may wait.

import type { IncomingMessage } from 'node:http'
import type { BodyLease } from './body-budget.ts'
import { Refusal } from './problem.ts'

export interface LineLimits {
  readonly maxLines: number
  readonly maxLineBytes: number
  readonly maxBytes: number
}

/** Between two turns of the event loop; about half a millisecond. */
const linesPerTurn = 250
const bytesPerTurn = 64 * 1024
const lineFeed = 10
const carriageReturn = 13

/**
 * Calls `use` with each line, without its end, and its number from 1; of the last line, the end may be missing. Rejects with Refusal, with
 * what `use` throws, or when the request breaks off; what is left of the body is then read and dropped, so that the client gets to read its
 * answer. `lease` stays open.
 */
export async function readLines(
  request: IncomingMessage,
  limits: LineLimits,
  lease: BodyLease,
  use: (line: Buffer, number: number) => void,
): Promise<void> {
  try {
    await read(request, limits, lease, use)
  } catch (error) {
    request.resume()
    throw error
  }
}

async function read(
  request: IncomingMessage,
  { maxLines, maxLineBytes, maxBytes }: LineLimits,
  lease: BodyLease,
  use: (line: Buffer, number: number) => void,
): Promise<void> {
  let sizeBytes = 0
  let number = 0
  let begun: Buffer[] = []
  let begunBytes = 0
  let turnLines = 0
  let turnBytes = 0

  function end(line: Buffer): void {
    if (++number > maxLines) throw tooLarge(`more than ${maxLines} lines`)
    const text = line.at(-1) === carriageReturn ? line.subarray(0, -1) : line
    if (text.length > maxLineBytes) throw lineTooLarge(number, maxLineBytes)
    if (text.length === 0) throw new Refusal(400, 'invalid-command', `Line ${number} is empty: each holds a command.`)
    use(text, number)
    turnLines++
    turnBytes += line.length
  }

  for await (const chunk of request.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    sizeBytes += chunk.length
    if (sizeBytes > maxBytes) throw tooLarge(`more than ${maxBytes} bytes`)
    lease.add(chunk.length)
    let start = 0
    for (let at = chunk.indexOf(lineFeed); at !== -1; at = chunk.indexOf(lineFeed, start)) {
      const piece = chunk.subarray(start, at)
      end(begunBytes === 0 ? piece : Buffer.concat([...begun, piece]))
      begun = []
      begunBytes = 0
      start = at + 1
      if (turnLines >= linesPerTurn || turnBytes >= bytesPerTurn) {
        turnLines = 0
        turnBytes = 0
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    if (start < chunk.length) begun.push(chunk.subarray(start))
    begunBytes += chunk.length - start
    // Before it is whole, so that a line without end is not collected.
    if (begunBytes > maxLineBytes + 1) throw lineTooLarge(number + 1, maxLineBytes)
  }
  if (begunBytes > 0) end(Buffer.concat(begun))
  if (number === 0) throw new Refusal(400, 'invalid-command', 'The body is empty: it must hold a command a line.')
}

export function tooLarge(what: string): Refusal {
  return new Refusal(413, 'batch-too-large', `The batch has ${what}: send it in parts.`)
}

function lineTooLarge(number: number, maxLineBytes: number): Refusal {
  return new Refusal(
    413,
    'command-too-large',
    `Line ${number} is larger than MAX_COMMAND_BYTES, which is ${maxLineBytes}: send it in parts, or a reference to it.`,
  )
}
