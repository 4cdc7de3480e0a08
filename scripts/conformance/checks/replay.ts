// What comes again, too early, or not as a request at all: every command takes effect once, in order.

import type { Entry } from '../../../src/raft/entry.ts'
import { applyBody } from '../apply-body.ts'
import type { Check } from '../check.ts'
import { Failure, Skip } from '../finding.ts'
import { expectOnce, pictureOf } from '../once.ts'
import { clipped, difference, first, last, range, type State, type Subject } from '../subject.ts'

const atLeastOnce =
  'it tells no position, so that commands which come a second time take effect a second time: store the index of the last command with the data, and offer the position hook'

export const replay: readonly Check[] = [
  {
    name: 'repeat',
    claim: 'a batch that comes twice takes effect once',
    async run({ subject }) {
      const batch = subject.log.append(3)
      await subject.take(batch)
      const before = await subject.state()
      await expectUntouched(subject, before, batch, `The batch ${range(batch)}, which it held, came again`)
      return undefined
    },
  },
  {
    name: 'rewind',
    claim:
      'a batch from before its position does not bring back what it holds; what is new in it is taken or asked for',
    async run({ subject }) {
      const [past, middle] = [subject.log.append(2), subject.log.append(2)]
      await subject.take([...past, ...middle])
      const before = await subject.state()
      await expectUntouched(subject, before, past, `Commands ${range(past)}, which it held, came again`)
      await overlap(subject, before, middle)
      return undefined
    },
  },
  {
    name: 'gap',
    claim: 'a batch that leaves commands out is answered with 409 and its position, and nothing of it is taken',
    async run({ subject }) {
      const missing = subject.log.append(2)
      const batch = subject.log.append(2)
      const here = subject.log.before(first(missing))
      const before = await subject.state()
      const outcome = await subject.deliver(batch)
      const what = `Commands ${range(batch)} came after ${last(missing).index}, while it was at ${here}`
      const remedy = `answer 409 {"position":${here}} when "after" is more than the position, and apply nothing`
      if (outcome.type === 'applied') {
        if (!subject.tellsPosition) throw new Skip(`${atLeastOnce}; nor does it see that commands are missing`)
        throw new Failure(`${what}: it took them, and ${range(missing)} are lost to it. Instead, ${remedy}`)
      }
      if (outcome.type !== 'elsewhere') throw new Failure(`${what}: ${told(outcome)}. Instead, ${remedy}`)
      if (subject.tellsPosition && outcome.position !== here) {
        throw new Failure(`${what}: its 409 says that it is at ${outcome.position}. Instead, ${remedy}`)
      }
      expectSame(before, await subject.state(), `${what}: it answered 409, but`)
      await subject.take([...missing, ...batch])
      return undefined
    },
  },
  {
    name: 'malformed',
    claim: 'what is no batch is refused whole',
    async run({ subject }) {
      const batch = subject.log.append(2)
      const before = await subject.state()
      const after = subject.log.before(first(batch))
      for (const [what, body] of malformedBodies(after, batch)) {
        const answer = await subject.hooks.applyBody(Buffer.from(body), batch)
        if (answer.status < 400) {
          throw new Failure(
            `It answered ${answer.status} to ${what}, ${clipped(body)}: 400 would do, and nothing applied`,
          )
        }
        expectSame(before, await subject.state(), `It answered ${answer.status} to ${what}, but`)
      }
      await subject.take(batch)
      return undefined
    },
  },
]

/** Delivers what the application holds already: 409 with its position, or a success that changes nothing. */
async function expectUntouched(subject: Subject, before: State, batch: readonly Entry[], what: string): Promise<void> {
  const outcome = await subject.deliver(batch)
  const here = subject.log.lastIndex
  const remedy = `answer 409 {"position":${here}}, or 200 without applying them again`
  if (outcome.type !== 'applied' && outcome.type !== 'elsewhere') {
    throw new Failure(`${what}: ${told(outcome)}. Instead, ${remedy}`)
  }
  if (subject.tellsPosition && outcome.type === 'elsewhere' && outcome.position !== here) {
    throw new Failure(`${what}: its 409 says that it is at ${outcome.position}, and it was at ${here}`)
  }
  const after = await subject.state()
  if (!subject.tellsPosition && outcome.type === 'applied' && (after.digest === null || difference(before, after))) {
    throw new Skip(atLeastOnce)
  }
  expectSame(before, after, `${what}: it answered ${outcome.type === 'applied' ? 'success' : '409'}, but`, remedy)
}

/** `held` and something new behind it, in one batch. */
async function overlap(subject: Subject, before: State, held: readonly Entry[]): Promise<void> {
  const picture = await pictureOf(subject)
  const fresh = subject.log.append(2)
  const what = `Commands ${range([...held, ...fresh])} came while it was at ${last(held).index}`
  const outcome = await subject.deliver([...held, ...fresh])
  if (outcome.type === 'elsewhere') {
    expectSame(before, await subject.state(), `${what}: it answered 409, but`)
    await subject.take(fresh)
  } else if (outcome.type === 'applied') {
    if (!subject.tellsPosition) throw new Skip(atLeastOnce)
    await subject.expectPosition(last(fresh).index, `${what}: it took them, and`)
    await expectOnce(subject, picture, what)
  } else {
    throw new Failure(
      `${what}: ${told(outcome)}. Instead, answer 409 {"position":${last(held).index}}, or take what is new`,
    )
  }
}

function expectSame(before: State, after: State, what: string, remedy = 'apply the whole batch or nothing'): void {
  const changed = difference(before, after)
  if (changed !== null) throw new Failure(`${what} ${changed}: ${remedy}`)
}

function told(outcome: { readonly type: string; readonly reason?: string }): string {
  return outcome.reason ?? `it answered with ${outcome.type}`
}

function malformedBodies(after: number, batch: readonly Entry[]): readonly (readonly [what: string, body: string])[] {
  const whole = applyBody(after, batch).toString()
  const wholeFirst = applyBody(after, batch.slice(0, 1)).toString()
  return [
    ['a body that is empty', ''],
    ['a batch that is cut off', whole.slice(0, -20)],
    ['a body that is no JSON', whole.replace(',"after"', '"after"')],
    ['a body that is no object', '[]'],
    ['a batch without commands', `{"after":${after}}`],
    ['a batch whose commands are no list', whole.replace(/"commands":.*\}/, '"commands":{"length":1}}')],
    ['a batch that does not say after what it comes', whole.replace(`"after":${after},`, '')],
    ['a batch whose second command has no index', `${wholeFirst.slice(0, -2)},{"term":7,"command":null}]}`],
    [
      'a batch whose second command has a text for an index',
      `${wholeFirst.slice(0, -2)},{"index":"${last(batch).index}","term":7,"command":null}]}`,
    ],
  ]
}
