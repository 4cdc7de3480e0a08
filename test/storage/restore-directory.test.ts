// A backup made into a data directory: whole, or one that no node starts on and that can be restored over.

import assert from 'node:assert/strict'
import test from 'node:test'
import { FatalError, InvalidSnapshotError, StorageFullError } from '../../src/errors.ts'
import { inspectDirectory } from '../../src/storage/inspect-directory.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { checkBackup, isBackupOf, refuseUsed, restoreDirectory } from '../../src/storage/restore-directory.ts'
import { snapshotName } from '../../src/storage/snapshot-file.ts'
import { losesEverything, losesSome, MemoryDisk, systemError } from './memory-disk.ts'
import {
  directory,
  encodeSnapshot,
  entries,
  founding,
  ids,
  isDataError,
  open,
  readLedger,
  readSnapshot,
  seeded,
  snapshotHeader,
  temporaryDirectory,
} from './storage-kit.ts'

const file = '/backups/orders.snapshot'
const body = Buffer.alloc(600_000, 'state at 40 ')
const ledger = Buffer.alloc(300_000, 'keys at 40 ')
const backup = encodeSnapshot(snapshotHeader(40, 7, { machinePosition: 38 }), [body], 'orders', [ledger])
const members = { members: [{ id: 'n5', peerAddress: 'e:1', role: 'voter' as const }] }
const identity = { cluster: 'copies', nodeId: 'n5', incarnation: 'ffeeddccbbaa9988', configuration: members }

function machineWith(bytes: Buffer = backup.bytes): MemoryDisk {
  const machine = MemoryDisk.holding(new Map([[file, bytes]]))
  machine.createDirectory(directory)
  return machine
}

async function restore(machine: MemoryDisk, mayGoOn = () => {}) {
  const disk = machine.mount()
  const checked = await checkBackup(disk, file)
  return restoreDirectory({ disk, directory, backup: checked, identity, segmentBytes: 4096, mayGoOn })
}

function start(machine: MemoryDisk) {
  const { cluster, nodeId } = identity
  const wanted = { cluster, nodeId, newIncarnation: 'new', foundingConfiguration: founding }
  return open(machine.mount(), { identity: wanted })
}

function verdict(machine: MemoryDisk) {
  return inspectDirectory({ disk: machine.mount(), directory, isHeld: false })
}

for (const [name, where] of [
  ['memory', async () => ({ disk: machineWith().mount(), path: directory, source: file })],
  [
    'the real disk',
    async (t: test.TestContext) => {
      const path = await temporaryDirectory(t)
      const elsewhere = await temporaryDirectory(t)
      const written = await nodeDisk.open(`${elsewhere}/backup`, 'create')
      written.write(backup.bytes, 0)
      await written.close()
      return { disk: nodeDisk, path, source: `${elsewhere}/backup` }
    },
  ],
] as const) {
  test(`on ${name}: the node goes on from the backup, in a cluster of its own`, async (t) => {
    const { disk, path, source } = await where(t)
    const checked = await checkBackup(disk, source)
    assert.equal(await isBackupOf(disk, checked, 'orders'), true)
    assert.equal(await isBackupOf(disk, checked, identity.cluster), false)
    const snapshot = await restoreDirectory({
      disk,
      directory: path,
      backup: checked,
      identity,
      segmentBytes: 4096,
      mayGoOn: () => {},
    })
    assert.deepEqual(await disk.list(path), [snapshotName({ index: 40, term: 7 }), '0000000001.segment', 'metafile'])
    const { verdict, log } = await inspectDirectory({ disk, directory: path, isHeld: false })
    assert.deepEqual([verdict.kind, log], ['sound', { firstIndex: 41, lastIndex: 40 }])

    const wanted = { cluster: 'copies', nodeId: 'n5', newIncarnation: 'new', foundingConfiguration: founding }
    const { storage, save } = await open(disk, { directory: path, identity: wanted })
    assert.equal(storage.isNew, false)
    assert.deepEqual(storage.newestSnapshot, snapshot)
    assert.deepEqual(storage.identity, {
      cluster: 'copies',
      nodeId: 'n5',
      incarnation: identity.incarnation,
      foundingConfiguration: members,
      restoredFrom: backup.file,
    })
    const configuration = { index: 40, configuration: members }
    assert.deepEqual(storage.recovered, {
      hardState: { currentTerm: 7, votedFor: null },
      snapshot: { lastIncluded: { index: 40, term: 7 }, timestampMs: 1_040, configuration },
      base: { index: 40, term: 7 },
      termRuns: [],
      lastIndex: 40,
      lastTimestampMs: 1_040,
      configurations: [configuration],
    })
    assert.deepEqual(await readSnapshot(storage), { id: '7/40', body: body.toString() })
    assert.equal(await readLedger(storage), ledger.toString())
    const opened = await storage.openSnapshot()
    assert.equal(opened?.header.machinePosition, 38)
    await opened?.close()
    await save(entries(41, 42, 8), { currentTerm: 8, votedFor: 'n5' })
    assert.deepEqual(ids(await storage.read(41, 42, 1e6)), ['8/41', '8/42'])
    await storage.close()
  })
}

