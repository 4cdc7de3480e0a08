// §5.3 from the follower's side: the check, the conflict, the commit index, and logs of every shape brought in line (Figure 7).

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import type { EntryId } from '../../src/raft/entry.ts'
import { Cluster } from './cluster.ts'
import { appendEntries, logOf } from './entries.ts'
import { follower } from './roles.ts'

const origin: EntryId = { term: 0, index: 0 }

describe('Entries are taken only where the entry before them agrees (log: 1, 2)', () => {
  const table: readonly [prev: EntryId, success: boolean, hint: EntryId | null][] = [
    [origin, true, null],
    [{ term: 1, index: 1 }, true, null],
    [{ term: 2, index: 2 }, true, null],
    [{ term: 1, index: 2 }, false, { term: 1, index: 1 }],
    [{ term: 3, index: 2 }, false, { term: 2, index: 2 }],
    [{ term: 2, index: 3 }, false, { term: 2, index: 2 }],
    [{ term: 3, index: 9 }, false, { term: 2, index: 2 }],
    [{ term: 1, index: 9 }, false, { term: 1, index: 1 }],
  ]
  for (const [prev, success, hint] of table) {
    test(`prev ${prev.term}/${prev.index}: ${success ? 'taken' : `refused, look at ${hint?.term}/${hint?.index}`}`, () => {
      const node = follower({ log: [1, 2], currentTerm: 3 })
      node.receive(appendEntries({ term: 3, prev, round: 7 }))
      const [answer] = node.takeSentOf('AppendEntriesResponse')
      assert.equal(answer?.success, success)
      assert.equal(answer?.round, 7)
      if (answer?.success === false) assert.deepEqual([answer.hint, answer.rejectedIndex], [hint, prev.index])
      if (answer?.success === true) assert.equal(answer.matchIndex, prev.index)
    })
  }
})

describe('What conflicts is replaced, what agrees stays (log: 1, 2)', () => {
  const table: readonly [
    prev: EntryId,
    entries: readonly number[],
    log: readonly number[],
    saved: readonly number[],
  ][] = [
    [{ term: 2, index: 2 }, [3], [1, 2, 3], [3]],
    [{ term: 1, index: 1 }, [3, 3], [1, 3, 3], [3, 3]],
    [{ term: 1, index: 1 }, [2], [1, 2], []],
    [{ term: 1, index: 1 }, [2, 3], [1, 2, 3], [3]],
    [origin, [1], [1, 2], []],
    [origin, [1, 2], [1, 2], []],
    [origin, [3], [3], [3]],
    [origin, [1, 3], [1, 3], [3]],
    [origin, [1, 2, 2], [1, 2, 2], [2]],
    [{ term: 1, index: 1 }, [], [1, 2], []],
  ]
  for (const [prev, terms, log, saved] of table) {
    test(`${JSON.stringify(terms)} after ${prev.term}/${prev.index}: ${JSON.stringify(log)}`, () => {
      const node = follower({ log: [1, 2], currentTerm: 3 })
      node.holdSaves = true
      node.receive(appendEntries({ term: 3, prev, entries: logOf(terms, prev.index + 1) }))
      assert.deepEqual(node.terms, log)
      assert.deepEqual(
        node.disk.pending.flatMap((save) => save.entries.map((entry) => entry.term)),
        saved,
      )
      node.completeSaves()
      assert.deepEqual(
        node.disk.entries.map((entry) => entry.term),
        log,
      )
    })
  }
})

describe('The commit index follows the leader’s, and never past the entries that it vouches for (log: 1, 1, 1)', () => {
  const table: readonly [prev: number, entries: number, leaderCommit: number, commitIndex: number][] = [
    [3, 0, 0, 0],
    [3, 0, 2, 2],
    [3, 0, 3, 3],
    [3, 0, 9, 3],
    [1, 1, 9, 2],
    [1, 0, 3, 1],
    [3, 2, 4, 4],
    [3, 2, 9, 5],
    [0, 0, 9, 0],
  ]
  for (const [prev, entries, leaderCommit, commitIndex] of table) {
    test(`prev ${prev}, ${entries} entries, leader's commit ${leaderCommit}: ${commitIndex}`, () => {
      const node = follower({ log: [1, 1, 1] })
      const message = appendEntries({
        term: 1,
        prev: { term: prev === 0 ? 0 : 1, index: prev },
        entries: logOf(Array<number>(entries).fill(1), prev + 1),
        leaderCommit,
      })
      node.receive(message)
      assert.equal(node.raft.commitIndex, commitIndex)
    })
  }
})

test('The commit index never goes back, whatever old messages say', () => {
  const node = follower({ log: [1, 1, 1] })
  node.receive(
    appendEntries({ term: 1, prev: { term: 1, index: 3 }, leaderCommit: 3 }),
    appendEntries({ term: 1, prev: { term: 1, index: 1 }, leaderCommit: 1 }),
  )
  assert.equal(node.raft.commitIndex, 3)
  const [, second] = node.takeSentOf('AppendEntriesResponse')
  assert.equal(second?.success === true && second.matchIndex, 3)
})

test('To replace a committed entry would break every promise: the process stops', () => {
  const node = follower({ log: [1, 1, 1] })
  node.receive(appendEntries({ term: 1, prev: { term: 1, index: 3 }, leaderCommit: 3 }))
  const message = appendEntries({ from: 'n3', term: 2, prev: { term: 1, index: 1 }, entries: logOf([2], 2) })
  assert.throws(() => node.receive(message), { name: 'InvariantError' })
})

describe('Figure 7: whatever a follower holds, the leader of term 8 brings it in line', () => {
  const leaderLog = [1, 1, 1, 4, 4, 5, 5, 6, 6, 6]
  const figure: Readonly<Record<string, readonly number[]>> = {
    a: [1, 1, 1, 4, 4, 5, 5, 6, 6],
    b: [1, 1, 1, 4],
    c: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 6],
    d: [1, 1, 1, 4, 4, 5, 5, 6, 6, 6, 7, 7],
    e: [1, 1, 1, 4, 4, 4, 4],
    f: [1, 1, 1, 2, 2, 2, 3, 3, 3, 3, 3],
  }
  for (const [name, log] of Object.entries(figure)) {
    test(`(${name}) ${log.join('')}`, () => {
      // n3 votes for n1 whatever the follower says.
      const currentTerms = { n1: 7, n2: 7, n3: 7 }
      const cluster = new Cluster({ voters: 3, logs: { n1: leaderLog, n2: log, n3: leaderLog }, currentTerms })
      cluster.elect('n1')
      cluster.settle()
      assert.equal(cluster.node('n1').raft.currentTerm, 8)
      assert.deepEqual(cluster.node('n2').terms, [...leaderLog, 8])
      assert.deepEqual(
        cluster.node('n2').disk.entries.map((entry) => entry.term),
        [...leaderLog, 8],
      )
      assert.equal(cluster.node('n2').raft.commitIndex, 11)
    })
  }

  test('all of them at once, in one cluster of seven', () => {
    const logs: Record<string, readonly number[]> = { n1: leaderLog }
    for (const [i, log] of Object.values(figure).entries()) logs[`n${i + 2}`] = log
    const currentTerms = Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`n${i + 1}`, 7]))
    const cluster = new Cluster({ voters: 7, logs, currentTerms })
    cluster.elect('n1')
    for (const node of cluster.nodes.values()) assert.deepEqual(node.terms, [...leaderLog, 8], node.id)
  })
})
