import assert from 'node:assert/strict'
import { test } from 'node:test'
import { maxDepth, whyTooDeep } from '../../src/api/json-depth.ts'

function nested(levels: number, inner = '1'): Buffer {
  return Buffer.from('['.repeat(levels) + inner + ']'.repeat(levels))
}

test('A command may be nested so deep, and no deeper', () => {
  assert.equal(whyTooDeep(nested(maxDepth)), null)
  assert.match(whyTooDeep(nested(maxDepth + 1)) ?? '', /more than 512 deep/)
  assert.match(whyTooDeep(Buffer.from(`${'{"a":'.repeat(513)}1${'}'.repeat(513)}`)) ?? '', /more than 512/)
})

test('Brackets in texts, and those that were closed, do not count', () => {
  assert.equal(whyTooDeep(Buffer.from(JSON.stringify(['['.repeat(5000), '"\\"[{'.repeat(2000)]))), null)
  assert.equal(whyTooDeep(Buffer.from(JSON.stringify(Array.from({ length: 3000 }, () => [{}])))), null)
  assert.match(whyTooDeep(nested(maxDepth, JSON.stringify(['\\"[', 'x'.repeat(9)]))) ?? '', /more than/)
})
