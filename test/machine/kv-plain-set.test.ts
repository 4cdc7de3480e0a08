import assert from 'node:assert/strict'
import test from 'node:test'
import fc from 'fast-check'
import { maxKeyBytes, parseAny, parseKvCommand } from '../../src/machine/kv-command.ts'
import { parsePlainSet } from '../../src/machine/kv-plain-set.ts'

test('takes the short way for a set of plain text, and for nothing else', () => {
  const cases: readonly (readonly [text: string, isPlain: boolean])[] = [
    ['{"op":"set","key":"k","value":"v"}', true],
    ['{"op":"set","key":"a/b c~","value":""}', true],
    [`{"op":"set","key":"${'k'.repeat(maxKeyBytes)}","value":"v"}`, true],
    [`{"op":"set","key":"${'k'.repeat(maxKeyBytes + 1)}","value":"v"}`, false],
    ['{"op":"set","key":"","value":"v"}', false],
    ['{"op":"set","key":"k","value":1}', false],
    ['{"op":"set","key":"k","value":"v","value":"w"}', false],
    ['{"op":"set","key":"k","value":"v","ifModifiedIndex":0}', false],
    ['{"op":"set", "key":"k","value":"v"}', false],
    ['{"op":"set","key":"\\u0041","value":"v"}', false],
    ['{"op":"set","key":"k","value":"\\""}', false],
    ['{"op":"set","key":"k","value":"ü"}', false],
    ['{"op":"set","key":"k","value":"\t"}', false],
    ['{"op":"set","key":"k","value":"v"', false],
    ['{"op":"set","key":"k","value":"v"}}', false],
    ['{"op":"set","key":"k","value":"}', false],
    ['"}', false],
    ['', false],
  ]
  for (const [text, isPlain] of cases) {
    const bytes = Buffer.from(text)
    assert.equal(parsePlainSet(bytes, maxKeyBytes) !== null, isPlain, text)
    assert.deepEqual(parseKvCommand(bytes), parseAny(bytes), text)
  }
})

test('the short way comes to the same result as the general one, whatever the bytes', () => {
  const part = fc.oneof(
    fc.string(),
    fc.string({ unit: 'binary' }),
    fc.constantFrom('"', '\\', '","value":"', '}', '\u007f'),
  )
  fc.assert(
    fc.property(part, part, fc.nat(60), fc.integer({ min: 0, max: 255 }), (key, value, position, byte) => {
      for (const text of [
        `{"op":"set","key":"${key}","value":"${value}"}`,
        JSON.stringify({ op: 'set', key, value }),
      ]) {
        const bytes = Buffer.from(text)
        assert.deepEqual(parseKvCommand(bytes), parseAny(bytes))
        bytes[position % bytes.length] = byte
        assert.deepEqual(parseKvCommand(bytes), parseAny(bytes))
      }
    }),
    { numRuns: 2000 },
  )
})
