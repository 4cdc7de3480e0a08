// One history: a cluster of production nodes under the faults of its seed, then a quorum without any, which must elect, commit and apply; and after
// every event, the invariants.

import type { NodeId } from '../../src/raft/entry.ts'
import { type ClientCounts, Clients } from './clients.ts'
import { checkHistory } from './history/linearizability.ts'
import { Ledger } from './invariants/ledger.ts'
import type { SnapshotCounts } from './invariants/snapshots.ts'
import { Member } from './member.ts'
import { Nemesis } from './nemesis.ts'
import { drawProfile, type FaultKind, type Profile, tickMs } from './profile.ts'
import { assertDrains } from './world/drain.ts'
import { Network } from './world/network.ts'
import { withTrap } from './world/trap.ts'
import { type Violation, World } from './world/world.ts'

export interface HistoryOptions {
  readonly without?: readonly FaultKind[]
  readonly listener?: (line: string) => void
}

export interface HistoryResult {
  readonly seed: number
  readonly profile: Profile
  readonly violation: Violation | null
  readonly hash: string
  readonly events: number
  /** Of each node's clock. */
  readonly ticks: number
  readonly committed: number
  readonly counts: ClientCounts
  readonly snapshots: SnapshotCounts
}

/** Once the faults are over, everything must be well within this time. It has room for an application's backoff. */
const livenessBoundMs = 12_000

/** Runs a whole history, at once. Must be called from a macrotask. */
export function runHistory(seed: number, options: HistoryOptions = {}): HistoryResult {
  assertDrains()
  const profile = drawProfile(seed, options.without)
  const world = new World(seed, options.listener ?? null)
  const simulation = new Simulation(world, profile)
  const reject = (reason: unknown) =>
    world.violated('no promise is left alone', String(reason instanceof Error ? reason.stack : reason))
  process.on('unhandledRejection', reject)
  try {
    withTrap(
      (what) => world.violated('nothing real is reached', `A history reached ${what}`),
      () => simulation.run(),
    )
  } finally {
    process.off('unhandledRejection', reject)
  }
  return simulation.result()
}

class Simulation {
  readonly #world: World
  readonly #profile: Profile
  readonly #ledger: Ledger
  readonly #members: readonly Member[]
  readonly #nemesis: Nemesis
  readonly #clients: Clients

  constructor(world: World, profile: Profile) {
    this.#world = world
    this.#profile = profile
    const ids = Array.from({ length: profile.members }, (_, at) => `n${at + 1}`)
    // Long enough for the hard state, which stands behind them in the metafile, to lie in another sector than its checksum.
    const members = ids.map((id, at) => ({
      id,
      peerAddress: `${id}.${'simulated.'.repeat(20)}example:7400`,
      role: at < profile.members - profile.learners ? ('voter' as const) : ('learner' as const),
    }))
    this.#ledger = new Ledger(world, {
      ids,
      voters: members.filter(({ role }) => role === 'voter').map(({ id }) => id),
      isInMemory: profile.machine === 'kv',
      limits: profile.ledger,
    })
    const ledger = this.#ledger
    const network = new Network(world, world.random('network'), profile.network, {
      sent: (owner, message) => {
        if (!owner.isAlive) world.violated('the dead are silent', `${message.from} sends ${message.type} after its end`)
        ledger.sent(message)
        if (message.type === 'AppendEntries') this.#memberOf(message.from)?.spokeAsLeader()
        world.trace.mix(message.term)
        world.trace.mix(message.type.length)
      },
      received: (message) => ledger.received(message, this.#memberOf(message.to)?.node?.leader()?.self === true),
      accepted: (id, by, standing) => {
        if (ledger.accepted(id, by, standing)) this.#memberOf(id)?.takeAway()
      },
    })
    const around = { world, profile, network, ledger, ids, members }
    this.#members = ids.map((_, number) => new Member(around, number))
    this.#nemesis = new Nemesis(world, profile, network, this.#members)
    this.#clients = new Clients(world, profile, this.#members, ledger)
  }

  run(): void {
    const { safetyMs } = this.#profile
    this.#nemesis.start()
    this.#clients.start()
    this.#world.run(safetyMs, () => false)
    if (this.#world.violation === null) this.#live()
    if (this.#world.violation === null) this.#checkHistory()
    for (const { owner } of this.#members) owner?.die()
  }

  #live(): void {
    const core = this.#nemesis.heal()
    this.#clients.stop()
    let unproved = core.length
    for (const member of core) {
      const others = core.filter((other) => other !== member)
      void this.#clients
        .probe(member)
        .then(() => this.#clients.examine(member, others))
        .then(() => {
          unproved--
        })
    }
    let isWell = false
    const look = () => {
      isWell =
        unproved === 0 &&
        this.#clients.isIdle &&
        core.every((member) => this.#hasCaughtUp(member) && member.hasCompacted())
      if (!isWell) this.#world.after(this.#world.nature, 5 * tickMs, look)
    }
    look()
    this.#world.run(this.#profile.safetyMs + livenessBoundMs, () => isWell)
    for (const member of core) member.lookAtLedger()
    if (isWell) for (const member of core) this.#checkState(member)
    else if (this.#world.violation === null) this.#world.violated('progress without faults', this.#describe(core))
  }

  #memberOf(id: NodeId): Member | undefined {
    return this.#members.find((member) => member.id === id)
  }

  #hasCaughtUp(member: Member): boolean {
    return member.node?.appliedIndex === this.#ledger.commitIndex && member.isWatcherAt(this.#ledger.commitIndex)
  }

  #describe(core: readonly Member[]): string {
    const states = core.map((member) => {
      if (member.node === null) return `${member.id} ${member.isRunning ? 'is starting' : 'is down'}`
      const { role, term, commitIndex, appliedIndex, firstIndex, lastIndex, applierBlocked } = member.node.status()
      const compacted = member.hasCompacted() ? '' : ', which is too long'
      return `${member.id} is ${role} in term ${term}, log ${firstIndex} to ${lastIndex}${compacted}, committed ${commitIndex}, applied ${appliedIndex} ${applierBlocked ?? ''}`
    })
    return `after ${livenessBoundMs} ms: ${states.join('; ')}; committed anywhere: ${this.#ledger.commitIndex}`
  }

  /** What applied the same commands is the same. */
  #checkState({ id, kv, app }: Member): void {
    const { items } = this.#ledger.reference
    const found = kv === null ? app.itemsOf().items : null
    const size = kv?.size ?? found?.size
    if (size !== items.size)
      this.#world.violated('state machine safety', `${id} holds ${size} items, not ${items.size}`)
    for (const [key, item] of items) {
      const view = kv === null ? found?.get(key) : kv.get(key)
      if (view?.createdIndex !== item.createdIndex || view.modifiedIndex !== item.modifiedIndex) {
        this.#world.violated('state machine safety', `${id} holds another ${key} than the log says`)
      }
    }
  }

  #checkHistory(): void {
    const { verdict, key } = checkHistory(this.#clients.history.operations)
    if (verdict === 'not-linearizable')
      this.#world.violated('clients see one register', `The history of ${key} is not linearizable`)
  }

  result(): HistoryResult {
    const { seed, violation, events, nowMs, trace } = this.#world
    return {
      seed,
      profile: this.#profile,
      violation,
      hash: trace.hash,
      events,
      ticks: Math.round(nowMs / tickMs),
      committed: this.#ledger.commitIndex,
      counts: this.#clients.counts,
      snapshots: this.#ledger.snapshots,
    }
  }
}