test('every node of the new cluster gets the same snapshot, another incarnation aside', async () => {
  const [one, other] = [machineWith(), machineWith()]
  await restore(one)
  const disk = other.mount()
  const second = { ...identity, incarnation: '1111111111111111', nodeId: 'n6' }
  const checked = await checkBackup(disk, file)
  await restoreDirectory({ disk, directory, backup: checked, identity: second, segmentBytes: 4096, mayGoOn: () => {} })
  const name = `${directory}/${snapshotName({ index: 40, term: 7 })}`
  assert.deepEqual(one.files().get(name), other.files().get(name))
})

test('a backup of version 0.2, which holds no ledger, is restored as it is', async () => {
  const machine = machineWith(encodeSnapshot(snapshotHeader(40, 7), [body]).bytes)
  await restore(machine)
  const { storage } = await start(machine)
  assert.deepEqual(await readSnapshot(storage), { id: '7/40', body: body.toString() })
  assert.equal(await readLedger(storage), '')
})

test('a file that is no whole backup is refused before anything is touched', async () => {
  const { bytes } = backup
  const cases: readonly Buffer[] = [
    Buffer.alloc(0),
    Buffer.from('text'),
    bytes.subarray(0, 100),
    bytes.subarray(0, bytes.length - 1),
    Buffer.concat([bytes, Buffer.alloc(1)]),
    ...[0, 9, 40, 200, 300_000, bytes.length - 1].map((at) => {
      const flipped = Buffer.from(bytes)
      flipped[at] = (flipped[at] as number) ^ 1
      return flipped
    }),
  ]
  for (const content of cases) {
    const machine = machineWith(content)
    await assert.rejects(restore(machine), (error) => {
      assert(error instanceof InvalidSnapshotError)
      assert.match(
        error.message,
        /^Cannot restore \/backups\/orders\.snapshot: .* Nothing was changed; restore another backup\.$/,
      )
      return true
    })
    assert.deepEqual([...machine.files().keys()], [file])
  }
  await assert.rejects(
    checkBackup(machineWith().mount(), '/nowhere/file'),
    /Cannot read the backup \/nowhere\/file: ENOENT/,
  )
})

test('a directory that holds anything is refused, and left as it is', async () => {
  const used = new MemoryDisk()
  await (await open(used.mount())).storage.close()
  const node = [...used.files()]
  const cases: readonly (readonly [string, Buffer])[][] = [
    node,
    ...node.map((each) => [each]),
    [[`${directory}/${snapshotName({ index: 1, term: 1 })}`, Buffer.from('x')]],
    [[`${directory}/delivery`, Buffer.from('x')]],
    [[`${directory}/0000000001.results`, Buffer.from('x')]],
    [[`${directory}/anything`, Buffer.from('x')]],
    [[`${directory}/metafile.tmp`, Buffer.from('x')]],
    [
      [`${directory}/restoring`, Buffer.from('x')],
      [`${directory}/delivery`, Buffer.from('x')],
    ],
    // What commands of another cluster answered must never be told by the new one.
    [
      [`${directory}/restoring`, Buffer.from('x')],
      [`${directory}/0000000001.results`, Buffer.from('x')],
    ],
  ]
  for (const files of cases) {
    const machine = machineWith()
    for (const [path, bytes] of files) machine.put(path, bytes)
    const before = machine.files()
    await assert.rejects(restore(machine), (error) => {
      assert(isDataError(error) && error instanceof FatalError)
      assert.match(
        error.message,
        /^Cannot restore into \/data: it holds .*\. Nothing was changed; give an empty directory as DATA_DIR\.$/,
      )
      return true
    })
    assert.deepEqual(machine.files(), before)
  }
  await refuseUsed(new MemoryDisk().mount(), '/not/there/yet')
})

