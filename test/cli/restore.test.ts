// `restore`: a data directory from a backup by the settings of `run`, or nothing at all.

import assert from 'node:assert/strict'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { loadConfig } from '../../src/config.ts'
import { foundingDigest } from '../../src/peers/founding-digest.ts'
import { lockDirectory } from '../../src/storage/directory-lock.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { encodeSnapshot, founding, open, readLedger, readSnapshot, snapshotHeader } from '../storage/storage-kit.ts'
import { type Outcome, runAt } from './command-line.ts'

const backup = encodeSnapshot(snapshotHeader(40, 7), [Buffer.from('state at 40')], 'orders', [
  Buffer.from('keys at 40'),
])
const members = 'n1=10.0.0.1:4000,n2=10.0.0.2:4000'

interface Machine {
  readonly file: string
  readonly dataDir: string
  run(env?: Record<string, string | undefined>, ...options: string[]): Promise<Outcome>
}

async function machine(t: TestContext): Promise<Machine> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-restore-'))
  t.after(() => rm(directory, { recursive: true }))
  const file = join(directory, 'orders.snapshot')
  const dataDir = join(directory, 'data')
  await writeFile(file, backup.bytes)
  const run = (env: Record<string, string | undefined> = {}, ...options: string[]) =>
    runAt('', ['restore', file, ...options], {
      config: () =>
        loadConfig(
          { NODE_ID: 'n1', CLUSTER: 'orders', MEMBERS: members, DATA_DIR: dataDir, ...env },
          { workingDirectory: directory },
        ),
      clientConfig: () => assert.fail('no sidecar is needed'),
    })
  return { file, dataDir, run }
}

function opened(dataDir: string, nodeId = 'n1') {
  const identity = { cluster: 'orders', nodeId, newIncarnation: 'new', foundingConfiguration: founding }
  return open(nodeDisk, { directory: dataDir, identity })
}

test('the directory goes on from the backup with the members of the settings', async (t) => {
  const { run, dataDir } = await machine(t)
  assert.deepEqual(await run(), {
    exitCode: 0,
    stdout: `Restored ${dataDir}: node n1 of a new cluster orders of n1, n2, which goes on from entry 40 of term 7.
Restore the same backup with the same MEMBERS on each of them, then start them; nodes of the cluster before are refused.
`,
    stderr: '',
  })
  const { storage } = await opened(dataDir)
  assert.equal(storage.isNew, false)
  assert.equal(storage.run.number, 1, 'to restore it was no run')
  const configuration = {
    members: [
      { id: 'n1', peerAddress: '10.0.0.1:4000', role: 'voter' },
      { id: 'n2', peerAddress: '10.0.0.2:4000', role: 'voter' },
    ],
  }
  assert.deepEqual(storage.identity.foundingConfiguration, configuration)
  assert.deepEqual(storage.recovered.configurations, [{ index: 40, configuration }])
  assert.deepEqual(await readSnapshot(storage), { id: '7/40', body: 'state at 40' })
  assert.equal(await readLedger(storage), 'keys at 40')
  await storage.close()
})

test('every node that restores it belongs to one cluster, which is not that of the nodes before', async (t) => {
  const digests: string[] = []
  const incarnations = new Set<string>()
  for (const NODE_ID of ['n1', 'n2']) {
    const { run, dataDir } = await machine(t)
    assert.equal((await run({ NODE_ID })).exitCode, 0)
    const { storage } = await opened(dataDir, NODE_ID)
    const { foundingConfiguration, restoredFrom, incarnation } = storage.identity
    assert(foundingConfiguration !== null)
    digests.push(foundingDigest(foundingConfiguration, restoredFrom), foundingDigest(foundingConfiguration, null))
    incarnations.add(incarnation)
    await storage.close()
  }
  const [restored, before] = digests
  assert.notEqual(restored, before)
  assert.deepEqual(digests, [restored, before, restored, before])
  assert.equal(incarnations.size, 2)
})

test('--json says the same to programs', async (t) => {
  const { run, dataDir } = await machine(t)
  const { stdout } = await run({ MEMBERS: 'n1=10.0.0.1:4000', CLUSTER: 'copies' }, '--json')
  const { incarnation, sizeBytes, ...rest } = JSON.parse(stdout)
  assert.match(incarnation, /^[0-9a-f]{16}$/)
  const [snapshot] = (await readdir(dataDir)).filter((name) => name.endsWith('.snapshot'))
  assert.equal(sizeBytes, (await readFile(join(dataDir, snapshot as string))).length)
  assert.deepEqual(rest, { dataDir, cluster: 'copies', node: 'n1', members: ['n1'], index: 40, term: 7, renamed: true })
})

test('under another name of the cluster it says what becomes of the state', async (t) => {
  const { run } = await machine(t)
  const { exitCode, stdout } = await run({ MEMBERS: 'n1=10.0.0.1:4000', CLUSTER: 'copies' })
  assert.equal(exitCode, 0)
  assert.match(
    stdout,
    /\nStart it\.\nThe backup was taken of a cluster of another name: its state is that of copies now\.\n$/,
  )
})

test('a file that is no whole backup ends with 65, and nothing is made', async (t) => {
  const { run, file, dataDir } = await machine(t)
  await writeFile(file, backup.bytes.subarray(0, -1))
  const { exitCode, stdout, stderr } = await run()
  assert.deepEqual([exitCode, stdout], [65, ''])
  assert.match(stderr, /^raft-sidecar: Cannot restore .*: .* Nothing was changed; restore another backup\.\n$/)
  await assert.rejects(readdir(dataDir), /ENOENT/)
  await rm(file)
  assert.equal((await run()).exitCode, 74)
  await assert.rejects(readdir(dataDir), /ENOENT/)
})

test('over a directory that is in use, or was, it is refused', async (t) => {
  const { run, dataDir } = await machine(t)
  await (await opened(dataDir)).storage.close()
  const before = await readdir(dataDir)
  const { exitCode, stderr } = await run()
  assert.equal(exitCode, 65)
  assert.match(
    stderr,
    /^raft-sidecar: Cannot restore into .*: it holds .*metafile.*; give an empty directory as DATA_DIR\.\n$/,
  )
  assert.deepEqual(await readdir(dataDir), before)
})

test('in a directory that another process holds, it is refused with 75', async (t) => {
  const { run, dataDir } = await machine(t)
  const unlock = await lockDirectory(dataDir, () => {})
  const { exitCode, stderr } = await run()
  assert.equal(exitCode, 75)
  assert.match(stderr, new RegExp(`process ${process.pid} holds it`))
  await unlock()
  assert.equal((await run()).exitCode, 0)
})

for (const [name, env, complaint] of [
  ['that do not name this node', { MEMBERS: 'n2=10.0.0.2:4000' }, /MEMBERS=.* does not name this node/],
  [
    'that are not set',
    { MEMBERS: undefined, PEER_LISTEN: '127.0.0.1:4000' },
    /MEMBERS is not set: name the members of the new cluster/,
  ],
] as const) {
  test(`members ${name}: 78, and nothing is made`, async (t) => {
    const { run, dataDir } = await machine(t)
    const { exitCode, stderr } = await run(env)
    assert.equal(exitCode, 78)
    assert.match(stderr, complaint)
    await assert.rejects(readdir(dataDir), /ENOENT/)
  })
}
