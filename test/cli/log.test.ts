// `log verify` and `log dump` on real directories: what they print, their exit codes, and that they leave everything as it is.

import assert from 'node:assert/strict'
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { lockDirectory } from '../../src/storage/directory-lock.ts'
import { nodeDisk } from '../../src/storage/node-disk.ts'
import { entry, open, pieces, snapshotHeader, turn } from '../storage/storage-kit.ts'
import { type Outcome, runAt } from './command-line.ts'

const firstSegment = '0000000001.segment'

/** A closed directory: a command of each kind, one replaced, a snapshot. */
async function directoryOf(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-log-'))
  t.after(() => rm(directory, { recursive: true }))
  const { storage, save } = await open(nodeDisk, { directory })
  const configuration = Buffer.from('{"members":[{"id":"n1","peerAddress":"a:1","role":"voter"}]}')
  await save(
    [
      entry(1, 1, { kind: 'noop', payload: Buffer.alloc(0) }),
      entry(2, 1, { kind: 'configuration', payload: configuration }),
      entry(3, 1, { payload: Buffer.from('{"op":"set",\n"key":"k","value":12345678901234567890}') }),
      entry(4, 1, { payload: Buffer.from('"replaced"') }),
    ],
    { currentTerm: 1, votedFor: 'n2' },
  )
  await save([entry(4, 2, { kind: 'bytes', payload: Buffer.from([0, 255]) })], { currentTerm: 2, votedFor: null })
  await storage.takeSnapshot(snapshotHeader(3, 1), pieces('ledger'), pieces('state'))
  // Made ahead of need, in the background.
  while (!(await readdir(directory)).includes('0000000002.segment')) await turn()
  await storage.close()
  return directory
}

async function contents(directory: string): Promise<Map<string, Buffer>> {
  const names = (await readdir(directory)).filter((name) => name !== 'lock')
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(directory, name))] as const)))
}

async function flip(directory: string, name: string, at: number): Promise<void> {
  const bytes = await readFile(join(directory, name))
  bytes[at] = (bytes[at] as number) ^ 1
  await writeFile(join(directory, name), bytes)
}

/** Asks for no settings and no sidecar, and leaves every file as it was. */
async function look(directory: string, ...args: string[]): Promise<Outcome> {
  const before = await contents(directory)
  const clientConfig = () => assert.fail('no sidecar is needed')
  const outcome = await runAt('', ['log', ...args, directory], { clientConfig })
  assert.deepEqual(await contents(directory), before)
  return outcome
}

test('verify shows what is there, and that it is sound', async (t) => {
  const directory = await directoryOf(t)
  const { exitCode, stdout, stderr } = await look(directory, 'verify')
  assert.deepEqual([exitCode, stderr], [0, ''])
  const sizeBytes = (await readFile(join(directory, '000000000000003-1.snapshot'))).length
  assert.equal(
    stdout,
    `Directory  ${directory}
Node       n1 of cluster orders, incarnation 00112233aabbccdd
Cluster    founded with n1, n2
Runs       1, the last one 8899aabbccddeeff
Term       2, no vote given
Metafile   slot 0: version 7, sound; slot 1: version 6, sound
Log        entries 1 to 4
Durable    for certain to segment 1, offset 464: entry 4

SNAPSHOT                    THROUGH  TERM  BYTES  STATE
000000000000003-1.snapshot  3        1     ${sizeBytes}    sound

SEGMENT             ENTRIES  TERMS   BATCHES  USED  OF BYTES  STATE
0000000001.segment  1 to 4   1 to 2  3        512   4096      sound
0000000002.segment  -        -       0        32    4096      unused

Sound: every checksum is right, and the next start takes all of it.
`,
  )
})

