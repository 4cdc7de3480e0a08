// The network and the sidecar's own death, in the middle of a batch: it is applied whole, at its end, or it is not applied.

import { applyBody } from '../apply-body.ts'
import type { Check } from '../check.ts'
import { Failure, Skip } from '../finding.ts'
import { expectOnce, pictureOf } from '../once.ts'
import { difference, first, last, range, type Subject } from '../subject.ts'

export const faults: readonly Check[] = [
  {
    name: 'slow-body',
    claim: 'while half of a batch is still on its way it answers on a second connection, and has taken nothing yet',
    async run({ subject }) {
      const batch = subject.log.append(2)
      const before = await subject.position()
      const body = applyBody(subject.log.before(first(batch)), batch)
      const exchange = subject.hooks.beginApply(body, batch)
      try {
        await exchange.write(body.subarray(0, body.length / 2))
        const meanwhile = subject.tellsPosition ? await positionBeside(subject) : null
        if (meanwhile !== before) {
          throw new Failure(
            `With half of the batch ${range(batch)} sent it says that it is at ${meanwhile}, and was at ${before}: apply when the whole request is there`,
          )
        }
        await exchange.write(body.subarray(body.length / 2))
        subject.resultsOf(await subject.hooks.endApply(exchange, batch), batch)
      } finally {
        await exchange.cut()
      }
      return subject.tellsPosition ? undefined : 'it tells no position: only that it takes the batch was seen'
    },
  },
  {
    name: 'cut-request',
    claim: 'of a batch whose connection breaks halfway nothing is taken, and the next try is taken',
    async run({ subject }) {
      const batch = subject.log.append(2)
      const before = await subject.state()
      const body = applyBody(subject.log.before(first(batch)), batch)
      const exchange = subject.hooks.beginApply(body, batch)
      await exchange.write(body.subarray(0, body.length - 40))
      await exchange.cut()
      const changed = difference(before, await subject.stateAfterCut())
      if (changed !== null) {
        throw new Failure(
          `Of the batch ${range(batch)} the last 40 bytes never came, but ${changed}: apply when the whole request is there`,
        )
      }
      await subject.take(batch)
      return undefined
    },
  },
  {
    name: 'lost-answer',
    claim: 'a batch whose answer was lost, and that comes again, takes effect once',
    async run({ subject }) {
      const kept = await pictureOf(subject)
      const batch = subject.log.append(2)
      const body = applyBody(subject.log.before(first(batch)), batch)
      const exchange = subject.hooks.beginApply(body, batch)
      await exchange.write(body)
      await exchange.cut()
      const remedy = 'it is tried again after a time-out, and must be held against the position of that very moment'
      const outcome = await subject.deliver(batch)
      if (outcome.type === 'elsewhere') {
        const behind = subject.log.behind(outcome.position)
        if (outcome.position < subject.log.before(first(batch))) {
          throw new Failure(
            `The batch ${range(batch)} came again after its answer was lost, and it says that it is at ${outcome.position}: ${remedy}`,
          )
        }
        if (behind.length > 0) await subject.take(behind)
      } else if (outcome.type !== 'applied') {
        throw new Failure(
          `The batch ${range(batch)} came again after its answer was lost: ${outcome.type === 'poison' ? 'it is refused for good' : outcome.reason}`,
        )
      }
      if (!subject.tellsPosition) {
        throw new Skip('it tells no position, so that what is delivered again takes effect again')
      }
      await subject.expectPosition(last(batch).index, `After the batch ${range(batch)} came twice`)
      await expectOnce(subject, kept, `The batch ${range(batch)} came again after its answer was lost`)
      return undefined
    },
  },
]

async function positionBeside(subject: Subject): Promise<number | null> {
  try {
    return await subject.hooks.position({ apart: true })
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    throw new Failure(
      `While one request was still on its way it did not answer another: ${error.message}. A sidecar keeps a connection open for the batches and opens others beside it: serve several at once`,
      { cause: error },
    )
  }
}
