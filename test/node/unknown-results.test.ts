// Which answers a node asks the others for.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { PeerMessage } from '../../src/node/ports.ts'
import { UnknownResults } from '../../src/node/unknown-results.ts'

test('Of more than fit into one question each gets its turn, though nobody answers', () => {
  const sent: PeerMessage[] = []
  const transport = {
    send: (message: PeerMessage) => sent.push(message),
    peers: () => [{ id: 'n2', connected: true, appUrl: null, refusal: null }],
  }
  const unknown = new UnknownResults({ id: 'n1', transport, repeatAfterMs: 100 })
  const indexes = Array.from({ length: 300 }, (_, i) => i + 1)
  for (const nowMs of [0, 50, 100, 200]) unknown.ask([...indexes, 1, 2], 1, nowMs)
  const asked = sent.map((message) => (message.type === 'ResultsRequest' ? message.indexes : []))
  assert.deepEqual(asked, [
    indexes.slice(0, 200),
    [...indexes.slice(200), ...indexes.slice(0, 100)],
    [...indexes.slice(100)],
  ])
})
