// What a stream of events says while nothing changes, and how often it looks.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type EventStream, NodeEvents } from '../../src/api/node-events.ts'
import { FakeNode } from './fake-node.ts'
import { apiOptions } from './running-api.ts'

function textOf(stream: EventStream): string {
  return String(stream.read() ?? '')
}

test('checks are made four times a second while somebody listens, and told only when one changes', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  let ok = true
  let made = 0
  const readyChecks = () => {
    made++
    return [{ name: 'storage', ok, why: 'it is full' }]
  }
  const events = new NodeEvents(apiOptions(new FakeNode(), { readyChecks }))
  t.mock.timers.tick(10_000)
  assert.equal(made, 0)
  const stream = events.open()
  assert.match(textOf(stream), /"ready":true/)
  t.mock.timers.tick(1_000)
  assert.equal(made, 5)
  assert.equal(textOf(stream), '')
  ok = false
  t.mock.timers.tick(250)
  assert.match(textOf(stream), /^event: health\ndata: {"ready":false,.*"why":"it is full"}\]}\n\n$/)
  stream.destroy()
  assert.equal(events.listeners, 0)
  t.mock.timers.tick(10_000)
  assert.equal(made, 6)
})

test('a comment every 15 s keeps the connection alive', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const stream = new NodeEvents(apiOptions(new FakeNode())).open()
  textOf(stream)
  t.mock.timers.tick(14_750)
  assert.equal(textOf(stream), '')
  t.mock.timers.tick(250)
  assert.equal(textOf(stream), ':\n\n')
  t.mock.timers.tick(15_000)
  assert.equal(textOf(stream), ':\n\n')
  stream.destroy()
})

test('one who comes later is told the state that the others know', (t) => {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const node = new FakeNode()
  const events = new NodeEvents(apiOptions(node))
  const first = events.open()
  node.leaderView = null
  const second = events.open()
  assert.match(textOf(second), /^retry: 1000\n\nevent: leader\ndata: {"leader":null,"term":3}\n\n/)
  assert.equal(node.subscribers.size, 1)
  first.destroy()
  assert.equal(node.subscribers.size, 1)
  second.destroy()
  assert.equal(node.subscribers.size, 0)
})
