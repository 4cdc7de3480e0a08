// A crash after every single operation of the disk, and every byte of a small directory flipped: what was acknowledged is there
// afterwards, and nothing is served that was not written.

import assert from 'node:assert/strict'
import test from 'node:test'
import type { Entry, EntryId } from '../../src/raft/entry.ts'
import type { HardState } from '../../src/raft/work.ts'
import { segmentName } from '../../src/storage/segment.ts'
import { snapshotName } from '../../src/storage/snapshot-file.ts'
import type { PowerFailure } from './memory-disk.ts'
import { losesEverything, losesNothing, losesSome, MemoryDisk } from './memory-disk.ts'
import type { Encoded, Opened } from './storage-kit.ts'
import {
  directory,
  encodeSnapshot,
  entries,
  entry,
  ids,
  isDataError,
  metadata,
  open,
  pieces,
  readAll,
  readLedger,
  readSnapshot,
  receive,
  seeded,
  snapshotHeader,
} from './storage-kit.ts'

interface Step {
  readonly entries: readonly Entry[]
  readonly hardState: HardState | null
  /** Received before, and installed with these entries. */
  readonly snapshot: Encoded | null
}

/** `log` holds what stands behind `base`, as `term/index`. */
interface State {
  readonly hardState: HardState
  readonly snapshot: EntryId | null
  readonly base: EntryId
  readonly log: readonly string[]
}

const nothing: EntryId = { term: 0, index: 0 }
const empty: State = { hardState: { currentTerm: 0, votedFor: null }, snapshot: null, base: nothing, log: [] }

function step(list: readonly Entry[], hardState: HardState | null = null, snapshot: Encoded | null = null): Step {
  return { entries: list, hardState, snapshot }
}

function received(index: number, term: number): Encoded {
  return encodeSnapshot(snapshotHeader(index, term), stateAt(index), 'orders', ledgerAt(index))
}

function stateAt(index: number): Buffer[] {
  return [Buffer.from(`state at ${index} `), Buffer.alloc(900, '.')]
}

function ledgerAt(index: number): Buffer[] {
  return [Buffer.from(`ledger at ${index} `), Buffer.alloc(600, '-')]
}

interface Act {
  /** Saved at once, so that what they hold shares writes. */
  readonly saves?: readonly Step[]
  /** A snapshot of its own, beside the saves. */
  readonly take?: EntryId
  /** When all that is done. */
  readonly compact?: EntryId
}

const script: readonly (Act | 'idle')[] = [
  { saves: [step(entries(1, 3, 1), { currentTerm: 1, votedFor: 'n1' })] },
  'idle',
  { saves: [step(entries(4, 8, 1, 300)), step(entries(9, 12, 1, 300)), step(entries(13, 14, 1, 300))] },
  { saves: [step([], { currentTerm: 2, votedFor: null }), step([], { currentTerm: 2, votedFor: 'n2' })] },
  { saves: [step(entries(11, 12, 2, 50))] },
  'idle',
  { saves: [step(entries(13, 30, 2, 200)), step(entries(20, 22, 3), { currentTerm: 3, votedFor: null })] },
  { saves: [step([entry(23, 3, { kind: 'bytes', payload: Buffer.alloc(9000, 5) })])] },
  { saves: [step(entries(24, 25, 3)), step(entries(2, 3, 4), { currentTerm: 4, votedFor: 'n1' })] },
  'idle',
  { saves: [step(entries(4, 20, 4, 400))] },
  // Snapshots of its own, beside appends, and a log that gives up what lies behind them; then a truncation.
  { take: { index: 15, term: 4 } },
  { saves: [step(entries(21, 30, 4, 300))], take: { index: 18, term: 4 }, compact: { index: 16, term: 4 } },
  { saves: [step(entries(25, 26, 5), { currentTerm: 5, votedFor: null })], compact: { index: 18, term: 4 } },
  // Snapshots of the leader: over a shorter log, over a longer one of another term, over saves that are under way, and one over another.
  { saves: [step(entries(41, 45, 5, 200), null, received(40, 5))] },
  { saves: [step(entries(46, 60, 5, 300))], take: { index: 44, term: 5 }, compact: { index: 44, term: 5 } },
  { saves: [step([], { currentTerm: 6, votedFor: null }), step(entries(56, 58, 6), null, received(55, 6))] },
  'idle',
  {
    saves: [
      step(entries(59, 62, 6, 300)),
      step(entries(63, 64, 6)),
      step(entries(71, 75, 7, 300), { currentTerm: 7, votedFor: 'n2' }, received(70, 7)),
      step(entries(74, 76, 7)),
    ],
  },
  { saves: [step([], null, received(90, 7))] },
  { saves: [step(entries(91, 110, 7, 400))], take: { index: 90, term: 7 } },
  { take: { index: 105, term: 7 }, compact: { index: 100, term: 7 } },
  { saves: [step(entries(108, 112, 8), { currentTerm: 8, votedFor: 'n1' })] },
  { compact: { index: 105, term: 7 } },
]