test('verify --json gives all of it to programs', async (t) => {
  const directory = await directoryOf(t)
  const { exitCode, stdout } = await look(directory, 'verify', '--json')
  const report = JSON.parse(stdout)
  assert.equal(stdout, `${JSON.stringify(report)}\n`)
  assert.equal(exitCode, 0)
  const { dataDir, heldBy, verdict, damage, tornTail, metafile, log, mark, snapshots, segments } = report
  assert.deepEqual([dataDir, heldBy, verdict, damage, tornTail], [directory, null, 'sound', null, null])
  assert.deepEqual(
    [metafile.cluster, metafile.nodeId, metafile.currentTerm, metafile.votedFor],
    ['orders', 'n1', 2, null],
  )
  assert.deepEqual(metafile.slots, [{ version: 7 }, { version: 6 }])
  assert.deepEqual(metafile.run, { number: 1, id: '8899aabbccddeeff', former: [] })
  assert.deepEqual(log, { firstIndex: 1, lastIndex: 4, isSuperseded: false })
  assert.deepEqual(mark, { segment: 1, offset: 464, index: 4 })
  assert.deepEqual([snapshots.length, snapshots[0].index, snapshots[0].damage], [1, 3, null])
  assert.deepEqual([segments[0].state, segments[0].batches, segments[1].state], ['sound', 3, 'unused'])
})

test('dump prints the entries behind that, one on a line', async (t) => {
  const directory = await directoryOf(t)
  const verified = await look(directory, 'verify')
  const { exitCode, stdout } = await look(directory, 'dump')
  assert.equal(exitCode, 0)
  assert.equal(
    stdout,
    `${verified.stdout}
1  1  noop           1970-01-01T00:00:01.001Z  40 B
2  1  configuration  1970-01-01T00:00:01.002Z  100 B  {"members":[{"id":"n1","peerAddress":"a:1","role":"voter"}]}
3  1  json           1970-01-01T00:00:01.003Z  92 B  {"op":"set", "key":"k","value":12345678901234567890}
4  2  bytes          1970-01-01T00:00:01.004Z  42 B
`,
  )
})

test('dump --json prints lines of JSON, with each command as it was sent', async (t) => {
  const directory = await directoryOf(t)
  const { stdout } = await look(directory, 'dump', '--json', '--from', '2', '--through', '4')
  const [report, ...lines] = stdout.trimEnd().split('\n')
  assert.equal(JSON.parse(report as string).type, 'report')
  assert.deepEqual(lines, [
    '{"type":"entry","index":2,"term":1,"kind":"configuration","timestamp":"1970-01-01T00:00:01.002Z","sizeBytes":100,"configuration":{"members":[{"id":"n1","peerAddress":"a:1","role":"voter"}]}}',
    '{"type":"entry","index":3,"term":1,"kind":"json","timestamp":"1970-01-01T00:00:01.003Z","sizeBytes":92,"command":{"op":"set", "key":"k","value":12345678901234567890}}',
    '{"type":"entry","index":4,"term":2,"kind":"bytes","timestamp":"1970-01-01T00:00:01.004Z","sizeBytes":42,"bytes":"AP8="}',
  ])
})

const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'

/** Keys, trace contexts and a skip. */
async function keyedDirectory(t: TestContext): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-log-'))
  t.after(() => rm(directory, { recursive: true }))
  const { storage, save } = await open(nodeDisk, { directory })
  await save(
    [
      entry(1, 1, { key: 'order-7', payload: Buffer.from('{"n":1}') }),
      entry(2, 1, { key: '"a\\b"', traceparent, payload: Buffer.from('{"n":2}') }),
      entry(3, 1, { kind: 'bytes', traceparent, payload: Buffer.from([0, 255]) }),
      entry(4, 1, { kind: 'skip', payload: Buffer.from('{"index":2,"reason":"no such account"}') }),
    ],
    { currentTerm: 1, votedFor: null },
  )
  await storage.close()
  return directory
}

