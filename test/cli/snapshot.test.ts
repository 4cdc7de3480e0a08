// `snapshot`: on the node, and as a backup in a file, which is whole and verified or not there.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { SnapshotError } from '../../src/errors.ts'
import { SnapshotEncoder } from '../../src/storage/snapshot-file.ts'
import { FakeBackup } from '../api/fake-backup.ts'
import { type RunningApi, startApi } from '../api/running-api.ts'
import { type Outcome, runAt } from './command-line.ts'

function snapshotBytes(bodyBytes: number): Buffer {
  const encoder = new SnapshotEncoder('orders', {
    lastIncluded: { index: 40, term: 2 },
    timestampMs: 1_000,
    configuration: { index: 0, configuration: { members: [{ id: 'n1', peerAddress: 'a:1', role: 'voter' }] } },
    machinePosition: 39,
  })
  const parts = [Buffer.from(encoder.begin())]
  for (const part of encoder.add(Buffer.alloc(bodyBytes, 'state'))) parts.push(Buffer.from(part))
  for (const part of encoder.end()) parts.push(Buffer.from(part))
  return Buffer.concat(parts)
}

interface Started extends RunningApi {
  readonly directory: string
  readonly file: string
  readonly backup: FakeBackup
  run(...args: string[]): Promise<Outcome>
}

async function start(t: TestContext, bytes = snapshotBytes(700_000)): Promise<Started> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-backup-'))
  t.after(() => rm(directory, { recursive: true }))
  const running = await startApi(t)
  const backup = new FakeBackup(bytes)
  running.node.onBackup = async () => backup
  const run = (...args: string[]) => runAt(`http://127.0.0.1:${running.port}`, ['snapshot', ...args])
  return { ...running, directory, file: join(directory, 'orders.snapshot'), backup, run }
}

test('without a file: taken on the node', async (t) => {
  const { run } = await start(t)
  assert.deepEqual(await run(), {
    exitCode: 0,
    stdout: 'The node holds a snapshot through entry 40 of term 2, 1234 bytes\n',
    stderr: '',
  })
  assert.deepEqual(JSON.parse((await run('--json')).stdout), { index: 40, term: 2, sizeBytes: 1_234 })
})

test('with a file: the bytes as they came, and nothing beside them', async (t) => {
  const { run, directory, file, backup, node } = await start(t)
  const { sizeBytes } = backup.snapshot
  assert.deepEqual(await run(file), {
    exitCode: 0,
    stdout: `Saved ${file}: a verified snapshot through entry 40 of term 2, ${sizeBytes} bytes\n`,
    stderr: '',
  })
  assert.ok((await readFile(file)).equals(backup.bytes))
  assert.deepEqual(await readdir(directory), ['orders.snapshot'])
  node.onBackup = async () => new FakeBackup(backup.bytes)
  const { stdout } = await run(file, '--force', '--json')
  assert.deepEqual(JSON.parse(stdout), { file, index: 40, term: 2, sizeBytes })
})

test('a file that is there is not replaced without --force, and nothing is asked of the node', async (t) => {
  const { run, file, node } = await start(t)
  await writeFile(file, 'precious')
  node.onBackup = () => assert.fail('nothing was to be taken')
  const { exitCode, stderr } = await run(file)
  assert.deepEqual(
    [exitCode, stderr],
    [2, `raft-sidecar: ${file} is there already: give another name, or --force to replace it\n`],
  )
  assert.equal(await readFile(file, 'utf8'), 'precious')
})

test('a directory is never replaced', async (t) => {
  const { run, file } = await start(t)
  await mkdir(file)
  const { exitCode, stderr } = await run(file, '--force')
  assert.deepEqual([exitCode, stderr], [2, `raft-sidecar: ${file} is there already: give the name of a file\n`])
})

test('what was left of a download that was killed is no obstacle', async (t) => {
  const { run, directory, file, backup } = await start(t)
  await writeFile(`${file}.part`, Buffer.alloc(2_000_000, 'old'))
  assert.equal((await run(file)).exitCode, 0)
  assert.ok((await readFile(file)).equals(backup.bytes))
  assert.deepEqual(await readdir(directory), ['orders.snapshot'])
})

test('a flipped byte anywhere: refused with 65, and what was there before stays', async (t) => {
  const whole = snapshotBytes(2_000)
  const { run, directory, file, node } = await start(t)
  await writeFile(file, 'the backup of yesterday')
  for (let at = 0; at < whole.length; at += 97) {
    const bytes = Buffer.from(whole)
    bytes[at] = (bytes[at] as number) ^ 0x10
    node.onBackup = async () => new FakeBackup(bytes)
    const { exitCode, stdout, stderr } = await run(file, '--force')
    assert.deepEqual([exitCode, stdout], [65, ''], `byte ${at}`)
    assert.match(stderr, /^raft-sidecar: Cannot keep the snapshot that came as .*; try another node\.\n$/)
  }
  assert.deepEqual(await readdir(directory), ['orders.snapshot'])
  assert.equal(await readFile(file, 'utf8'), 'the backup of yesterday')
})

test('another snapshot than was announced is refused', async (t) => {
  const { run, backup, directory, file } = await start(t)
  backup.snapshot.index = 41
  const { exitCode, stderr } = await run(file)
  assert.equal(exitCode, 65)
  assert.match(stderr, /It reaches to entry 40 of term 2, and was announced as one to 41 of 2\./)
  assert.deepEqual(await readdir(directory), [])
})

test('a download that breaks off leaves nothing', async (t) => {
  const { run, backup, directory, file } = await start(t)
  backup.beforeRead = () => (backup.reads.length > 2 ? Promise.reject(new Error('bit rot')) : Promise.resolve())
  const { exitCode, stderr } = await run(file)
  assert.equal(exitCode, 5)
  assert.match(stderr, /The connection ended after \d+ of the snapshot's \d+ bytes/)
  assert.deepEqual(await readdir(directory), [])
})

test('a file that cannot be written ends with 74', async (t) => {
  const { run, directory } = await start(t)
  const { exitCode, stderr } = await run(join(directory, 'nowhere', 'file'))
  assert.equal(exitCode, 74)
  assert.match(stderr, /^raft-sidecar: Cannot write .*nowhere\/file: ENOENT/)
})

test('what the node refuses is a refusal here', async (t) => {
  const { run, node, directory, file } = await start(t)
  const refuse = () => Promise.reject(new SnapshotError('snapshot-unsupported', 'The application offers none.'))
  node.onSnapshot = refuse
  node.onBackup = refuse
  for (const args of [[], [file]]) {
    const { exitCode, stderr } = await run(...args)
    assert.deepEqual([exitCode, stderr], [1, 'raft-sidecar: The application offers none\n'])
  }
  assert.deepEqual(await readdir(directory), [])
})

test('--force without a file is a wrong command line', async (t) => {
  const { run } = await start(t)
  assert.deepEqual(await run('--force'), {
    exitCode: 2,
    stdout: '',
    stderr: 'raft-sidecar: --force is for a FILE: name one\n',
  })
})
