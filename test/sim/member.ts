// One machine of the cluster: its disk, clocks and application, which last, and the processes of the node that come and go on it. A process is the
// production node over the production storage and applier; in between, everything that it promises is shown to the ledger.

import { crc32 } from 'node:zlib'
import { exitCodes, FatalError, ProposalError, SkipError, SnapshotError } from '../../src/errors.ts'
import { createApplier } from '../../src/machine/applier.ts'
import type { CursorStore } from '../../src/machine/cursor.ts'
import { createKvMachine, type KvMachine } from '../../src/machine/kv.ts'
import type { StateMachine } from '../../src/machine/state-machine.ts'
import type { Leadership, NewCommand } from '../../src/node/contract.ts'
import type { Ledger as KeyLedger } from '../../src/node/ledger.ts'
import { RaftNode } from '../../src/node/node.ts'
import type {
  Applier,
  Clock,
  IncomingSnapshot,
  NodeEvent,
  SnapshotHeader,
  Storage,
  StoredSnapshot,
} from '../../src/node/ports.ts'
import type { Member as ConfiguredMember } from '../../src/raft/configuration.ts'
import type { EntryId, NodeId } from '../../src/raft/entry.ts'
import type { Save } from '../../src/raft/work.ts'
import { AcquaintanceFile } from '../../src/storage/acquaintances.ts'
import { Cursor } from '../../src/storage/cursor.ts'
import { encodeEntry } from '../../src/storage/record.ts'
import { ResultFile } from '../../src/storage/result-file.ts'
import { snapshotName } from '../../src/storage/snapshot-file.ts'
import { type DurableStorage, openStorage } from '../../src/storage/storage.ts'
import type { Horizon } from './invariants/keys.ts'
import type { Ledger } from './invariants/ledger.ts'
import type { Lease } from './invariants/truth.ts'
import { type Profile, tickMs } from './profile.ts'
import { Application } from './world/application.ts'
import { MachineClock } from './world/clock.ts'
import { type DiskImage, SimDisk } from './world/disk.ts'
import { holdsGivenUpSegment } from './world/log-files.ts'
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
  /** Built, and perhaps still starting. */
  building: RaftNode | null
  node: RaftNode | null
  kv: KvMachine | null
  watcher: Applier | null
  /** When each save that is under way was begun, oldest first, by its own clock. */
  readonly savesBegunMs: number[]
  /** When it was last found to go on after a pause, by its own clock. */
  wentOnMs: number
  isStopping: boolean
  /** It has spoken as a leader since it was last looked at. */
  hasLed: boolean
  /** Looks in a row at which it led over a disk that hangs. */
  looksAtHungLeader: number
  /** Looks in a row at which its application had taken what it knew to be left out. */
  looksAtAstray: number
  /** Its ledger as it was last looked at; the horizon is that of the snapshot which it began with. */
  keys: { readonly ledger: KeyLedger | null; readonly horizon: Horizon; readonly throughIndex: number }
  /** Of the snapshot whose ledger was read last. */
  loadedHorizon: Horizon
  /** The index that its state machine was last brought to by a snapshot. */
  restoredThrough: number
}

/** How often a member is looked at; by then it had turns enough. */
const lookEveryMs = 10 * tickMs

export class Member {
  readonly id: NodeId
  readonly disk: SimDisk
  readonly clock: MachineClock
  readonly app: Application
  /** Its disk is damaged and it says so: nothing will bring it back. */
  hasRefused = false
  /** Its disk was emptied, or set back: it has forgotten what it once promised. */
  hasForgotten = false
  readonly #around: Surroundings
  readonly #number: number
  readonly #random: Random
  /** Its disk is not the one that it left when it was last there. */
  #isAnother = false
  /** All its files were made. */
  #hasRun = false
  #life: Life | null = null