test('what the lock and the file system keep there is no obstacle', async () => {
  const machine = machineWith()
  for (const name of ['owner-3', 'owner-0b0b0b0b-0000-4000-8000-000000000000.tmp', 'lost+found', 'restoring.tmp']) {
    machine.put(`${directory}/${name}`, Buffer.from('x'))
  }
  await restore(machine)
  assert.equal((await verdict(machine)).verdict.kind, 'sound')
})

test('a crash after any operation: no node starts on half of it, and it can be restored again', async () => {
  const outcomes = new Set<string>()
  for (const [name, failure] of [
    ['everything that was not synced is lost', () => losesEverything],
    ['some of it is', (seed: number) => losesSome(seeded(seed))],
  ] as const) {
    for (let operations = 0; ; operations++) {
      const machine = machineWith()
      let left = operations
      machine.before = ({ path }) => {
        if (path.startsWith(directory) && left-- === 0) machine.halt()
      }
      const isDone = await restore(machine).then(
        () => true,
        () => false,
      )
      machine.before = () => {}
      machine.failPower(failure(operations))
      const { kind } = (await verdict(machine)).verdict
      outcomes.add(kind)
      const what = `${name}, after ${operations} operations: ${kind}`
      if (isDone) assert.equal(kind, 'sound', what)
      if (kind === 'sound') {
        const { storage } = await start(machine)
        assert.deepEqual(await readSnapshot(storage), { id: '7/40', body: body.toString() }, what)
        assert.equal(await readLedger(storage), ledger.toString(), what)
        assert.deepEqual(storage.identity.restoredFrom, backup.file, what)
      } else {
        if (kind === 'damaged') await assert.rejects(start(machine), /restoring.*Restore the backup again/)
        // A new node would be one of another cluster: with nothing in it, it cannot be taken for a part of this one.
        else
          assert.deepEqual(
            [...machine.files().keys()].filter((path) => !path.endsWith('.tmp')),
            [file],
            what,
          )
        await restore(machine)
        assert.equal((await verdict(machine)).verdict.kind, 'sound', what)
      }
      if (isDone) break
    }
  }
  assert.deepEqual([...outcomes].sort(), ['damaged', 'new', 'sound'])
})

test('a full disk: told as such, room given back, and restored when there is some', async () => {
  const machine = machineWith()
  machine.before = ({ kind, path, bytes }) => {
    if ((kind === 'write' || kind === 'zeroFill') && bytes > 1_000) throw systemError('ENOSPC', 'no space left', path)
  }
  await assert.rejects(restore(machine), (error) => {
    assert(error instanceof StorageFullError)
    assert.match(error.message, /^Cannot restore into \/data: the disk is full\. Make room, and restore again\.$/)
    return true
  })
  machine.before = () => {}
  assert.deepEqual([...machine.files().keys()].sort(), [file, `${directory}/restoring`])
  await assert.rejects(start(machine), /Restore the backup again/)
  await restore(machine)
  assert.equal((await verdict(machine)).verdict.kind, 'sound')
})

test('a directory that is taken away in the midst of it is written to no more', async () => {
  const machine = machineWith()
  let asked = 0
  const taken = new FatalError(75, 'The lock was taken away')
  const mayGoOn = () => {
    if (++asked === 2) throw taken
  }
  await assert.rejects(restore(machine, mayGoOn), taken)
  assert.deepEqual(
    [...machine.files().keys()].filter((path) => path.startsWith(directory)),
    [`${directory}/restoring`],
  )
})