test('dump shows keys, trace contexts and what is skipped', async (t) => {
  const directory = await keyedDirectory(t)
  const { exitCode, stdout } = await look(directory, 'dump')
  assert.equal(exitCode, 0)
  const lines = stdout.trimEnd().split('\n').slice(-4)
  assert.deepEqual(lines, [
    '1  1  json           1970-01-01T00:00:01.001Z  56 B  key=order-7  {"n":1}',
    `2  1  json           1970-01-01T00:00:01.002Z  109 B  key="a\\b"  traceparent=${traceparent}  {"n":2}`,
    `3  1  bytes          1970-01-01T00:00:01.003Z  99 B  traceparent=${traceparent}`,
    '4  1  skip           1970-01-01T00:00:01.004Z  78 B  {"index":2,"reason":"no such account"}',
  ])
})

test('dump --json gives keys, trace contexts and what is skipped, where there are any', async (t) => {
  const directory = await keyedDirectory(t)
  const { stdout } = await look(directory, 'dump', '--json')
  const [, ...lines] = stdout.trimEnd().split('\n')
  const entries = lines.map((line) => JSON.parse(line))
  assert.deepEqual(
    entries.map(({ type, term, timestamp, sizeBytes, ...rest }) => rest),
    [
      { index: 1, kind: 'json', key: 'order-7', command: { n: 1 } },
      { index: 2, kind: 'json', key: '"a\\b"', traceparent, command: { n: 2 } },
      { index: 3, kind: 'bytes', traceparent, bytes: 'AP8=' },
      { index: 4, kind: 'skip', skip: { index: 2, reason: 'no such account' } },
    ],
  )
})

test('a command cannot reach into the terminal', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-log-'))
  t.after(() => rm(directory, { recursive: true }))
  const { storage, save } = await open(nodeDisk, { directory })
  await save([entry(1, 1, { payload: Buffer.from('not JSON \u001b[2J') })], { currentTerm: 1, votedFor: null })
  await storage.close()
  assert.match((await look(directory, 'dump')).stdout, /not JSON \ufffd\[2J\n$/)
  const [, line] = (await look(directory, 'dump', '--json')).stdout.split('\n')
  assert.equal(JSON.parse(line as string).text, 'not JSON \u001b[2J')
})

test('a torn tail is sound, and is told', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-log-'))
  t.after(() => rm(directory, { recursive: true }))
  const { save, storage } = await open(nodeDisk, { directory })
  await save([entry(1, 1)], { currentTerm: 1, votedFor: null })
  await save([entry(2, 1)])
  // As at the moment of a crash: what closing would write is taken away again.
  const then = await readFile(join(directory, firstSegment))
  await storage.close()
  const last = then.lastIndexOf('RBAT')
  await writeFile(join(directory, firstSegment), then.fill(0, last + 60, last + 70))
  const { exitCode, stdout } = await look(directory, 'verify')
  assert.equal(exitCode, 0)
  assert.match(stdout, /^0000000001\.segment .* torn$/m)
  assert.match(
    stdout,
    new RegExp(
      `\nSound, with a torn tail: ${directory}/${firstSegment}, offset ${last}\\. .* It is the rest of a write that nobody was told of; the next start cuts these \\d+ bytes, and nothing needs to be done\\.\n$`,
    ),
  )
  const { verdict, tornTail } = JSON.parse((await look(directory, 'verify', '--json')).stdout)
  assert.deepEqual([verdict, tornTail.offset], ['torn', last])
})