function applied(state: State, { entries: list, hardState, snapshot }: Step, count = list.length): State {
  const installed: State = snapshot ? { ...state, base: snapshot.file.lastIncluded, log: [] } : state
  const first = list[0]?.index
  const log =
    first === undefined || count === 0
      ? installed.log
      : [...installed.log.slice(0, first - 1 - installed.base.index), ...ids(list.slice(0, count))]
  return {
    hardState: hardState ?? state.hardState,
    snapshot: snapshot?.file.lastIncluded ?? state.snapshot,
    base: installed.base,
    log,
  }
}

/** What the saves may have left when the first `acknowledged` of them were. */
function* legal(steps: readonly Step[], acknowledged: number): Generator<State> {
  let state = steps.slice(0, acknowledged).reduce((before, one) => applied(before, one), empty)
  yield state
  const reached = steps.slice(acknowledged)
  const hardStates = [state.hardState, ...reached.flatMap((one) => one.hardState ?? [])]
  // Hard state goes first, so it may be ahead of the rest; never behind.
  const withHardStates = (one: State) =>
    hardStates.slice(hardStates.indexOf(one.hardState)).map((hardState) => ({ ...one, hardState }))
  for (const one of reached) {
    yield* withHardStates(state)
    for (let count = one.snapshot ? 0 : 1; count <= one.entries.length; count++) {
      yield* withHardStates(applied(state, one, count))
    }
    state = applied(state, one)
  }
  yield* withHardStates(state)
}

interface Run {
  readonly issued: Step[]
  acknowledged: number
  /** Snapshots of its own, in rising order. */
  readonly begun: EntryId[]
  taken: number
  compactedThrough: EntryId
}

/** Whether this is what the run may have left: the log may go back further than it was compacted, as it goes a segment at a time. */
function isLegal(run: Run, found: State): boolean {
  const own = [run.begun[run.taken - 1] ?? null, ...run.begun.slice(run.taken)]
  const foundBase = `${found.base.term}/${found.base.index}`
  for (const state of legal(run.issued, run.acknowledged)) {
    if (JSON.stringify(found.hardState) !== JSON.stringify(state.hardState)) continue
    const snapshots = own.map((one) =>
      one !== null && one.index > (state.snapshot?.index ?? 0) ? one : state.snapshot,
    )
    if (!snapshots.some((one) => one?.index === found.snapshot?.index)) continue
    const given = found.base.index - state.base.index
    if (given < 0 || (given > 0 && found.base.index > run.compactedThrough.index)) continue
    const base = given === 0 ? `${state.base.term}/${state.base.index}` : state.log[given - 1]
    if (base === foundBase && JSON.stringify(found.log) === JSON.stringify(state.log.slice(given))) return true
  }
  return false
}

/** Follows the script until the disk stops. */
async function follow(machine: MemoryDisk, run: Run): Promise<void> {
  const opened = await open(machine.mount())
  const { storage } = opened
  for (const act of script) {
    if (act === 'idle') {
      await opened.settle()
      continue
    }
    const { saves = [], take = null, compact = null } = act
    for (const { snapshot } of saves) if (snapshot) await receive(storage, snapshot, 300)
    run.issued.push(...saves)
    if (take) run.begun.push(take)
    await Promise.all([
      ...saves.map(async (one) => {
        await opened.save(one.entries, one.hardState, one.snapshot && metadata(one.snapshot.header))
        run.acknowledged++
      }),
      take && takeSnapshot(opened, take).then(() => run.taken++),
    ])
    if (!compact) continue
    run.compactedThrough = compact
    storage.compact(compact)
  }
  await storage.close()
}

function takeSnapshot({ storage }: Opened, { index, term }: EntryId): Promise<unknown> {
  return storage.takeSnapshot(snapshotHeader(index, term), pieces(...ledgerAt(index)), pieces(...stateAt(index)))
}

