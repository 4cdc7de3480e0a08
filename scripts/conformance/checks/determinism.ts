// Two instances that were fed the same log: every node must come to the same state, whichever portions it got the log in.

import { isDeepStrictEqual } from 'node:util'
import type { Check, Peer } from '../check.ts'
import { Failure, Skip } from '../finding.ts'
import { clipped, type Subject } from '../subject.ts'

const why =
  'take the time from the "timestamp" of the command, sort what has no order, and let no random number, host name or clock in'

export const determinism: readonly Check[] = [
  {
    name: 'determinism',
    claim:
      'a second instance that gets the same log gives the same answers, and its state is as good as the first one’s',
    async run({ subject, peer }) {
      if (peer === null) throw new Skip('no second instance: start one beside it and give its hooks by --peer')
      const other = peer.subject
      await begin(subject, peer)
      await compareResults(subject, other)
      const [mine, its] = [await subject.hooks.snapshot(), await other.hooks.snapshot()]
      if (mine === null || its === null) return 'by its answers: it offers no snapshots to compare'
      if (mine.body.equals(its.body)) return undefined
      if (await subject.snapshotsAreRepeatable()) {
        const at = mine.body.findIndex((byte, position) => byte !== its.body[position])
        const offset = at < 0 ? mine.body.length : at
        await exchangeStates(subject, other)
        return `the snapshots differ from byte ${offset} on, but each instance goes on alike from the other one’s`
      }
      await exchangeStates(subject, other)
      return 'snapshots of one state differ, and each instance goes on alike from the other one’s'
    },
  },
]

/** Both from the same state on: fresh, or from one snapshot. */
async function begin(subject: Subject, { subject: other, position }: Peer): Promise<void> {
  if (position === null || position === subject.log.start) return
  const snapshot = await subject.hooks.snapshot()
  const outcome = snapshot === null ? null : await other.hooks.restore(snapshot)
  if (outcome?.type === 'restored') return
  throw new Skip(
    `the second instance began at ${position} and the first at ${subject.log.start}: start both of them empty`,
  )
}

/** In other portions than the first one got them in. */
async function compareResults(subject: Subject, other: Subject): Promise<void> {
  const held = (await other.position()) ?? other.log.start
  const log = subject.log.behind(held)
  for (let from = 0, size = 1; from < log.length; from += size, size = Math.min(size * 2, 1000)) {
    const batch = log.slice(from, from + size)
    const results = await other.take(batch)
    for (const [at, { index }] of batch.entries()) {
      const expected = subject.results.get(index)
      if (isDeepStrictEqual(results[at], expected)) continue
      throw new Failure(
        `The first instance answered ${clipped(expected)} to command ${index}, and the second one ${clipped(results[at])}: ${why}`,
      )
    }
  }
}

async function exchangeStates(subject: Subject, other: Subject): Promise<void> {
  const [mine, its] = [await subject.snapshot(), await other.snapshot()]
  await other.restore(mine)
  await subject.restore(its)
  const batch = subject.log.append(4)
  const answers = await subject.take(batch)
  const others = await other.take(batch)
  for (const [at, { index }] of batch.entries()) {
    if (isDeepStrictEqual(answers[at], others[at])) continue
    throw new Failure(
      `Each instance was restored from the other one’s snapshot, and then one answered ${clipped(answers[at])} to command ${index} and the other ${clipped(others[at])}: ${why}`,
    )
  }
}
