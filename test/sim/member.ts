// One machine of the cluster: its disk, clocks and application, which last, and the processes of the node that come and go on it. A process is the
// production node over the production storage and applier; in between, everything that it promises is shown to the ledger.

import { exitCodes, FatalError } from '../../src/errors.ts'
import { createApplier } from '../../src/machine/applier.ts'
import type { CursorStore } from '../../src/machine/cursor.ts'
import { createKvMachine, type KvMachine } from '../../src/machine/kv.ts'
import type { StateMachine } from '../../src/machine/state-machine.ts'
import { RaftNode } from '../../src/node/node.ts'
import type { Applier, Clock, NodeEvent, Storage } from '../../src/node/ports.ts'
import type { Member as ConfiguredMember } from '../../src/raft/configuration.ts'
import type { NodeId } from '../../src/raft/entry.ts'
import type { Save } from '../../src/raft/work.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import { type DurableStorage, openStorage } from '../../src/storage/storage.ts'
import type { Ledger } from './invariants/ledger.ts'
import type { Profile } from './profile.ts'
import { Application } from './world/application.ts'
import { MachineClock } from './world/clock.ts'
import { SimDisk } from './world/disk.ts'
import type { Network } from './world/network.ts'
import type { Random } from './world/random.ts'
import { Owner, type World } from './world/world.ts'

export interface Surroundings {
  readonly world: World
  readonly profile: Profile
  readonly network: Network
  readonly ledger: Ledger
  readonly ids: readonly NodeId[]
  readonly members: readonly ConfiguredMember[]
}

/** One life of the node. */
interface Life {
  readonly owner: Owner
  readonly clock: Clock
  node: RaftNode | null
  kv: KvMachine | null
  watcher: Applier | null
}

export class Member {
  readonly id: NodeId
  readonly disk: SimDisk
  readonly clock: MachineClock
  readonly app: Application
  /** Its disk is damaged and it says so: nothing will bring it back. */
  hasRefused = false
  readonly #around: Surroundings
  readonly #number: number
  readonly #random: Random
  #life: Life | null = null

  constructor(around: Surroundings, number: number) {
    const { world, ledger, profile } = around
    this.#around = around
    this.#number = number
    this.id = around.ids[number] as NodeId
    this.#random = world.random(`member ${this.id}`)
    this.disk = new SimDisk(world, world.random(`disk ${this.id}`), profile.syncMs)
    this.clock = new MachineClock(world, world.random(`clock ${this.id}`))
    this.app = new Application(world, world.random(`app ${this.id}`), ledger, profile.app, this.id)
  }

  get isVoter(): boolean {
    return this.#around.members[this.#number]?.role === 'voter'
  }

  /** Null while no process runs here, or while it still opens its storage. */
  get node(): RaftNode | null {
    return this.#life?.node ?? null
  }

  get kv(): KvMachine | null {
    return this.#life?.kv ?? null
  }

  get owner(): Owner | null {
    return this.#life?.owner ?? null
  }

  get isRunning(): boolean {
    return this.#life !== null
  }

  /** Also where there is none. */
  isWatcherAt(index: number): boolean {
    const watcher = this.#life?.watcher ?? null
    return watcher === null || watcher.appliedIndex === index
  }