async function stateOf({ storage }: Opened): Promise<State> {
  const { hardState, snapshot, base } = storage.recovered
  const id = snapshot?.lastIncluded ?? null
  const read = await readSnapshot(storage)
  assert.equal(read?.body ?? null, id && Buffer.concat(stateAt(id.index)).toString())
  assert.equal(await readLedger(storage), id && Buffer.concat(ledgerAt(id.index)).toString())
  return { hardState, snapshot: id, base, log: ids(await readAll(storage)) }
}

const crashes: readonly [name: string, after: (machine: MemoryDisk, seed: number) => void][] = [
  ['the process dies', (machine) => machine.killProcesses()],
  ['the power fails, nothing unsynced survives', (machine) => machine.failPower(losesEverything)],
  ['the power fails, everything survives', (machine) => machine.failPower(losesNothing)],
  ['the power fails, sectors survive by chance', (machine, seed) => machine.failPower(losesSome(seeded(seed)))],
  ['the power fails, and what survives is torn in the middle', (machine) => machine.failPower(tornInTheMiddle())],
]

function tornInTheMiddle(): PowerFailure {
  let sector = 0
  return { keepsSector: () => sector++ % 3 !== 1, keepsNames: (_, changes) => changes }
}

for (const [name, crash] of crashes) {
  test(`after every single operation ${name}: nothing acknowledged is lost, and what is found stays`, async () => {
    for (let operations = 0; ; operations++) {
      const machine = new MemoryDisk()
      const run: Run = { issued: [], acknowledged: 0, begun: [], taken: 0, compactedThrough: nothing }
      let left = operations
      let halted = false
      machine.before = () => {
        if (left-- > 0) return
        halted = true
        machine.halt()
      }
      await follow(machine, run).catch((error) => assert(halted, error))
      machine.before = () => {}
      crash(machine, operations)
      const after = `after ${operations} operations`
      const found = await stateOf(await open(machine.mount()))
      assert(isLegal(run, found), `${after}: ${JSON.stringify(found)} of ${JSON.stringify(run, withoutBytes)}`)
      assert(![...machine.files().keys()].some((path) => path.includes('.snapshot.tmp')), after)
      // What a node has seen at its start it may act upon: it must not be gone after another crash.
      machine.failPower(losesEverything)
      const again = await open(machine.mount())
      assert.deepEqual(await stateOf(again), found, after)
      // And it goes on from there.
      const { hardState, lastIndex } = again.storage.recovered
      const next = entries(lastIndex + 1, lastIndex + 2, hardState.currentTerm + 1)
      const nextHardState = { currentTerm: hardState.currentTerm + 1, votedFor: null }
      await again.save(next, nextHardState)
      machine.failPower(losesEverything)
      const { base, log, ...rest } = await stateOf(await open(machine.mount()))
      assert.deepEqual(rest, { hardState: nextHardState, snapshot: found.snapshot }, after)
      assert.deepEqual(log.slice(-2), ids(next), after)
      assert(base.index + log.length === lastIndex + 2 && base.index >= found.base.index, after)
      if (halted) continue
      assert(operations > 350, `the script went through without a crash after ${operations} operations`)
      assert.equal(run.acknowledged, script.flatMap((act) => (act === 'idle' ? [] : (act.saves ?? []))).length)
      return
    }
  })
}

/** Of what failed, for people. */
function withoutBytes(key: string, value: unknown): unknown {
  return key === 'record' || key === 'bytes' ? undefined : value
}

test('a crash during recovery, after each of its operations, changes nothing', async () => {
  for (let operations = 0; ; operations++) {
    const machine = new MemoryDisk()
    const first = await open(machine.mount())
    await first.save(entries(1, 3, 1), { currentTerm: 1, votedFor: 'n1' })
    machine.turn = ({ kind }) => (kind === 'sync' ? new Promise(() => {}) : Promise.resolve())
    first.save(entries(4, 9, 1, 400)).catch(() => {})
    machine.failPower(tornInTheMiddle())
    machine.turn = async () => {}
    let left = operations
    machine.before = () => {
      if (left-- === 0) machine.halt()
    }
    const opened = await open(machine.mount()).catch(() => null)
    machine.before = () => {}
    machine.failPower(losesSome(seeded(operations)))
    const again = await open(machine.mount())
    assert.deepEqual((await stateOf(again)).log, ['1/1', '1/2', '1/3'])
    if (opened) return
  }
})