  constructor(around: Surroundings, number: number) {
    const { world, ledger, profile } = around
    this.#around = around
    this.#number = number
    this.id = around.ids[number] as NodeId
    this.#random = world.random(`member ${this.id}`)
    this.disk = new SimDisk(world, world.random(`disk ${this.id}`), profile.syncMs, {
      syncFailed: (owner, path) => this.#syncFailed(owner, path),
    })
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

  /** Also where there is none, or one that no log reaches back to any more: only people can bring that forward. */
  isWatcherAt(index: number): boolean {
    const { watcher = null, node = null } = this.#life ?? {}
    if (watcher === null || watcher.appliedIndex === index) return true
    return node !== null && watcher.blocked !== null && watcher.appliedIndex + 1 < node.status().firstIndex
  }

  /** Neither its log nor the files of it hold more than they may when nothing has happened for a while. */
  hasCompacted(): boolean {
    const { node = null, watcher = null } = this.#life ?? {}
    if (node === null) return true
    const { snapshots, raft, machine, app } = this.#around.profile
    if (machine === 'app' && !app.offersSnapshots) return true
    const { firstIndex, lastIndex } = node.status()
    const wanted = Math.max(lastIndex - raft.maxLogEntries - snapshots.threshold, 0)
    // A watcher needs what it has not taken.
    if (firstIndex <= Math.min(wanted, watcher?.appliedIndex ?? wanted)) return false
    return !holdsGivenUpSegment(this.disk, `/${this.id}`, firstIndex - 1)
  }

  start(): void {
    if (this.#life !== null || this.hasRefused) return
    const owner = new Owner(this.id, this.#number + 1)
    const clock = this.clock.of(owner)
    const life: Life = {
      owner,
      clock,
      building: null,
      node: null,
      kv: null,
      watcher: null,
      savesBegunMs: [],
      wentOnMs: 0,
      isStopping: false,
      hasLed: false,
      looksAtHungLeader: 0,
      looksAtAstray: 0,
      keys: { ledger: null, horizon: [], throughIndex: 0 },
      loadedHorizon: [],
      restoredThrough: 0,
    }
    this.#life = life
    this.#around.world.tell(this.id, 'starts')
    void this.#start(life)
    this.#lookAfter(life)
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

  /** It is down, and comes back with a disk that holds something else; null: nothing. */
  forget(image: DiskImage | null): void {
    this.disk.setBack(image ?? new Map())
    this.hasForgotten = true
    this.#isAnother = true
    this.#hasRun = false
    this.#around.world.tell(this.id, image === null ? 'disk  is EMPTIED' : 'disk  is SET BACK')
    this.#around.ledger.forgot(this.id)
  }

  /** For good. */
  takeAway(): void {
    this.hasRefused = true
    if (this.#life !== null) this.#end(this.#life, 'is taken away', 0)
  }

  /** As somebody asks for it. */
  async requestSnapshot(wantsBackup: boolean): Promise<void> {
    const { node } = this
    if (node === null) return
    const { appliedIndex } = node
    try {
      const index = wantsBackup ? await this.#backUp(node) : (await node.takeSnapshot()).index
      if (index < appliedIndex) {
        const message = `${this.id} gives one through ${index}, and had applied ${appliedIndex} before it was asked for`
        this.#around.world.violated('a snapshot is of what was applied', message)
      }
    } catch (error) {
      if (error instanceof SnapshotError || error instanceof FatalError) return
      this.#around.world.violated('snapshots fail with SnapshotError', `${this.id}: ${String(error)}${stackOf(error)}`)
    }
  }

  async #backUp(node: RaftNode): Promise<number> {
    const backup = await node.openBackup()
    const bytes = Buffer.alloc(backup.snapshot.sizeBytes + 1)
    const count = await backup.read(bytes, 0)
    await backup.close()
    const isWhole =
      count === backup.snapshot.sizeBytes && crc32(bytes.subarray(0, count - 4)) === bytes.readUInt32LE(count - 4)
    if (!isWhole && !this.disk.hasRotted)
      this.#around.world.violated('backups are whole', `${this.id} gives ${count} bytes`)
    return backup.snapshot.index
  }

  /** As people do once they have seen that delivery stops: the whole cluster is to leave the command out. */
  async skipPoison(): Promise<void> {
    const { node } = this
    const poison = node?.status().poison ?? null
    if (node === null || poison === null) return
    try {
      const { index } = await node.skip(poison.index, 300)
      this.tellCommitIndex()
      if (this.#around.ledger.committed(index)?.entry.kind !== 'skip')
        this.#around.world.violated(
          'answers reach their proposer',
          `${this.id} says that ${index} skips ${poison.index}`,
        )
    } catch (error) {
      if (error instanceof SkipError || error instanceof ProposalError) return
      this.#around.world.violated('skips fail with SkipError', `${this.id}: ${String(error)}${stackOf(error)}`)
    }
  }

  /** What this node has committed, which the ledger is told when anything rests on it. */
  tellCommitIndex(): void {
    const commitIndex = this.#life?.building?.commitIndex ?? 0
    if (commitIndex > 0) this.#around.ledger.advanced(this.id, commitIndex)
  }

  /** What it would answer a read by lease with. */
  get lease(): Lease | null {
    const index = this.node?.leaseReadIndex() ?? null
    return this.node === null || index === null ? null : { id: this.id, term: this.node.currentTerm, index }
  }

  knows(index: number): boolean {
    return this.node?.ledger.at(index)?.answer.type === 'known'
  }

  /** Its node cannot tell what the command at this index answered. */
  cannotTell({ key = null }: NewCommand, index: number): void {
    const life = this.#life
    if (life === null || life.node === null) return
    const { ledger, machine } = this.#around.profile
    if (this.knows(index)) this.#violated('results are told', `it knows what ${index} answered, and does not tell`)
    if (machine === 'app') return
    // What its own machine answered is lost only where a snapshot stood for it, or made place for newer ones.
    const isLive = key !== null && life.node.ledger.find(key) !== null
    const isLost = key === null ? life.restoredThrough >= index : !isLive || ledger.maxAnswerBytes < 1_000_000
    if (!isLost) this.#violated('results are told', `its own machine has applied ${index}`)
  }

  #violated(invariant: string, message: string): void {
    this.#around.world.violated(invariant, `${this.id}: ${message}`)
  }

  /** Hands leadership over and leaves. */
  stop(): void {
    const life = this.#life
    if (life === null || life.node === null) return
    this.#around.world.tell(this.id, 'is asked to stop')
    life.isStopping = true
    life.node.stop(this.#random.between(10, 400)).then(() => {
      if (this.#life === life) this.#end(life, 'has stopped', 0)
    })
  }

  /** On behalf of the process, so that it is not blamed for a time in which it was paused. */
  #lookAfter(life: Life): void {
    const { world } = this.#around
    const dueMs = world.nowMs + lookEveryMs
    world.after(life.owner, lookEveryMs, () => {
      const wasPaused = world.nowMs > dueMs
      if (wasPaused) life.wentOnMs = life.clock.monotonicMs()
      this.#lookAtDisk(life)
      this.lookAtLedger()
      this.#lookAtApplication(life)
      this.#lookAfter(life)
    })
  }

  spokeAsLeader(): void {
    if (this.#life !== null) this.#life.hasLed = true
  }

  /** A leader whose disk hangs gives way within an election timeout. */
  #lookAtDisk(life: Life): void {
    const { electionTimeoutMinMs } = this.#around.profile.raft
    const [oldestMs] = life.savesBegunMs
    const hungMs = oldestMs === undefined ? 0 : life.clock.monotonicMs() - Math.max(oldestMs, life.wentOnMs)
    const isLate = this.clock.latenessMs > 0
    const leadsOn = life.hasLed && !isLate && hungMs > electionTimeoutMinMs + 2 * lookEveryMs
    life.hasLed = false
    life.looksAtHungLeader = leadsOn ? life.looksAtHungLeader + 1 : 0
    if (life.looksAtHungLeader < 3) return
    const message = `${this.id} still leads, though nothing was saved for ${Math.round(hungMs)} ms`
    this.#around.world.violated('a leader whose disk hangs gives way', message)
  }

  /** The keys that it holds are those that the log says. */
  lookAtLedger(): void {
    const life = this.#life
    if (life === null || life.building === null) return
    const { ledger } = life.building
    const { keys } = life
    if (keys.ledger === ledger && keys.throughIndex === ledger.throughIndex) return
    const horizon = horizonOf(life, ledger)
    life.keys = { ledger, horizon, throughIndex: ledger.throughIndex }
    this.tellCommitIndex()
    this.#around.ledger.ledgerHeld(this.id, ledger.picture(ledger.throughIndex), horizon)
  }

  /** It must be the end of a process that runs: nothing that is said afterwards could be trusted. */
  #syncFailed(owner: Owner, path: string): void {
    // Where an application stands may be forgotten.
    if (path.includes('/delivery')) return
    const isRunning = this.#life?.node !== null && !this.#life?.isStopping
    this.#around.world.soon(this.#around.world.nature, () => {
      if (isRunning && owner.isAlive)
        this.#around.world.violated('a failed sync ends the process', `${this.id} goes on after ${path} failed`)
    })
  }

  #end(life: Life, how: string, noticeAfterMs: number): void {
    this.#life = null
    life.owner.die()
    // A process that begins cannot know what an earlier one gave: people see to that.
    if (this.app.hasTakenRefused) this.app.reset()
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
        newRunId: Math.floor(this.#random.next() * 2 ** 48).toString(16),
        segmentBytes: profile.segmentBytes,
        reserveBytes: profile.reserveBytes,
        after: life.clock.after,
        onFailure: (error) => this.#died(life, error),
      })
      const { hardState, base, snapshot, lastIndex } = storage.recovered
      world.tell(
        this.id,
        `found term ${hardState.currentTerm}, vote for ${hardState.votedFor}, entries ${base.index + 1} through ${lastIndex}, snapshot through ${snapshot?.lastIncluded.index ?? 0}`,
      )
      ledger.restarted(this.id, storage.recovered, this.#isAnother)
      this.#isAnother = false
      const acquaintances = await AcquaintanceFile.open(disk, `/${this.id}`)
      const keepsResults = profile.machine === 'app' && profile.app.keepsResults
      const results = keepsResults ? await this.#openResults(life, storage) : null
      const usesApp = profile.machine === 'app' || profile.hasWatcher
      const cursor = usesApp && profile.app.hidesPosition ? await Cursor.open(disk, `/${this.id}`) : undefined
      const app = usesApp ? this.#applier(life, this.app.machineFor(life.owner), cursor) : null
      if (profile.machine === 'kv') life.kv = createKvMachine(life.clock)
      const main = life.kv === null ? app : this.#applier(life, this.#observedMachine(life.kv), undefined)
      if (main === null) throw new Error('There is no state machine')
      if (life.kv !== null) life.watcher = app
      const node = new RaftNode({
        id: this.id,
        storage: this.#observed(life, storage),
        transport: network.transport(this.id, life.owner, ids),
        applier: this.#observedApplier(main),
        leavesOut: life.kv === null,
        watcher: life.watcher,
        results,
        ledger: profile.ledger,
        clock: life.clock,
        random: () => this.#random.next(),
        encodeEntry,
        acquaintances,
        incarnation: storage.incarnation,
        run: storage.run,
        observer: { event: (event) => this.#tell(event) },
        raft: profile.raft,
        snapshots: profile.snapshots,
        limits: profile.limits,
        appUrl: null,
        onFatal: (error) => this.#died(life, error),
      })
      life.building = node
      node.subscribe((change) => {
        if (change.type === 'leadership') this.#toldLeadership(life, change.leadership)
      })
      await node.start()
      life.node = node
      this.#hasRun = true
    } catch (error) {
      this.#died(life, error)
    }
  }

  /** In files so small that there are some of them. */
  #openResults(life: Life, storage: DurableStorage): Promise<ResultFile> {
    return ResultFile.open(this.disk.of(life.owner), `/${this.id}`, {
      identity: { cluster: 'simulated', incarnation: storage.incarnation },
      onDamage: () => {},
      onLost: () => {},
      isFull: () => storage.isFull,
      fileBytes: 4096,
    })
  }

  #toldLeadership({ owner, kv, watcher }: Life, leadership: Leadership): void {
    const { world, ledger } = this.#around
    if (world.trace.isTold) world.tell(this.id, `app   is told ${leadership.event} in term ${leadership.term}`)
    const held = kv !== null && watcher === null ? null : this.app.told.position
    queueMicrotask(() => {
      if (!owner.isAlive) return
      this.tellCommitIndex()
      ledger.toldLeadership(this.id, leadership, held)
    })
  }

  #applier(life: Life, machine: StateMachine, cursor: CursorStore | undefined): Applier {
    return createApplier({
      machine,
      clock: life.clock,
      random: () => this.#random.next(),
      ...(cursor === undefined ? {} : { cursor }),
      maxBatchCommands: 20,
      onFatal: (error) => this.#died(life, error),
    })
  }

  /** A node that gives up must have had a reason. */
  #died(life: Life, error: unknown): void {
    if (!life.owner.isAlive) return
    const { world } = this.#around
    const exitCode = error instanceof FatalError ? error.exitCode : null
    const reason = error instanceof Error ? error.message : String(error)
    const isExcused =
      (exitCode === exitCodes.ioError && (this.disk.hasFailed || this.#hasNoRoomToStart(life))) ||
      (exitCode === exitCodes.dataError && (this.disk.hasRotted || this.hasForgotten || this.#hasLedAstray(life)))
    if (!isExcused) world.violated('nodes do not give up', `${this.id}: ${reason}${stackOf(error)}`)
    this.#end(life, `gives up: ${reason}`, this.#random.between(0.05, 1))
    this.disk.processCrashed()
    // Who has forgotten may be started again and again, as the impatient do: it is refused each time.
    if (exitCode === exitCodes.dataError && this.disk.hasRotted) this.hasRefused = true
  }

  /** It has given its application what it knows to be left out. */
  #hasLedAstray({ owner, building }: Life): boolean {
    return building !== null && this.app.wasGivenLeftOut(owner, building.ledger)
  }

  /** Then it stops as soon as it knows that. */
  #lookAtApplication(life: Life): void {
    const { owner, building } = life
    const goesOn = building !== null && this.app.holdsLeftOut(owner, building.ledger)
    life.looksAtAstray = goesOn ? life.looksAtAstray + 1 : 0
    if (life.looksAtAstray < 20) return
    this.#violated('who took what is left out stops', `its application has taken what ${this.id} knows to be left out`)
  }

  /** To be founded takes room; and on some file systems so does whatever is written again to make it certain. */
  #hasNoRoomToStart(life: Life): boolean {
    const { hadNoRoom, hadNoRoomInPlace } = this.disk
    return life.node === null && (hadNoRoomInPlace || (hadNoRoom && !this.#hasRun))
  }

  #observed(life: Life, storage: DurableStorage): Storage {
    const { world, ledger } = this.#around
    return {
      recovered: storage.recovered,
      get isFull() {
        return storage.isFull
      },
      get newestSnapshot() {
        return storage.newestSnapshot
      },
      read: (from, through, maxBytes) => storage.read(from, through, maxBytes),
      compact: (through) => {
        if (world.trace.isTold) world.tell(this.id, `compacts through ${through.index}`)
        world.trace.mix(through.index)
        ledger.compacted(this.id, through)
        storage.compact(through)
      },
      takeSnapshot: (header, keys, body) => this.#takeSnapshot(life, storage, header, keys, body),
      openSnapshot: async () => this.#opened(life, await storage.openSnapshot()),
      receiveSnapshot: (file) => storage.receiveSnapshot(file).then((incoming) => this.#incoming(incoming)),
      close: () => storage.close(),
      save: (save) => {
        life.savesBegunMs.push(life.clock.monotonicMs())
        ledger.issued(this.id, save)
        if (world.trace.isTold) world.tell(this.id, `save  ${describeSave(save)}`)
        const metafileWrites = this.disk.file(`/${this.id}/metafile`)?.sequence ?? 0
        return storage.save(save).then(() => {
          if (world.trace.isTold) world.tell(this.id, `saved ${save.id}`)
          world.trace.mix(save.id)
          life.savesBegunMs.shift()
          if (save.snapshot !== null) {
            const { newestSnapshot } = storage
            ledger.installSaved(this.id, newestSnapshot, this.#durableSnapshot(newestSnapshot?.lastIncluded ?? null))
          }
          ledger.saved(this.id, save, this.#unsynced(save, metafileWrites))
        })
      },
    }
  }

  /** Whoever reads its ledger begins anew with it. */
  #opened(life: Life, stored: StoredSnapshot | null): StoredSnapshot | null {
    if (stored === null) return null
    const { ledger } = this.#around
    const { file, header } = stored
    return {
      file,
      header,
      read: (into, position) => stored.read(into, position),
      ledger: async function* () {
        yield* stored.ledger()
        life.loadedHorizon = ledger.horizonOf(file)
      },
      body: () => stored.body(),
      close: () => stored.close(),
    }
  }

  async #takeSnapshot(
    life: Life,
    storage: DurableStorage,
    header: SnapshotHeader,
    keys: AsyncIterable<Uint8Array>,
    body: AsyncIterable<Uint8Array>,
  ) {
    const { world, ledger } = this.#around
    const parts: Uint8Array[] = []
    const keyParts: Uint8Array[] = []
    // The picture of the ledger was made in this moment.
    const pictured = life.building?.ledger ?? null
    const through = pictured?.throughIndex ?? 0
    const before = pictured === null ? [] : horizonOf(life, pictured)
    const file = await storage.takeSnapshot(header, observedParts(keys, keyParts), observedParts(body, parts))
    const { index } = file.lastIncluded
    if (world.trace.isTold) world.tell(this.id, `has taken a snapshot through ${index}`)
    world.trace.mix(index)
    world.trace.mix(file.checksum)
    ledger.ledgerWritten(this.id, file, Buffer.concat(keyParts).toString(), through, before)
    ledger.snapshotTaken(this.id, header, Buffer.concat(parts), file, this.#durableSnapshot(file.lastIncluded))
    return file
  }

  #incoming(incoming: IncomingSnapshot): IncomingSnapshot {
    const { world, ledger } = this.#around
    return {
      get sizeBytes() {
        return incoming.sizeBytes
      },
      append: (bytes) => incoming.append(bytes),
      finish: async () => {
        const header = await incoming.finish()
        if (world.trace.isTold) world.tell(this.id, `has received a snapshot through ${header.lastIncluded.index}`)
        ledger.snapshotReceived(this.id, header)
        return header
      },
    }
  }

  #durableSnapshot(lastIncluded: EntryId | null): Uint8Array | null {
    if (lastIncluded === null) return null
    return this.disk.durableFiles.get(`/${this.id}/${snapshotName(lastIncluded)}`)?.durable.bytes ?? null
  }

  /** The embedded machine: what it is restored to is held against the log. */
  #observedMachine(kv: KvMachine): StateMachine {
    const { ledger } = this.#around
    return {
      position: () => kv.position(),
      apply: (after, commands) => kv.apply(after, commands),
      snapshot: () => kv.snapshot(),
      restore: async ({ position, body }) => {
        const parts: Uint8Array[] = []
        const outcome = await kv.restore({ position, body: observedParts(body, parts) })
        ledger.restored(this.id, position, Buffer.concat(parts))
        return outcome
      },
      movesByItself: kv.movesByItself,
      get size() {
        return kv.size
      },
      close: () => kv.close(),
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

  #observedApplier(applier: Applier): Applier {
    const { ledger } = this.#around
    return {
      start: (entries, events) =>
        applier.start(entries, {
          applied: (appliedIndex, commands, results) => {
            queueMicrotask(() => ledger.applied(this.id, appliedIndex, commands, results))
            events.applied(appliedIndex, commands, results)
          },
          rewound: (appliedIndex) => {
            queueMicrotask(() => ledger.rewound(this.id, appliedIndex))
            events.rewound(appliedIndex)
          },
          restored: (appliedIndex) => {
            if (this.#around.world.trace.isTold)
              this.#around.world.tell(this.id, `its state machine is restored to ${appliedIndex}`)
            if (this.#life !== null) this.#life.restoredThrough = appliedIndex
            queueMicrotask(() => ledger.broughtTo(this.id, appliedIndex))
            events.restored(appliedIndex)
          },
        }),
      commit: (index) => {
        // The loop hands what was appended in this turn to the storage a microtask later: by then the ledger knows it, too.
        queueMicrotask(() => this.tellCommitIndex())
        applier.commit(index)
      },
      get appliedIndex() {
        return applier.appliedIndex
      },
      get blocked() {
        return applier.blocked
      },
      get poison() {
        return applier.poison
      },
      confirm: () => applier.confirm(),
      snapshot: () => applier.snapshot(),
      close: () => applier.close(),
    }
  }

  #tell(event: NodeEvent): void {
    const { world } = this.#around
    if (!world.trace.isTold) return
    if (event.type === 'role') world.tell(this.id, `role  ${event.role} in term ${event.term}: ${event.reason}`)
    if (event.type === 'storage')
      world.tell(this.id, `disk  ${event.isStalled ? 'hangs' : 'goes on'}${event.isFull ? ', is full' : ''}`)
    if (event.type === 'snapshotSkipped') world.tell(this.id, `skips a snapshot: ${event.reason}`)
    if (event.type === 'leader') world.tell(this.id, `role  follows ${event.leader} in term ${event.term}`)
  }
}

/** Another ledger than the one that was looked at last began with the snapshot that was read last. */
function horizonOf({ keys, loadedHorizon }: Life, ledger: KeyLedger): Horizon {
  return keys.ledger === ledger ? keys.horizon : loadedHorizon
}

async function* observedParts(body: AsyncIterable<Uint8Array>, parts: Uint8Array[]): AsyncGenerator<Uint8Array> {
  for await (const part of body) {
    parts.push(Buffer.from(part))
    yield part
  }
}

function describeSave({ id, hardState, snapshot, entries }: Save): string {
  const state = hardState === null ? '' : ` term ${hardState.currentTerm} vote ${hardState.votedFor}`
  const first = entries[0]
  const last = entries.at(-1)
  const range =
    first === undefined || last === undefined
      ? ''
      : ` entries ${first.index}/t${first.term}…${last.index}/t${last.term}`
  const install = snapshot === null ? '' : ` snapshot ${snapshot.lastIncluded.index}/t${snapshot.lastIncluded.term}`
  return `${id}${state}${install}${range}`
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function stackOf(error: unknown): string {
  const cause = error instanceof Error ? (error.cause ?? error) : null
  return cause instanceof Error ? `\n${cause.stack}` : ''
}