  start(): void {
    if (this.#life !== null || this.hasRefused) return
    const owner = new Owner(this.id, this.#number + 1)
    const life: Life = { owner, clock: this.clock.of(owner), node: null, kv: null, watcher: null }
    this.#life = life
    this.#around.world.tell(this.id, 'starts')
    void this.#start(life)
  }

  /** As kill -9: what was written stays in the page cache. */
  crash(): void {
    if (this.#life === null) return
    this.#end(this.#life, 'is killed', this.#random.between(0.05, 1))
    this.disk.processCrashed()
  }

  losePower(): void {
    if (this.#life !== null) this.#end(this.#life, 'loses power', this.#random.between(30, 300))
    this.disk.powerLost()
    this.app.restart()
  }

  /** Hands leadership over and leaves. */
  stop(): void {
    const life = this.#life
    if (life === null || life.node === null) return
    this.#around.world.tell(this.id, 'is asked to stop')
    life.node.stop(this.#random.between(10, 400)).then(() => {
      if (this.#life === life) this.#end(life, 'has stopped', 0)
    })
  }

  #end(life: Life, how: string, noticeAfterMs: number): void {
    this.#life = null
    life.owner.die()
    this.#around.network.detach(this.id, life.owner, noticeAfterMs)
    this.#around.world.tell(this.id, how)
  }

  async #start(life: Life): Promise<void> {
    const { world, ledger, network, profile, ids } = this.#around
    const { members } = this.#around
    try {
      const disk = this.disk.of(life.owner)
      const storage = await openStorage({
        disk,
        directory: `/${this.id}`,
        identity: {
          cluster: 'simulated',
          nodeId: this.id,
          foundingConfiguration: { members },
          newIncarnation: Math.floor(this.#random.next() * 2 ** 48).toString(16),
        },
        segmentBytes: profile.segmentBytes,
        after: life.clock.after,
        onFailure: (error) => this.#died(life, error),
      })
      const { hardState, lastIndex } = storage.recovered
      world.tell(
        this.id,
        `found term ${hardState.currentTerm}, vote for ${hardState.votedFor}, entries through ${lastIndex}`,
      )
      ledger.restarted(this.id, storage.recovered)
      const usesApp = profile.machine === 'app' || profile.hasWatcher
      const cursor = usesApp && profile.app.hidesPosition ? await Cursor.open(disk, `/${this.id}`) : undefined
      const app = usesApp ? this.#applier(life, this.app.machineFor(life.owner), cursor) : null
      if (profile.machine === 'kv') life.kv = createKvMachine(life.clock)
      const main = life.kv === null ? app : this.#applier(life, life.kv, undefined)
      if (main === null) throw new Error('There is no state machine')
      if (life.kv !== null) life.watcher = app
      const node = new RaftNode({
        id: this.id,
        storage: this.#observed(storage),
        transport: network.transport(this.id, life.owner, ids),
        applier: this.#observedApplier(main, life.kv === null),
        watcher: life.watcher,
        clock: life.clock,
        random: () => this.#random.next(),
        encodeEntry,
        observer: { event: (event) => this.#tell(event) },
        raft: profile.raft,
        limits: profile.limits,
        appUrl: null,
        onFatal: (error) => this.#died(life, error),
      })
      await node.start()
      life.node = node
    } catch (error) {
      this.#died(life, error)
    }
  }

  #applier(life: Life, machine: StateMachine, cursor: CursorStore | undefined): Applier {
    return createApplier({
      machine,
      clock: life.clock,
      random: () => this.#random.next(),
      ...(cursor === undefined ? {} : { cursor }),
      maxBatchCommands: 20,
    })
  }

  /** A node that gives up must have had a reason. */
  #died(life: Life, error: unknown): void {
    if (!life.owner.isAlive) return
    const { world } = this.#around
    const exitCode = error instanceof FatalError ? error.exitCode : null
    const reason = error instanceof Error ? error.message : String(error)
    const isExcused =
      (exitCode === exitCodes.ioError && this.disk.hasFailed) ||
      (exitCode === exitCodes.dataError && this.disk.hasRotted)
    if (!isExcused) world.violated('nodes do not give up', `${this.id}: ${reason}${stackOf(error)}`)
    this.#end(life, `gives up: ${reason}`, this.#random.between(0.05, 1))
    this.disk.processCrashed()
    if (exitCode === exitCodes.dataError) this.hasRefused = true
  }

  #observed(storage: DurableStorage): Storage {
    const { world, ledger } = this.#around
    return {
      recovered: storage.recovered,
      read: (from, through, maxBytes) => storage.read(from, through, maxBytes),
      close: () => storage.close(),
      save: (save) => {
        ledger.issued(this.id, save)
        if (world.trace.isTold) world.tell(this.id, `save  ${describeSave(save)}`)
        const metafileWrites = this.disk.file(`/${this.id}/metafile`)?.sequence ?? 0
        return storage.save(save).then(() => {
          if (world.trace.isTold) world.tell(this.id, `saved ${save.id}`)
          world.trace.mix(save.id)
          ledger.saved(this.id, save, this.#unsynced(save, metafileWrites))
        })
      },
    }
  }

  /** What of a save its disk would not survive a power loss with; null when it all would. */
  #unsynced(save: Save, metafileWritesBefore: number): string | null {
    if (save.hardState !== null) {
      const synced = this.disk.file(`/${this.id}/metafile`)?.syncedSequence ?? 0
      if (synced <= metafileWritesBefore) return `the term ${save.hardState.currentTerm} and its vote are not synced`
    }
    const last = save.entries.at(-1)
    const record = this.#around.ledger.record(this.id)
    if (last === undefined || record.issued[last.index] !== last.term || !record.isSettledAfter(save.id, last.index))
      return null
    // The newest segments first.
    for (const [path, inode] of [...this.disk.durableFiles].reverse()) {
      if (path.endsWith('.segment') && inode.durable.bytes.includes(asBuffer(last.record))) return null
    }
    return `entry ${last.index} is not synced`
  }

  #observedApplier(applier: Applier, mayForget: boolean): Applier {
    const { ledger } = this.#around
    return {
      start: (entries, events) =>
        applier.start(entries, {
          applied: (appliedIndex, commands, results) => {
            queueMicrotask(() => ledger.applied(this.id, appliedIndex, commands, results, mayForget))
            events.applied(appliedIndex, commands, results)
          },
          rewound: (appliedIndex) => events.rewound(appliedIndex),
        }),
      commit: (index) => {
        // The loop hands what was appended in this turn to the storage a microtask later: by then the ledger knows it, too.
        queueMicrotask(() => ledger.advanced(this.id, index))
        applier.commit(index)
      },
      get appliedIndex() {
        return applier.appliedIndex
      },
      get blocked() {
        return applier.blocked
      },
      close: () => applier.close(),
    }
  }

  #tell(event: NodeEvent): void {
    const { world } = this.#around
    if (!world.trace.isTold) return
    if (event.type === 'role') world.tell(this.id, `role  ${event.role} in term ${event.term}: ${event.reason}`)
    if (event.type === 'leader') world.tell(this.id, `role  follows ${event.leader} in term ${event.term}`)
  }
}

function describeSave({ id, hardState, entries }: Save): string {
  const state = hardState === null ? '' : ` term ${hardState.currentTerm} vote ${hardState.votedFor}`
  const first = entries[0]
  const last = entries.at(-1)
  const range =
    first === undefined || last === undefined
      ? ''
      : ` entries ${first.index}/t${first.term}…${last.index}/t${last.term}`
  return `${id}${state}${range}`
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function stackOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : null
  return cause instanceof Error ? `\n${cause.stack}` : ''
}