test('a crash during the recovery from an interrupted installation, after each of its operations, changes nothing', async () => {
  const { bytes, file } = received(40, 2)
  for (let operations = 0; ; operations++) {
    const machine = new MemoryDisk()
    const first = await open(machine.mount())
    await first.save(entries(1, 30, 1, 300), { currentTerm: 2, votedFor: 'n1' })
    machine.failPower(losesEverything)
    machine.put(`${directory}/${snapshotName(file.lastIncluded)}`, bytes)
    let left = operations
    let halted = false
    machine.before = () => {
      if (left-- > 0) return
      halted = true
      machine.halt()
    }
    const opened = await open(machine.mount()).catch(() => null)
    await opened?.storage.close().catch(() => {})
    machine.before = () => {}
    machine.failPower(losesSome(seeded(operations)))
    const { base, log, snapshot } = await stateOf(await open(machine.mount()))
    assert.deepEqual({ base, log, snapshot }, { base: file.lastIncluded, log: [], snapshot: file.lastIncluded })
    if (halted) continue
    assert(operations > 20)
    return
  }
})

async function plain(machine: MemoryDisk): Promise<void> {
  const { save, storage } = await open(machine.mount())
  await save(entries(1, 5, 1), { currentTerm: 1, votedFor: 'n1' })
  await save(entries(6, 14, 1, 333))
  await save(entries(14, 16, 2, 333), { currentTerm: 2, votedFor: 'n2' })
  await storage.close()
}

/** Two snapshots, and a log that begins later than with its first entry. */
async function compacted(machine: MemoryDisk): Promise<void> {
  const opened = await open(machine.mount())
  const { save, storage } = opened
  await save(entries(1, 8, 1, 500), { currentTerm: 2, votedFor: 'n1' })
  await save(entries(9, 14, 2, 500))
  await takeSnapshot(opened, { index: 5, term: 1 })
  await takeSnapshot(opened, { index: 12, term: 2 })
  storage.compact({ index: 10, term: 2 })
  await storage.close()
  assert(!machine.files().has(`${directory}/${segmentName(1)}`))
}

/** A log that has begun anew behind a snapshot of the leader. */
async function installed(machine: MemoryDisk): Promise<void> {
  const { save, storage } = await open(machine.mount())
  await save(entries(1, 5, 1, 333), { currentTerm: 2, votedFor: 'n1' })
  await receive(storage, received(30, 2))
  await save(entries(31, 33, 2, 333), null, metadata(received(30, 2).header))
  await storage.close()
}

for (const [name, make, files] of [
  ['with a log', plain, [segmentName(1), segmentName(2), 'metafile']],
  ['with snapshots and a compacted log', compacted, [segmentName(2), snapshotName({ index: 12, term: 2 })]],
  ['with a snapshot that was installed', installed, [snapshotName({ index: 30, term: 2 })]],
] as const) {
  test(`every byte of a small directory ${name} flipped: each is harmless or detected, and none is served`, async () => {
    const machine = new MemoryDisk()
    await make(machine)
    const intact = machine.files()
    for (const file of files) assert(intact.has(`${directory}/${file}`), file)
    const { storage } = await open(machine.mount())
    const expected = { ...(await stateOf(await open(machine.mount()))), entries: await readAll(storage) }
    let detected = 0
    for (const [path, bytes] of intact) {
      for (let at = 0; at < bytes.length; at += isIdle(bytes, at) ? 61 : 1) {
        const damaged = Buffer.from(bytes)
        damaged[at] = (damaged[at] as number) ^ (1 << (at % 8))
        const opened = await open(MemoryDisk.holding(new Map(intact).set(path, damaged)).mount()).catch((error) => {
          assert(isDataError(error), `${path} ${at}: ${error}`)
          assert(error.message.includes(path), `${path} ${at}: ${error}`)
          detected++
        })
        if (!opened) continue
        const served = { ...(await stateOf(opened)), entries: await readAll(opened.storage) }
        assert.deepEqual(served, expected, `${path} ${at}`)
      }
    }
    assert(detected > 1000, `only ${detected} were detected`)
  })
}

/** In the midst of zeros one byte is like another. */
function isIdle(bytes: Buffer, at: number): boolean {
  return bytes.subarray(Math.max(at - 64, 0), at + 64).every((byte) => byte === 0)
}
