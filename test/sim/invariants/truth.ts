// What is known of the whole cluster from outside, as the invariants share it.

import type { Entry, NodeId } from '../../../src/raft/entry.ts'
import type { World } from '../world/world.ts'
import { EntryRegistry } from './entry-registry.ts'
import { NodeRecord, type Terms } from './node-record.ts'

/** A node that would answer a read by lease, of that index. */
export interface Lease {
  readonly id: NodeId
  readonly term: number
  readonly index: number
}

export class Truth {
  readonly world: World
  readonly voters: readonly NodeId[]
  readonly records: ReadonlyMap<NodeId, NodeRecord>
  readonly registry = new EntryRegistry()
  /** Of what is committed. */
  readonly committedTerms: Terms = [0]
  /** Who led each term. */
  readonly leaders = new Map<number, NodeId>()
  /** Of all terms in which anybody stood for election. */
  highestTerm = 0
  /** Those that are held now. */
  readonly leases: () => readonly Lease[]

  constructor(
    world: World,
    ids: readonly NodeId[],
    voters: readonly NodeId[],
    leases: () => readonly Lease[] = () => [],
  ) {
    this.world = world
    this.voters = voters
    this.leases = leases
    const committedTerms = (through: number) => this.committedTerms.slice(0, through + 1)
    this.records = new Map(ids.map((id) => [id, new NodeRecord(id, committedTerms)]))
  }

  record(id: NodeId): NodeRecord {
    const record = this.records.get(id)
    if (record === undefined) throw new Error(`No member ${id}`)
    return record
  }

  /** An entry in the log of a node, behind one of that term. */
  see(entry: Entry, prevTerm: number, by: NodeId): void {
    const problem = this.registry.see(entry, prevTerm)
    if (problem === null) return
    this.world.violated(
      problem.includes('cluster time') ? 'cluster time never goes back' : 'log matching',
      `${by}: ${problem}`,
    )
  }
}
