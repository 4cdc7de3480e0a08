// A crash after every single operation of the disk, and every byte of a small directory flipped: what was acknowledged is there
// afterwards, and nothing is served that was not written.

import assert from 'node:assert/strict'
import test from 'node:test'
import type { Entry } from '../../src/raft/entry.ts'
import type { HardState } from '../../src/raft/work.ts'
import { segmentName } from '../../src/storage/segment.ts'
import type { PowerFailure } from './memory-disk.ts'
import { losesEverything, losesNothing, losesSome, MemoryDisk } from './memory-disk.ts'
import type { Opened } from './storage-kit.ts'
import { directory, entries, entry, ids, isDataError, open, readAll, seeded } from './storage-kit.ts'

interface Step {
  readonly entries: readonly Entry[]
  readonly hardState: HardState | null
}

interface State {
  readonly hardState: HardState
  readonly log: readonly string[]
}

const empty: State = { hardState: { currentTerm: 0, votedFor: null }, log: [] }

function step(list: readonly Entry[], hardState: HardState | null = null): Step {
  return { entries: list, hardState }
}

/** Each inner list is saved at once, so that what it holds shares writes; then the node is idle, or goes on. */
const script: readonly (readonly Step[] | 'idle')[] = [
  [step(entries(1, 3, 1), { currentTerm: 1, votedFor: 'n1' })],
  'idle',
  [step(entries(4, 8, 1, 300)), step(entries(9, 12, 1, 300)), step(entries(13, 14, 1, 300))],
  [step([], { currentTerm: 2, votedFor: null }), step([], { currentTerm: 2, votedFor: 'n2' })],
  [step(entries(11, 12, 2, 50))],
  'idle',
  [step(entries(13, 30, 2, 200)), step(entries(20, 22, 3), { currentTerm: 3, votedFor: null })],
  [step([entry(23, 3, { kind: 'bytes', payload: Buffer.alloc(9000, 5) })])],
  [step(entries(24, 25, 3)), step(entries(2, 3, 4), { currentTerm: 4, votedFor: 'n1' })],
  'idle',
  [step(entries(4, 20, 4, 400))],
]

function applied(state: State, { entries: list, hardState }: Step, count = list.length): State {
  const first = list[0]?.index
  const log =
    first === undefined || count === 0 ? state.log : [...state.log.slice(0, first - 1), ...ids(list.slice(0, count))]
  return { hardState: hardState ?? state.hardState, log }
}

/** Every state that a crash may leave when the first `acknowledged` of the steps were. */
function* legal(steps: readonly Step[], acknowledged: number): Generator<State> {
  let state = steps.slice(0, acknowledged).reduce((before, one) => applied(before, one), empty)
  yield state
  const reached = steps.slice(acknowledged)
  const hardStates = [state.hardState, ...reached.flatMap((one) => one.hardState ?? [])]
  for (const one of reached) {
    for (let count = 0; count <= one.entries.length; count++) {
      // Hard state goes first, so it may be ahead of the entries; never behind.
      const { log } = applied(state, one, count)
      const least = count === 0 ? state.hardState : applied(state, one).hardState
      for (const hardState of hardStates.slice(hardStates.indexOf(least))) yield { hardState, log }
    }
    state = applied(state, one)
  }
}

interface Run {
  readonly issued: Step[]
  acknowledged: number
}

/** Follows the script until the disk stops. */
async function follow(machine: MemoryDisk, run: Run): Promise<void> {
  const opened = await open(machine.mount())
  for (const act of script) {
    if (act === 'idle') {
      await opened.settle()
      continue
    }
    run.issued.push(...act)
    await Promise.all(
      act.map(async (one) => {
        await opened.save(one.entries, one.hardState)
        run.acknowledged++
      }),
    )
  }
  await opened.storage.close()
}

async function stateOf({ storage }: Opened): Promise<State> {
  return { hardState: storage.recovered.hardState, log: ids(await readAll(storage)) }
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
      const run: Run = { issued: [], acknowledged: 0 }
      let left = operations
      let halted = false
      machine.before = () => {
        if (left-- > 0) return
        halted = true
        machine.halt()
      }
      await follow(machine, run).catch(() => {})
      machine.before = () => {}
      crash(machine, operations)
      const after = `after ${operations} operations`
      const found = await stateOf(await open(machine.mount()))
      const possible = [...legal(run.issued, run.acknowledged)].map((state) => JSON.stringify(state))
      assert(possible.includes(JSON.stringify(found)), `${after}: ${JSON.stringify(found)} of ${possible.join('\n')}`)
      // What a node has seen at its start it may act upon: it must not be gone after another crash.
      machine.failPower(losesEverything)
      assert.deepEqual(await stateOf(await open(machine.mount())), found, after)
      if (halted) continue
      assert(operations > 150, 'the script went through without a crash too soon')
      assert.equal(run.acknowledged, script.flat().filter((one) => one !== 'idle').length)
      return
    }
  })
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

test('every byte of a small directory flipped: each is harmless or detected, and none is served', async () => {
  const machine = new MemoryDisk()
  const first = await open(machine.mount())
  await first.save(entries(1, 5, 1), { currentTerm: 1, votedFor: 'n1' })
  await first.save(entries(6, 14, 1, 333))
  await first.save(entries(14, 16, 2, 333), { currentTerm: 2, votedFor: 'n2' })
  await first.storage.close()
  const files = machine.files()
  const expected = await stateOf(await open(machine.mount()))
  const original = await readAll((await open(machine.mount())).storage, 16)
  let detected = 0
  for (const [path, bytes] of files) {
    for (let at = 0; at < bytes.length; at += isIdle(bytes, at) ? 61 : 1) {
      const damaged = Buffer.from(bytes)
      damaged[at] = (damaged[at] as number) ^ (1 << (at % 8))
      const opened = await open(MemoryDisk.holding(new Map(files).set(path, damaged)).mount()).catch((error) => {
        assert(isDataError(error), `${path} ${at}: ${error}`)
        assert(error.message.includes(path))
        detected++
      })
      if (!opened) continue
      assert.deepEqual(await stateOf(opened), expected, `${path} ${at}`)
      assert.deepEqual(await readAll(opened.storage), original)
    }
  }
  assert(detected > 1000, `only ${detected} were detected`)
  assert(files.has(`${directory}/metafile`) && files.has(`${directory}/${segmentName(2)}`))
})

/** In the midst of zeros one byte is like another. */
function isIdle(bytes: Buffer, at: number): boolean {
  return bytes.subarray(Math.max(at - 64, 0), at + 64).every((byte) => byte === 0)
}
