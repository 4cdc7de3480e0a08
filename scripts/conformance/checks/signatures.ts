// Standard Webhooks: what does not come from the sidecar, or came long ago, is not taken.

import type { Entry } from '../../../src/raft/entry.ts'
import { applyBody } from '../apply-body.ts'
import type { Check } from '../check.ts'
import { Failure, Skip } from '../finding.ts'
import { sign, signatureHeaders } from '../signature.ts'
import { difference, first, type Subject } from '../subject.ts'

const unsignedRun = 'nothing was signed: with APP_SECRET set, give the same secret by --secret'
const otherSecret = `whsec_${Buffer.from('a secret of somebody else').toString('base64')}`
/** The tolerance that Standard Webhooks’ own libraries have is five minutes. */
const toleranceSeconds = 300

export const signatures: readonly Check[] = [
  {
    name: 'signature',
    claim: 'it refuses with 401 a batch that is unsigned, signed otherwise, changed on its way, or signed too long ago',
    async run({ subject, secret }) {
      if (secret === null) throw new Skip(unsignedRun)
      const batch = subject.log.append(2)
      const body = applyBody(subject.log.before(first(batch)), batch)
      const before = await subject.state()
      for (const [what, headers] of forgeries(secret, subject.hooks.applyId(batch), body)) {
        const { status } = await subject.hooks.applyAs(headers, body)
        expectRefused(status, `A batch that is ${what}`)
        const changed = difference(before, await subject.state())
        if (changed !== null) throw new Failure(`A batch that is ${what} was answered 401, but ${changed}`)
      }
      await subject.take(batch)
      return undefined
    },
  },
  {
    name: 'signature-rotation',
    claim: 'one valid signature among several is enough, so that a secret can be changed',
    async run({ subject, secret }) {
      if (secret === null) throw new Skip(unsignedRun)
      for (const place of ['second', 'first'] as const) {
        const batch = subject.log.append(1)
        const body = applyBody(subject.log.before(first(batch)), batch)
        await expectTaken(subject, batch, body, rotated(secret, subject.hooks.applyId(batch), body, place), place)
      }
      return undefined
    },
  },
  {
    name: 'signature-hooks',
    claim: 'it refuses with 401 to give or replace its state, or to hear of leadership, unsigned',
    async run({ subject, secret }) {
      if (secret === null) throw new Skip(unsignedRun)
      const before = await subject.state()
      const snapshot = await subject.hooks.snapshot()
      if (snapshot !== null) {
        expectRefused((await subject.hooks.unsigned('snapshot', 0, Buffer.alloc(0))).status, 'POST /snapshot unsigned')
        const { status } = await subject.hooks.unsigned('restore', snapshot.position, snapshot.body)
        if (!isNotOffered(status)) expectRefused(status, 'PUT /snapshot unsigned')
      }
      const news = Buffer.from(JSON.stringify({ event: 'acquired', leader: 'n1', term: 9, fencingToken: 9 }))
      const { status } = await subject.hooks.unsigned('leadership', 0, news)
      if (!isNotOffered(status)) expectRefused(status, 'POST /leadership unsigned')
      const changed = difference(before, await subject.state())
      if (changed !== null) throw new Failure(`It refused what was unsigned, but ${changed}`)
      return undefined
    },
  },
]

type Forgery = readonly [what: string, headers: Readonly<Record<string, string>>]

function forgeries(secret: string, id: string, body: Buffer): readonly Forgery[] {
  const seconds = Math.floor(Date.now() / 1000)
  const signedAt = (at: number, by = secret, content: Uint8Array = body) =>
    signatureHeaders(id, at, [sign(by, { id, seconds: at, body: content })])
  return [
    ['unsigned', {}],
    ['signed by another secret', signedAt(seconds, otherSecret)],
    ['not the one that was signed', signedAt(seconds, secret, Buffer.concat([body, Buffer.from(' ')]))],
    ['signed under another id', { ...signedAt(seconds), 'webhook-id': `${id}0` }],
    ['signed, with a signature that is none', signatureHeaders(id, seconds, ['v1,', 'v1', '', ','])],
    [`signed ${toleranceSeconds * 2} s ago`, signedAt(seconds - toleranceSeconds * 2)],
    [`signed ${toleranceSeconds * 2} s ahead of its clock`, signedAt(seconds + toleranceSeconds * 2)],
    ['signed at no time', { ...signedAt(seconds), 'webhook-timestamp': 'now' }],
  ]
}

function rotated(secret: string, id: string, body: Buffer, place: 'first' | 'second') {
  const seconds = Math.floor(Date.now() / 1000)
  const [valid, other] = [secret, otherSecret].map((by) => sign(by, { id, seconds, body })) as [string, string]
  // An asymmetric signature, of a version that need not be known, stands among them.
  return signatureHeaders(id, seconds, place === 'first' ? [valid, 'v1a,AAAA', other] : [other, 'v1a,AAAA', valid])
}

async function expectTaken(
  subject: Subject,
  batch: readonly Entry[],
  body: Buffer,
  headers: Readonly<Record<string, string>>,
  place: string,
): Promise<void> {
  const outcome = subject.hooks.judgeApply(await subject.hooks.applyAs(headers, body), batch)
  if (outcome.type === 'applied') {
    subject.resultsOf(outcome, batch)
    return
  }
  const met = outcome.type === 'misconfigured' || outcome.type === 'retry' ? outcome.reason : `it is ${outcome.type}`
  throw new Failure(
    `Of several signatures, separated by spaces, the ${place} was valid, and the batch was not taken: ${met}. One that fits is enough`,
  )
}

function expectRefused(status: number, what: string): void {
  if (status !== 401) throw new Failure(`${what} was answered ${status}: 401 would do`)
}

function isNotOffered(status: number): boolean {
  return status === 404 || status === 405 || status === 501
}