test('damage ends with 65, naming file, offset and what to do; the entries before it are dumped', async (t) => {
  const directory = await directoryOf(t)
  const bytes = await readFile(join(directory, firstSegment))
  const second = bytes.indexOf('RBAT', bytes.indexOf('RBAT') + 1)
  await flip(directory, firstSegment, second + 60)
  const { exitCode, stdout, stderr } = await look(directory, 'verify')
  assert.deepEqual([exitCode, stderr], [65, ''])
  assert.match(stdout, /^0000000001\.segment .* DAMAGED$/m)
  assert.match(
    stdout,
    new RegExp(
      `\nDAMAGED: ${directory}/${firstSegment}, first at offset ${second}\\. .* The next start refuses this directory\\. Restore the file from a copy .*\n$`,
    ),
  )
  const dump = await look(directory, 'dump', '--json')
  assert.equal(dump.exitCode, 65)
  const [report, ...lines] = dump.stdout
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line))
  assert.deepEqual(
    [report.verdict, report.damage.file, report.damage.offset],
    ['damaged', `${directory}/${firstSegment}`, second],
  )
  assert.deepEqual(
    lines.map(({ index }) => index),
    [1, 2, 3, 4],
  )
})

test('a damaged snapshot ends with 65 when the next start needs it', async (t) => {
  const directory = await directoryOf(t)
  await flip(directory, '000000000000003-1.snapshot', 200)
  const { exitCode, stdout } = await look(directory, 'verify')
  assert.equal(exitCode, 65)
  assert.match(stdout, /^000000000000003-1\.snapshot .*DAMAGED at offset \d+: /m)
  assert.match(stdout, /This one file can be removed without loss/)
})

test('a torn slot of the metafile is told', async (t) => {
  const directory = await directoryOf(t)
  await flip(directory, 'metafile', 100)
  const { exitCode, stdout } = await look(directory, 'verify')
  assert.equal(exitCode, 0)
  assert.match(stdout, /^Metafile {3}slot 0: It does not fit its checksum; slot 1: version 6, sound$/m)
})

test('who holds the directory is told, since the end may be moving', async (t) => {
  const directory = await directoryOf(t)
  const unlock = await lockDirectory(directory, () => {})
  const { exitCode, stdout } = await look(directory, 'verify')
  assert.equal(exitCode, 0)
  assert.match(stdout, new RegExp(`^Held {7}by process ${process.pid}: it may write meanwhile`, 'm'))
  assert.equal(JSON.parse((await look(directory, 'verify', '--json')).stdout).heldBy, process.pid)
  await unlock()
})

test('an empty directory is no node yet, and no directory at all ends with 74', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-log-'))
  t.after(() => rm(directory, { recursive: true }))
  const empty = await look(directory, 'verify')
  assert.deepEqual([empty.exitCode, empty.stderr], [0, ''])
  assert.match(empty.stdout, /No node was founded here: the next start would found one\.\n$/)
  await mkdir(join(directory, 'file'))
  const { exitCode, stderr } = await runAt('', ['log', 'verify', join(directory, 'nowhere')])
  assert.equal(exitCode, 74)
  assert.match(stderr, /^raft-sidecar: Cannot read the data directory .*nowhere: ENOENT/)
})

test('a wrong command line ends with 2', async (t) => {
  const directory = await directoryOf(t)
  for (const [args, complaint] of [
    [['log'], /^Usage: raft-sidecar log/],
    [['log', 'verify'], /missing required argument 'data-dir'/],
    [['log', 'dump', directory, '--from', '0'], /Give the index of an entry, from 1 on\./],
    [['log', 'dump', directory, '--from', '5', '--through', '4'], /--from 5 is past --through 4/],
  ] as const) {
    const { exitCode, stderr } = await runAt('', args)
    assert.equal(exitCode, 2)
    assert.match(stderr, complaint)
  }
})

test('a reader that does not keep up holds up the dump', async (t) => {
  const directory = await directoryOf(t)
  let busy = false
  let lines = 0
  const stdout = async () => {
    assert.equal(busy, false, 'a line was written before the one before it was taken')
    busy = true
    await new Promise((resolve) => setImmediate(resolve))
    busy = false
    lines++
  }
  assert.equal((await runAt('', ['log', 'dump', directory], { stdout })).exitCode, 0)
  assert.equal(lines, 5)
})
