// The faults of a history, each kind with a stream of chance of its own, so that a history with one kind taken away is as near as can be to the
// one that failed.

import { quorum } from '../../src/raft/configuration.ts'
import type { Member } from './member.ts'
import type { FaultKind, Profile } from './profile.ts'
import type { DiskImage } from './world/disk.ts'
import type { Network } from './world/network.ts'
import type { Random } from './world/random.ts'
import { rot } from './world/rot.ts'
import type { Owner, World } from './world/world.ts'

type Undo = () => void

const dayMs = 24 * 60 * 60 * 1000

export class Nemesis {
  readonly #world: World
  readonly #profile: Profile
  readonly #network: Network
  readonly #members: readonly Member[]
  readonly #downUntilMs = new Map<Member, number>()
  /** What is left of them may be of no use to the others: never so many that the rest is no quorum. */
  readonly #lost = new Set<Member>()
  /** How their disks once were. */
  readonly #images = new Map<Member, DiskImage>()
  readonly #watch: Random
  readonly #voters: number
  #isOver = false

  constructor(world: World, profile: Profile, network: Network, members: readonly Member[]) {
    this.#world = world
    this.#profile = profile
    this.#network = network
    this.#members = members
    this.#voters = members.filter(({ isVoter }) => isVoter).length
    this.#watch = world.random('watch')
  }

  start(): void {
    const { faults } = this.#profile
    const skew = this.#world.random('skew')
    for (const member of this.#members) {
      if (faults.has('clock-skew')) {
        member.clock.rate = this.#rate(skew)
        member.clock.wallOffsetMs = skew.between(-10_000, 10_000)
      }
      member.start()
    }
    for (const kind of faults) this.#schedule(kind, this.#world.random(`fault ${kind}`))
    this.#keepRunning()
    if (this.#profile.poisonShare > 0) this.#skipPoison()
  }

  /** Where leases are held, no clock drifts from true time by more than the nodes are told. */
  #rate(skew: Random): number {
    const { leaseReads, maxClockDriftPpm } = this.#profile.raft
    if (!leaseReads) return skew.between(0.8, 1.25)
    const drift = maxClockDriftPpm / 1_000_000
    return skew.pick([1 - drift, 1 + drift, skew.between(1 - drift, 1 + drift)])
  }

