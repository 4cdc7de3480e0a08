// The planted bugs are hunted by `npm run sim:bugs`, which takes minutes; that each can still be planted is seen at once.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import test from 'node:test'
import { plantedBugs } from './sim/bugs/planted-bugs.ts'

test('every planted bug finds its place in the source exactly once', () => {
  const lost = plantedBugs.filter(({ patches }) =>
    patches.some(({ file, find }) => readFileSync(file, 'utf8').split(find).length !== 2),
  )
  assert.deepEqual(
    lost.map(({ name }) => name),
    [],
  )
})

test('every test that is said to catch what seeds miss is there', () => {
  for (const { name, directed } of plantedBugs) {
    if (directed === undefined) continue
    const [file = '', sentence = ''] = directed.split(/: (.*)/)
    const words = sentence.replace(/…$/, '')
    assert(readFileSync(file, 'utf8').includes(words), `${name}: ${file} has no test "${words} …"`)
  }
})
