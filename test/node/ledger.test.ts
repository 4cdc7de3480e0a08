// The ledger of keys: what it holds is a function of the committed log, whatever steps that is seen in; and it survives a snapshot unchanged.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { InvalidSnapshotError } from '../../src/errors.ts'
import { digestOf, keyLifetimeMs, Ledger, type LedgerLimits, type LedgerPicture } from '../../src/node/ledger.ts'
import { decodeLedger, encodeLedger } from '../../src/node/ledger-codec.ts'
import { encodeSkip } from '../../src/node/skip.ts'
import type { Entry, EntryKind } from '../../src/raft/entry.ts'
import { encodeEntry } from '../raft/entries.ts'

const roomy: LedgerLimits = { maxKeys: 1000, maxAnswerBytes: 1024 * 1024 }

interface Written {
  readonly kind?: EntryKind
  readonly key?: string | null
  readonly payload?: Uint8Array
  readonly timestampMs?: number
}

/** Entries of term 2 from index 1 on. */
function logOf(written: readonly Written[]): Entry[] {
  return written.map(({ kind = 'json', key = null, payload = Buffer.from('{}'), timestampMs = 1000 }, i) =>
    encodeEntry({
      term: 2,
      index: i + 1,
      kind,
      timestampMs,
      origin: 7,
      sequence: i,
      key,
      traceparent: null,
      payload,
    }),
  )
}

function keyed(key: string, timestampMs = 1000): Written {
  return { key, timestampMs }
}

function ledgerOf(written: readonly Written[], limits = roomy): Ledger {
  const ledger = new Ledger(limits)
  ledger.committed(logOf(written))
  return ledger
}

const giveWay = async () => {}

async function recoded(picture: LedgerPicture, chunkBytes = 7): Promise<LedgerPicture | null> {
  const parts: Uint8Array[] = []
  for await (const part of encodeLedger(picture, giveWay)) parts.push(Buffer.from(part))
  const bytes = Buffer.concat(parts)
  return await decodeLedger(chunksOf(bytes, chunkBytes), giveWay)
}

async function* chunksOf(bytes: Uint8Array, chunkBytes: number): AsyncGenerator<Uint8Array, void, undefined> {
  for (let from = 0; from < bytes.length; from += chunkBytes) yield bytes.subarray(from, from + chunkBytes)
}

test('A key is found where it stands; an entry without one, or of another kind, leaves nothing behind', () => {
  const ledger = ledgerOf([{ kind: 'noop' }, keyed('a'), {}, keyed('b')])
  assert.deepEqual(ledger.find('b')?.id, { term: 2, index: 4 })
  assert.equal(ledger.at(2)?.key, 'a')
  assert.deepEqual([ledger.find('c'), ledger.at(1), ledger.at(3), ledger.at(9)], [null, null, null, null])
  assert.deepEqual([ledger.size, ledger.throughIndex], [2, 4])
})

test('It sees the log without a gap', () => {
  const [, , third] = logOf([{}, {}, {}])
  assert.throws(() => new Ledger(roomy).committed([third as Entry]), /Entry 3 follows 0/)
})

test('Commands differ in their kind and in every byte', () => {
  assert.equal(digestOf('json', Buffer.from('[1]')), digestOf('json', Buffer.from('[1]')))
  assert.notEqual(digestOf('json', Buffer.from('[1]')), digestOf('json', Buffer.from('[1] ')))
  assert.notEqual(digestOf('json', Buffer.from('[1]')), digestOf('bytes', Buffer.from('[1]')))
})

test('Beyond the limit the oldest keys are forgotten, and a day after it was written each of them', () => {
  const ledger = ledgerOf([keyed('a'), keyed('b'), keyed('c')], { ...roomy, maxKeys: 2 })
  assert.deepEqual([ledger.find('a'), ledger.find('b')?.id.index, ledger.size], [null, 2, 2])
  const day = ledgerOf([keyed('a', 1000), keyed('b', 2000), { timestampMs: 1000 + keyLifetimeMs - 1 }])
  assert.equal(day.find('a')?.id.index, 1)
  const dayAndMore = ledgerOf([keyed('a', 1000), keyed('b', 2000), { timestampMs: 1000 + keyLifetimeMs }])
  assert.deepEqual([dayAndMore.find('a'), dayAndMore.find('b')?.id.index], [null, 2], 'by cluster time alone')
})

test('A key that was forgotten may come again, and stands where it came last', () => {
  const ledger = ledgerOf([keyed('a'), keyed('b'), keyed('c'), keyed('a')], { ...roomy, maxKeys: 2 })
  assert.deepEqual([ledger.find('a')?.id.index, ledger.find('b'), ledger.find('c')?.id.index], [4, null, 3])
})