  /** Somebody looks after what stops delivery; more often once the faults are over. */
  #skipPoison(): void {
    this.#world.after(this.#world.nature, this.#watch.exponential(this.#isOver ? 20 : 80), () => {
      void this.#watch.pick(this.#members).skipPoison()
      this.#skipPoison()
    })
  }

  /** The faults are over. A quorum at least is whole again, and is returned; the others may stay away for good. */
  heal(): readonly Member[] {
    this.#isOver = true
    const random = this.#world.random('heal')
    // A rotten disk may be noticed at any time, and its node is gone then; who has forgotten is refused.
    const able = random.shuffled(this.#members.filter((member) => !member.disk.hasRotted && !member.hasForgotten))
    // Voters first, as many as it takes; then whoever else comes.
    const voters = able.filter(({ isVoter }) => isVoter)
    const needed = voters.slice(0, quorum(this.#voters))
    const others = able.filter((member) => !needed.includes(member))
    const core = [...needed, ...(random.chance(0.5) ? others : others.slice(0, random.below(others.length + 1)))]
    this.#network.heal()
    for (const member of this.#members) {
      member.disk.heal()
      member.app.heal()
      member.clock.latenessMs = 0
      if (member.owner !== null) this.#world.resume(member.owner)
    }
    for (const member of this.#members) {
      if (core.includes(member)) this.#downUntilMs.delete(member)
      else this.#sendAway(member, core, random)
    }
    this.#world.tell('', `HEALED: ${core.map(({ id }) => id).join(', ')}`)
    return core
  }

  #sendAway(member: Member, core: readonly Member[], random: Random): void {
    // Refused for ever, it must not disturb anybody.
    if (member.hasForgotten) return
    if (random.chance(0.5)) {
      this.#downUntilMs.set(member, Number.POSITIVE_INFINITY)
      member.losePower()
      return
    }
    for (const { id } of core) {
      this.#network.block(member.id, id, true)
      this.#network.block(id, member.id, true)
    }
  }

  /** As a supervisor would: who is down is started again. */
  #keepRunning(): void {
    for (const member of this.#members) {
      if (member.isRunning || member.hasRefused) continue
      const downUntilMs = this.#downUntilMs.get(member) ?? this.#world.nowMs + this.#watch.between(1, 50)
      this.#downUntilMs.set(member, downUntilMs)
      if (this.#world.nowMs < downUntilMs) continue
      this.#downUntilMs.delete(member)
      member.start()
    }
    this.#world.after(this.#world.nature, this.#profile.faults.has('quick-restart') ? 2 : 10, () => this.#keepRunning())
  }

  #schedule(kind: FaultKind, random: Random): void {
    this.#world.after(
      this.#world.nature,
      random.exponential(this.#profile.faultEveryMs * this.#profile.drawnKinds),
      () => {
        if (this.#isOver) return
        const undo = this.#strike(kind, random)
        if (undo !== null) {
          this.#world.after(this.#world.nature, random.pick([10, 50, 150, 350, 600]) * random.between(0.5, 1.5), () => {
            if (!this.#isOver) undo()
          })
        }
        this.#schedule(kind, random)
      },
    )
  }

  #strike(kind: FaultKind, random: Random): Undo | null {
    const member = this.#target(random)
    if (this.#world.trace.isTold && kind !== 'quick-restart')
      this.#world.tell('', `FAULT ${kind}, of one node ${member.id}`)
    switch (kind) {
      case 'loss':
        this.#network.lossChance = random.pick([0.02, 0.1, 0.4])
        return () => this.#set({ lossChance: 0 })
      case 'delay':
        this.#network.delayChance = random.pick([0.02, 0.1, 0.4])
        return () => this.#set({ delayChance: 0 })
      case 'duplication':
        this.#network.duplicateChance = random.pick([0.05, 0.3])
        return () => this.#set({ duplicateChance: 0 })
      case 'reordering':
        this.#network.reorderChance = random.pick([0.1, 0.5])
        return () => this.#set({ reorderChance: 0 })
      case 'partition':
        return this.#partition(member, random, false)
      case 'one-way-partition':
        return this.#partition(member, random, true)
      case 'clogged-link':
        return this.#clog(member, random)
      case 'reset-connection':
        if (random.chance(0.7)) this.#network.reset(member.id, random.pick(this.#members).id)
        else for (const { id } of this.#members) this.#network.resetBulk(member.id, id)
        return null
      case 'false-hint':
        this.#network.hint(random.pick(this.#members).id, member.id)
        return null
      case 'crash':
        this.#takeDown(member, random, () => member.crash())
        return null
      case 'power-loss':
        this.#takeDown(member, random, () => member.losePower())
        return null
      case 'ill-timed-power-loss':
        member.disk.beforeNextWrites(1 + random.below(3), () => {
          if (!this.#isOver) this.#takeDown(member, random, () => member.losePower())
        })
        return null
      case 'power-loss-amid-files':
        member.disk.beforeNextChanges(1 + random.below(6), () => {
          if (!this.#isOver) this.#takeDown(member, random, () => member.losePower())
        })
        return null
      case 'whole-cluster-down':
        for (const each of this.#members)
          this.#takeDown(each, random, () => (random.chance(0.5) ? each.crash() : each.losePower()))
        return null
      case 'quick-restart':
        return null
      case 'transfer':
        if (random.chance(0.5)) member.stop()
        return null
      case 'pause':
        return this.#pause(member)
      case 'late-turns':
        member.clock.latenessMs = random.pick([0.2, 2, 15])
        return () => {
          member.clock.latenessMs = 0
        }
      default:
        return this.#strikeMachine(kind, member, random)
    }
  }

  /** Half of the time whoever leads: that is where most can go wrong. */
  #target(random: Random): Member {
    const leaders = random.chance(0.5) ? this.#members.filter(({ node }) => node?.leader()?.self) : []
    return random.pick(leaders.length > 0 ? leaders : this.#members)
  }

  #strikeMachine(kind: FaultKind, member: Member, random: Random): Undo | null {
    const { disk, app, clock } = member
    switch (kind) {
      case 'slow-disk':
        disk.slowness = random.pick([5, 30])
        return () => {
          disk.slowness = 1
        }
      case 'hung-disk':
        disk.hungUntilMs = this.#world.nowMs + random.between(50, 600)
        return null
      case 'disk-error':
        disk.syncErrorChance = random.pick([0.05, 0.5])
        return () => {
          disk.syncErrorChance = 0
        }
      case 'full-disk':
        disk.fillUp(random.pick([0, 300, 3000, 10_000]), random.chance(0.2))
        return () => disk.makeRoom()
      case 'bit-rot':
        this.#rot(member, random)
        return null
      case 'amnesia':
        this.#forget(member, random)
        return null
      case 'snapshot-request':
        void member.requestSnapshot(random.chance(0.3))
        return null
      case 'clock-jump':
        clock.jump(random.pick([-1, 1]) * random.exponential(2000))
        return null
      case 'day-jump':
        clock.jump(dayMs * random.between(0.9, 1.1))
        return null
      case 'slow-application':
        app.delayMs = random.pick([5, 60])
        return () => {
          app.delayMs = 0.2
        }
      case 'failing-application':
        app.failureChance = random.pick([0.1, 0.5])
        return () => {
          app.failureChance = 0
        }
      case 'restarting-application':
        app.isDown = true
        app.restart()
        return () => {
          app.isDown = false
        }
      case 'mended-application':
        app.isMended = this.#profile.app.mends
        return () => {
          app.isMended = false
        }
      default:
        return null
    }
  }

  #set(chances: Partial<Pick<Network, 'lossChance' | 'delayChance' | 'duplicateChance' | 'reorderChance'>>): void {
    Object.assign(this.#network, chances)
  }

  #takeDown(member: Member, random: Random, how: () => void): void {
    const isQuick = this.#profile.faults.has('quick-restart')
    // Long enough, now and then, that the others go on without it for longer than their logs reach back.
    const downMs = isQuick
      ? random.between(0, 5)
      : random.chance(0.2)
        ? random.between(300, 800)
        : random.between(5, 300)
    this.#downUntilMs.set(member, this.#world.nowMs + downMs)
    how()
  }

  #pause(member: Member): Undo | null {
    const { owner } = member
    if (owner === null) return null
    this.#world.pause(owner)
    return () => this.#resume(owner)
  }

  #resume(owner: Owner): void {
    this.#world.tell(owner.name, 'goes on')
    this.#world.resume(owner)
  }

  #partition(member: Member, random: Random, isOneWay: boolean): Undo | null {
    const shuffled = [member, ...random.shuffled(this.#members.filter((other) => other !== member))]
    const half = Math.floor(shuffled.length / 2)
    const side = shuffled.slice(0, 1 + random.below(random.chance(0.7) ? Math.max(1, half) : shuffled.length))
    const others = shuffled.slice(side.length)
    const pairs = side.flatMap((a) => others.map((b) => [a.id, b.id] as const))
    const set = (isBlocked: boolean) => {
      for (const [a, b] of pairs) {
        this.#network.block(a, b, isBlocked)
        if (!isOneWay) this.#network.block(b, a, isBlocked)
      }
    }
    set(true)
    // Some connections are given up, as when a probe of the system fails; the others merely carry nothing.
    const givenUp = random.pick([0, 0.3, 1])
    for (const [a, b] of pairs) if (random.chance(givenUp)) this.#network.reset(a, b)
    this.#world.tell('', `      cut off: ${side.map(({ id }) => id).join(', ')}${isOneWay ? ', one way' : ''}`)
    return () => set(false)
  }

  #clog(member: Member, random: Random): Undo {
    const other = random.pick(this.#members)
    this.#network.clog(member.id, other.id, random.between(20, 400))
    return () => this.#network.clog(member.id, other.id, 0)
  }

  #rot(member: Member, random: Random): void {
    if (!this.#mayLose(member)) return
    const { id, disk } = member
    const where = rot(disk, random, `/${id}`)
    if (where === null) return
    this.#lost.add(member)
    this.#world.tell(id, `disk  a bit of ${where} flips`)
    // Most is read when a process starts only.
    if (random.chance(0.5)) this.#takeDown(member, random, () => member.crash())
  }

  /** It comes back with nothing, or with what its disk held some time ago. */
  #forget(member: Member, random: Random): void {
    const image = this.#images.get(member)
    if (image === undefined || random.chance(0.3)) {
      this.#images.set(member, member.disk.image())
      return
    }
    if (!this.#mayLose(member)) return
    this.#lost.add(member)
    this.#takeDown(member, random, () => (random.chance(0.5) ? member.crash() : member.losePower()))
    member.forget(random.chance(0.4) ? null : image)
  }

  #mayLose(member: Member): boolean {
    if (this.#lost.has(member)) return false
    const lost = [...this.#lost].filter(({ isVoter }) => isVoter).length
    return !member.isVoter || lost < this.#voters - quorum(this.#voters)
  }
}
