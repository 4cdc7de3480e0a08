import assert from 'node:assert/strict'
import { test } from 'node:test'
import fc from 'fast-check'
import { findMember } from '../../src/machine/json-member.ts'
import { maxKeyBytes, maxValueDepth, parseKvCommand } from '../../src/machine/kv-command.ts'

const longestKey = 'ü'.repeat(maxKeyBytes / 2)
const nested = (depth: number) => `${'['.repeat(depth)}${']'.repeat(depth)}`

const valid: readonly [name: string, text: string, command: object][] = [
  ['set', '{"op":"set","key":"k","value":1}', { op: 'set', key: 'k', valueJson: '1', ifModifiedIndex: null }],
  [
    'set to null, members in another order, spaces',
    ' { "value" : null , "key":"k",\n"op":"set" } ',
    { op: 'set', key: 'k', valueJson: 'null', ifModifiedIndex: null },
  ],
  [
    'a value as it was written',
    '{"op":"set","key":"k","value": {"a":1e400, "a": 12345678901234567890,\t"b":"}\\"]"} }',
    {
      op: 'set',
      key: 'k',
      valueJson: '{"a":1e400, "a": 12345678901234567890,\t"b":"}\\"]"}',
      ifModifiedIndex: null,
    },
  ],
  [
    'the last of two members, as JSON.parse has it',
    '{"op":"set","key":"a","value":1,"key":"b","v\\u0061lue":[2]}',
    { op: 'set', key: 'b', valueJson: '[2]', ifModifiedIndex: null },
  ],
  [
    'a member of the value that is named value',
    '{"op":"set","value":{"value":[{"value":2}]},"key":"k"}',
    { op: 'set', key: 'k', valueJson: '{"value":[{"value":2}]}', ifModifiedIndex: null },
  ],
  [
    'compare-and-set',
    '{"op":"set","key":"k","value":"v","ifModifiedIndex":7}',
    { op: 'set', key: 'k', valueJson: '"v"', ifModifiedIndex: 7 },
  ],
  [
    'the longest key',
    `{"op":"set","key":"${longestKey}","value":[]}`,
    { op: 'set', key: longestKey, valueJson: '[]', ifModifiedIndex: null },
  ],
  [
    'the deepest value',
    `{"op":"set","key":"k","value":${nested(maxValueDepth)}}`,
    { op: 'set', key: 'k', valueJson: nested(maxValueDepth), ifModifiedIndex: null },
  ],
  ['delete', '{"op":"delete","key":"k"}', { op: 'delete', key: 'k', ifModifiedIndex: null }],
  ['custom', '{"op":"custom","name":"n","payload":{"any":[]}}', { op: 'custom', name: 'n' }],
]

for (const [name, text, command] of valid) {
  test(`a valid command: ${name}`, () => {
    assert.deepEqual(parseKvCommand(Buffer.from(text)), { command, error: null })
  })
}

const invalid: readonly [name: string, payload: string | Uint8Array, sentence: RegExp][] = [
  ['nothing', '', /not valid JSON/],
  ['no JSON', '{"op":"set"', /not valid JSON/],
  ['a byte order mark', '\ufeff{"op":"delete","key":"k"}', /not valid JSON/],
  ['bytes that are not UTF-8', Uint8Array.of(0x22, 0xff, 0x22), /not valid UTF-8/],
  ['an array', '[]', /not a JSON object/],
  ['null', 'null', /not a JSON object/],
  ['no op', '{"key":"k"}', /no known "op"/],
  ['an unknown op', '{"op":"get","key":"k"}', /no known "op"/],
  ['an inherited op', '{"op":"toString","key":"k"}', /no known "op"/],
  ['an unknown property', '{"op":"set","key":"k","value":1,"ttl":5}', /"ttl".*takes op, key, value/],
  ['a property of another op', '{"op":"delete","key":"k","value":1}', /"value"/],
  ['__proto__', '{"op":"delete","key":"k","__proto__":{}}', /"__proto__"/],
  ['no key', '{"op":"set","value":1}', /"key" is not a non-empty string/],
  ['an empty key', '{"op":"set","key":"","value":1}', /"key" is not a non-empty string/],
  ['a number as key', '{"op":"delete","key":1}', /"key" is not a non-empty string/],
  ['a key one byte too long', `{"op":"delete","key":"${longestKey}a"}`, /more than 1024 bytes/],
  ['half a surrogate pair', '{"op":"delete","key":"a\\ud800"}', /surrogate/],
  ['no value', '{"op":"set","key":"k"}', /no "value"/],
  ['a value nested too deep', `{"op":"set","key":"k","value":${nested(maxValueDepth + 1)}}`, /513 levels/],
  ['a value nested absurdly', `{"op":"set","key":"k","value":${nested(500_000)}}`, /500000 levels/],
  ['a condition that is no index', '{"op":"delete","key":"k","ifModifiedIndex":-1}', /"ifModifiedIndex"/],
  ['a condition of null', '{"op":"set","key":"k","value":1,"ifModifiedIndex":null}', /"ifModifiedIndex"/],
  ['custom without name', '{"op":"custom","payload":1}', /"name" is not a non-empty string/],
  ['custom without payload', '{"op":"custom","name":"n"}', /no "payload"/],
]

for (const [name, payload, sentence] of invalid) {
  test(`an invalid command: ${name}`, () => {
    const { command, error } = parseKvCommand(Buffer.from(payload))
    assert.equal(command, null)
    assert.match(error ?? '', sentence)
  })
}

test('whatever the value, its bytes are found where JSON.parse finds the value', () => {
  fc.assert(
    fc.property(
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.jsonValue(),
      fc.dictionary(fc.string(), fc.jsonValue()),
      fc.constantFrom(0, 2, '\t'),
      (before, value, after, space) => {
        const text = JSON.stringify({ ...before, value, ...after }, null, space)
        const bytes = Buffer.from(text)
        const span = findMember(bytes, 'value')
        assert.ok(span !== null)
        assert.deepEqual(JSON.parse(bytes.toString('utf8', span.start, span.end)), JSON.parse(text).value)
      },
    ),
  )
})

test('whatever the bytes, judging them does not throw', () => {
  fc.assert(
    fc.property(fc.uint8Array(), (payload) => {
      assert.equal(parseKvCommand(payload).command, null)
    }),
  )
})
