// What an application must take, and what its answers must be made of.

import type { AppAnswer } from '../../../src/machine/app-answer.ts'
import type { Entry } from '../../../src/raft/entry.ts'
import { applyBody, unknownFields } from '../apply-body.ts'
import type { Check } from '../check.ts'
import { Failure, Skip } from '../finding.ts'
import { clipped, last, type Subject } from '../subject.ts'

/** 1 MiB of commands, which are larger as base64, with what stands around each. */
const largestBodyBytes = 1.5 * 1024 * 1024
const largestBatch = 1000

/** Committed is committed: what no application expects is delivered all the same. */
const oddities = [
  'null',
  '17',
  '"text"',
  '[]',
  '{}',
  '{"__proto__":{"op":1},"constructor":{"prototype":null}}',
  '{"op":"\\ud800","n":1e400,"N":123456789012345678901234567890}',
  `${'['.repeat(100)}${']'.repeat(100)}`,
]

export const taking: readonly Check[] = [
  {
    name: 'apply',
    claim: 'it answers a batch with one result a command, or with an empty body',
    isFundamental: true,
    async run({ subject, secret }) {
      const batch = subject.log.append(3)
      const outcome = await subject.deliver(batch)
      if (outcome.type === 'misconfigured' && secret === null && /answered 401/.test(outcome.reason)) {
        throw new Failure(`${outcome.reason}; if it expects a signature, give its secret with --secret`)
      }
      const results = subject.resultsOf(outcome, batch)
      return results.every((result) => result === null)
        ? 'all of them null: a proposer learns nothing but that it is done'
        : undefined
    },
  },
  {
    name: 'position',
    claim: 'its position is the index of the last command, also where indexes are left out',
    async run({ subject }) {
      if (!subject.tellsPosition) {
        throw new Skip(
          'no position hook: a sidecar goes by its own cursor, and after a crash commands come at least once',
        )
      }
      await subject.expectPosition(subject.log.lastIndex, 'After three commands')
      const [command] = subject.log.append(1)
      subject.log.leaveOut(3)
      const batch = [command as Entry, ...subject.log.append(1)]
      await subject.take(batch)
      await subject.expectPosition(last(batch).index, `After a batch that ended with ${last(batch).index}`)
      subject.log.leaveOut(2)
      const alone = subject.log.append(1)
      await subject.take(alone)
      await subject.expectPosition(last(alone).index, `After command ${last(alone).index} alone`)
      return undefined
    },
  },
  {
    name: 'attributes',
    claim: 'it takes commands that come with an idempotency key and a traceparent',
    async run({ subject }) {
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await subject.take([subject.log.appendAttributed('order-4711/"retry"', traceparent)])
      return undefined
    },
  },
  {
    name: 'unknown-fields',
    claim: 'it takes fields that it does not know, as a later sidecar may send',
    async run({ subject }) {
      const batch = subject.log.append(2)
      const extra = { batch: unknownFields, command: unknownFields }
      const body = applyBody(beforeAll(subject, batch), batch, { extra })
      subject.resultsOf(subject.hooks.judgeApply(await subject.hooks.applyBody(body, batch), batch), batch)
      return undefined
    },
  },
  {
    name: 'bytes',
    claim: 'it takes commands of opaque bytes',
    run: ({ subject }) =>
      takeForeign(subject, [{ kind: 'bytes', payload: Buffer.from([0, 255, 10, 13, 34, 92, 128, 7]) }], 'opaque bytes'),
  },
  {
    name: 'any-json',
    claim: 'it takes any JSON, whatever a client proposed by mistake',
    run: ({ subject }) =>
      takeForeign(
        subject,
        oddities.map((text) => ({ kind: 'json', payload: Buffer.from(text) })),
        'commands of a strange shape',
      ),
  },
  {
    name: 'large-batch',
    claim: 'it takes the largest batch that a sidecar sends: 1,000 commands, 1.5 MiB',
    async run({ subject }) {
      const batch = subject.log.append(largestBatch)
      const after = beforeAll(subject, batch)
      const missing = largestBodyBytes - applyBody(after, batch).length
      const padding = `"padding":"${'x'.repeat(Math.max(0, missing))}",`
      const body = applyBody(after, batch, { extra: { batch: padding, command: '' } })
      subject.resultsOf(subject.hooks.judgeApply(await subject.hooks.applyBody(body, batch), batch), batch)
      return undefined
    },
  },
]

function beforeAll(subject: Subject, batch: readonly Entry[]): number {
  return subject.log.before(batch[0] as Entry)
}

/** To refuse one for good is allowed, and stops the delivery at it: 422 is no fault, but to be known. */
async function takeForeign(
  subject: Subject,
  commands: readonly { readonly kind: 'json' | 'bytes'; readonly payload: Buffer }[],
  what: string,
): Promise<string | undefined> {
  const refused: string[] = []
  for (const fields of commands) {
    const batch = [subject.log.appendOne(fields)]
    const answer = await answered(subject, batch)
    const outcome = subject.hooks.judgeApply(answer, batch)
    if (outcome.type === 'poison') {
      subject.log.withdrawLast()
      refused.push(fields.kind === 'bytes' ? 'them' : clipped(fields.payload.toString()))
    } else if (outcome.type === 'applied') {
      subject.resultsOf(outcome, batch)
    } else {
      subject.log.withdrawLast()
      const met = outcome.type === 'elsewhere' ? `answered that it is at ${outcome.position}` : outcome.reason
      throw new Failure(
        `Of ${what} it does not take ${clipped(fields.payload.toString())}, and delivery would never get past it: ${met}. ` +
          'Answer it with a result that says so, or with 422 to have it left out by the whole cluster',
      )
    }
  }
  if (refused.length === 0) return undefined
  return `it refuses ${refused.join(', ')} for good, so that delivery stops until \`raft-sidecar skip\`: a result that says so would do as well`
}

function answered(subject: Subject, batch: readonly Entry[]): Promise<AppAnswer> {
  return subject.hooks.applyBody(applyBody(beforeAll(subject, batch), batch), batch)
}