test('What it holds depends on the log alone, not on the steps in which that was seen', () => {
  const entry = fc.record({
    key: fc.option(fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f', 'g'), { nil: null }),
    afterMs: fc.constantFrom(0, 1, keyLifetimeMs / 2, keyLifetimeMs),
  })
  const property = fc.property(fc.array(entry), fc.array(fc.integer({ min: 1, max: 5 })), (written, steps) => {
    let timestampMs = 0
    const log = logOf(
      written.map(({ key, afterMs }) => {
        timestampMs += afterMs
        return { key, timestampMs }
      }),
    )
    const limits = { ...roomy, maxKeys: 3 }
    const whole = new Ledger(limits)
    whole.committed(log)
    const stepwise = new Ledger(limits)
    for (let from = 0, i = 0; from < log.length; i++) {
      const count = steps[i % Math.max(steps.length, 1)] ?? 1
      stepwise.committed(log.slice(from, from + count))
      from += count
    }
    assert.deepEqual(stepwise.picture(log.length), whole.picture(log.length))
    assert(whole.size <= 3)
  })
  fc.assert(property)
})

test('Answers are kept as JSON up to 4 KiB, and what is longer is known to have been', () => {
  const ledger = ledgerOf([keyed('a'), keyed('b'), keyed('c'), {}])
  const entries = logOf([keyed('a'), keyed('b'), keyed('c'), {}])
  const kept = ledger.answered(entries, [{ ok: true }, 'x'.repeat(4094), 'x'.repeat(4095), 'unkeyed'])
  assert.deepEqual(
    kept.map(({ index }) => index),
    [1, 2],
  )
  assert.deepEqual(ledger.find('a')?.answer, { type: 'known', json: '{"ok":true}' })
  assert.equal(ledger.find('b')?.answer.type, 'known')
  assert.deepEqual(ledger.find('c')?.answer, { type: 'too-long' })
})

test('A command that gave no answer answered null', () => {
  const ledger = ledgerOf([keyed('a')])
  ledger.answered(logOf([keyed('a')]), [undefined])
  assert.deepEqual(ledger.find('a')?.answer, { type: 'known', json: 'null' })
})

test('When the answers take too much room the oldest are given up, and their keys stay', () => {
  const written = [keyed('a'), keyed('b'), keyed('c')]
  const ledger = ledgerOf(written, { ...roomy, maxAnswerBytes: 2 * (100 + 64) })
  ledger.answered(
    logOf(written),
    written.map(() => 'x'.repeat(98)),
  )
  assert.deepEqual(
    ['a', 'b', 'c'].map((key) => ledger.find(key)?.answer.type),
    ['unknown', 'known', 'known'],
  )
})

test('The answers never take more room than they may, in whatever order and how often they come', () => {
  const written = ['a', 'b', 'c', 'd', 'e'].map((key) => keyed(key))
  const maxAnswerBytes = 2 * (100 + 64)
  const ledger = ledgerOf(written, { ...roomy, maxAnswerBytes })
  const answer = (index: number) => ledger.learn({ index, resultJson: `"${'x'.repeat(98)}"` })
  for (const index of [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 2, 1, 4, 4, 5, 3, 2, 1]) {
    answer(index)
    assert.equal(ledger.at(index)?.answer.type, 'known', 'somebody may have asked for this very one')
    const known = ledger.picture(5).keys.filter((command) => command.answer.type === 'known')
    assert(known.length <= 2, `${known.length} answers are kept`)
  }
})

test('Giving up answers does not forget of one that it was too long', () => {
  const written = ['a', 'b', 'c', 'd'].map((key) => keyed(key))
  const ledger = ledgerOf(written, { ...roomy, maxAnswerBytes: 2 * (100 + 64) })
  ledger.answered(logOf(written), ['x'.repeat(5000), 'x'.repeat(98), 'x'.repeat(98), 'x'.repeat(98)])
  assert.deepEqual(
    ['a', 'b', 'c', 'd'].map((key) => ledger.find(key)?.answer.type),
    ['too-long', 'unknown', 'known', 'known'],
  )
})

test('The first answer holds, whatever a state machine says that gets the command again', () => {
  const written = [keyed('a'), keyed('b')]
  const ledger = ledgerOf(written)
  ledger.answered(logOf(written), ['first', 'x'.repeat(5000)])
  assert.deepEqual(ledger.answered(logOf(written), ['second', 'short']), [], 'nor is it kept anew')
  assert.deepEqual(
    ['a', 'b'].map((key) => ledger.find(key)?.answer),
    [{ type: 'known', json: '"first"' }, { type: 'too-long' }],
  )
})

test('An answer that was told from elsewhere fills a gap, and replaces nothing', () => {
  const ledger = ledgerOf([keyed('a'), keyed('b')])
  ledger.answered(logOf([keyed('a')]), ['mine'])
  assert.equal(ledger.learn({ index: 1, resultJson: '"other"' }), false)
  assert.equal(ledger.learn({ index: 2, resultJson: '"told"' }), true)
  assert.equal(ledger.learn({ index: 9, resultJson: '"nothing there"' }), false)
  assert.deepEqual(
    ['a', 'b'].map((key) => ledger.find(key)?.answer),
    [
      { type: 'known', json: '"mine"' },
      { type: 'known', json: '"told"' },
    ],
  )
})

test('A picture is of its index: what came later is not in it, and what comes later does not change it', async () => {
  const written = [keyed('a'), keyed('b'), keyed('c')]
  const ledger = ledgerOf(written)
  ledger.answered(logOf(written).slice(0, 1), ['one'])
  const picture = ledger.picture(2)
  ledger.answered(logOf(written), ['one', 'two', 'three'])
  assert.deepEqual(
    picture.keys.map(({ key, answer }) => [key, answer.type]),
    [
      ['a', 'known'],
      ['b', 'unknown'],
    ],
  )
  assert.throws(() => ledger.picture(4), /has seen 3, and is asked for 4/)
})

test('Through a snapshot it comes out as it went in, in chunks of any size', async () => {
  const payload = encodeSkip(3, 'bad "line"\nof two\u2028or three')
  const written = [keyed('a'), keyed('~!"'), keyed('c'), { kind: 'skip', payload } as const, keyed('d'.repeat(255))]
  const ledger = ledgerOf(written)
  ledger.answered(logOf(written), ['é\n\u2028\u2029\r', 'x'.repeat(5000), null])
  const picture = ledger.picture(5)
  for (const chunkBytes of [1, 7, 100, 100_000]) assert.deepEqual(await recoded(picture, chunkBytes), picture)
  const restored = await Ledger.of((await recoded(picture)) ?? picture, roomy, giveWay)
  assert.deepEqual(restored.picture(5), picture)
  assert.equal(restored.isSkipped(3), true)
  restored.committed([{ ...(logOf([{}])[0] as Entry), index: 6 }])
  assert.equal(restored.throughIndex, 6)
})

test('A snapshot without a ledger has none, and one that is not whole is refused', async () => {
  const decode = (text: string) => decodeLedger(chunksOf(Buffer.from(text), 1000), giveWay)
  assert.equal(await decode(''), null)
  const digest = digestOf('json', Buffer.from('{}'))
  const key = `k 1 1 1000 ${digest} a null\n`
  assert.equal((await decode(`raft-sidecar-ledger 1 5\n${key}end 2\n`))?.keys.length, 1)
  const bad: readonly (readonly [string, string])[] = [
    ['raft-sidecar-ledger 2 5\nend 1\n', 'head of version 1'],
    ['raft-sidecar-ledger 1 5\n', 'before its end'],
    [`raft-sidecar-ledger 1 5\n${key}end 1\n`, 'neither a key nor a skip nor its end'],
    ['raft-sidecar-ledger 1 5\nend 1\nend 1\n', 'follows its end'],
    ['raft-sidecar-ledger 1 5\nend 1', 'middle of a line'],
    [`raft-sidecar-ledger 1 5\n${key}${key}end 3\n`, 'order of the log'],
    ['raft-sidecar-ledger 1 5\nk 1 1 1000 short a null\nend 2\n', 'line 2 is no key'],
    ['raft-sidecar-ledger 1 5\ns 1 2 1 "\\x"\nend 2\n', 'line 2 is no skip'],
  ]
  for (const [text, problem] of bad) {
    await assert.rejects(decode(text), (error: unknown) => {
      assert(error instanceof InvalidSnapshotError && error.message.includes(problem), `${text}: ${String(error)}`)
      return true
    })
  }
})

test('A skip names a command that stands before it; the first one for a command holds', () => {
  const skip = (index: unknown): Written => ({
    kind: 'skip',
    payload: Buffer.from(JSON.stringify({ index, reason: 'bad' })),
  })
  const ledger = new Ledger(roomy)
  const skips = ledger.committed(logOf([{}, skip(1), skip(1), skip(4), skip(9), skip('1'), skip(0), { kind: 'skip' }]))
  assert.deepEqual(skips, [{ index: 1, reason: 'bad', at: { term: 2, index: 2 } }])
  assert.deepEqual(
    [1, 2, 4, 9].map((index) => ledger.isSkipped(index)),
    [true, false, false, false],
  )
  assert.equal(ledger.skipOf(1)?.at.index, 2)
})
