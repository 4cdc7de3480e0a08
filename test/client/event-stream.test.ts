// The parser of server-sent events, fed in every possible way.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { EventParser, type ServerEvent } from '../../src/client/event-stream.ts'

const cases: readonly (readonly [what: string, text: string, events: readonly ServerEvent[], lastId: string])[] = [
  ['an event', 'id: 7\ndata: {"a":1}\n\n', [{ type: 'message', id: '7', data: '{"a":1}' }], '7'],
  ['a name', 'event: leader\ndata: ü\n\n', [{ type: 'leader', id: '', data: 'ü' }], ''],
  ['no space behind the colon', 'data:1\nid:2\n\n', [{ type: 'message', id: '2', data: '1' }], '2'],
  ['several lines of data', 'data: 1\ndata:  2\ndata\n\n', [{ type: 'message', id: '', data: '1\n 2\n' }], ''],
  [
    'comments and unknown fields',
    ': still there\n\nretry: 5\nfoo: x\ndata: 1\n\n',
    [{ type: 'message', id: '', data: '1' }],
    '',
  ],
  ['line ends of two characters', 'id: 1\r\ndata: 1\r\n\r\n', [{ type: 'message', id: '1', data: '1' }], '1'],
  [
    'an id that stays',
    'id: 1\ndata: a\n\ndata: b\n\n',
    ['a', 'b'].map((data) => ({ type: 'message', id: '1', data })),
    '1',
  ],
  ['an id without data', 'id: 1\ndata: a\n\nid: 5\n\n', [{ type: 'message', id: '1', data: 'a' }], '5'],
  ['an event that is cut off', 'id: 1\ndata: a\n\nid: 2\ndata: b\n', [{ type: 'message', id: '1', data: 'a' }], '1'],
]
for (const [what, text, events, lastId] of cases) {
  test(`${what}, whole and cut at every byte`, () => {
    const bytes = Buffer.from(text)
    for (let at = 0; at <= bytes.length; at++) {
      const parser = new EventParser()
      const found = [...parser.push(bytes.subarray(0, at)), ...parser.push(bytes.subarray(at))]
      assert.deepEqual([found, parser.lastId], [events, lastId], `cut at ${at}`)
    }
  })
}

test('the last id is that of what was taken, not of what stands in the same chunk', () => {
  const parser = new EventParser()
  const events = parser.push(Buffer.from('id: 1\ndata: a\n\nid: 2\ndata: b\n\n'))
  assert.equal(events.next().value?.data, 'a')
  assert.equal(parser.lastId, '1')
})

test('an event without an end is refused', () => {
  const parser = new EventParser()
  const megabyte = Buffer.alloc(1024 * 1024, 'x')
  assert.throws(() => {
    for (let n = 0; n < 40; n++) [...parser.push(n % 2 === 0 ? megabyte : Buffer.from('\ndata: '))]
    for (let n = 0; n < 40; n++) [...parser.push(Buffer.concat([Buffer.from('data: '), megabyte, Buffer.from('\n')]))]
  }, /longer than 32 MiB/)
})
