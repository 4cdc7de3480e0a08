// Clusters that must not mix have different digests; nodes of one cluster have the same.

import assert from 'node:assert/strict'
import test from 'node:test'
import type { SnapshotFile } from '../../src/node/ports.ts'
import { foundingDigest } from '../../src/peers/founding-digest.ts'

const configuration = { members: [{ id: 'n1', peerAddress: 'a:1', role: 'voter' as const }] }
const backup: SnapshotFile = { lastIncluded: { index: 40, term: 7 }, sizeBytes: 1234, checksum: 99 }

test('a cluster that was restored is another one than the one before, and than one from another backup', () => {
  const restored = foundingDigest(configuration, backup)
  assert.equal(foundingDigest(configuration, structuredClone(backup)), restored)
  const others: readonly (SnapshotFile | null)[] = [
    null,
    { ...backup, lastIncluded: { index: 41, term: 7 } },
    { ...backup, lastIncluded: { index: 40, term: 8 } },
    { ...backup, sizeBytes: 1235 },
    { ...backup, checksum: 98 },
  ]
  const digests = others.map((other) => foundingDigest(configuration, other))
  assert.equal(new Set([restored, ...digests]).size, others.length + 1)
  assert.equal(foundingDigest(configuration), digests[0])
})
