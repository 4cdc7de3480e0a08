// What reaches a state machine: every command in its turn, or a snapshot that holds those which are left out, and never a gap.

import type { Entry, NodeId } from '../../../src/raft/entry.ts'
import type { CommittedLog } from './committed-log.ts'
import type { Truth } from './truth.ts'

interface Place {
  appliedIndex: number
  /** Index of the last command that it holds. */
  position: number
}

export class Delivery {
  readonly #truth: Truth
  readonly #log: CommittedLog
  readonly #places = new Map<NodeId, Place>()

  constructor(truth: Truth, log: CommittedLog) {
    this.#truth = truth
    this.#log = log
  }

  /** A new process, and with it an empty machine in memory. */
  restarted(id: NodeId): void {
    this.#places.set(id, { appliedIndex: 0, position: 0 })
  }

  /** The last command that its machine in memory holds. */
  positionOf(id: NodeId): number {
    return this.#place(id).position
  }

  applied(id: NodeId, appliedIndex: number, commands: readonly Entry[], isInMemory: boolean): void {
    const place = this.#place(id)
    if (appliedIndex <= place.appliedIndex)
      this.#violated('appliedIndex rises', `${id} goes from ${place.appliedIndex} to ${appliedIndex}`)
    place.appliedIndex = appliedIndex
    // An application outlives the node, and may hold already what this process has never given it.
    if (!isInMemory) return
    for (const { index } of commands) {
      this.#follows(id, place, this.#log.at(index)?.previousCommand, index)
      place.position = index
    }
    const last = this.#log.at(appliedIndex)
    if (last !== null) this.#follows(id, place, this.#log.lastCommand(appliedIndex), appliedIndex)
  }

  /** An application was restarted with an older state. */
  rewound(id: NodeId, appliedIndex: number, isInMemory: boolean): void {
    const place = this.#place(id)
    if (isInMemory)
      this.#violated('appliedIndex rises', `${id} goes back from ${place.appliedIndex} to ${appliedIndex}`)
    place.appliedIndex = appliedIndex
  }

  /** A snapshot was restored. */
  broughtTo(id: NodeId, appliedIndex: number): void {
    const place = this.#place(id)
    const committed = this.#log.at(appliedIndex)
    if (appliedIndex <= place.appliedIndex)
      this.#violated('appliedIndex rises', `${id} is restored from ${place.appliedIndex} to ${appliedIndex}`)
    if (committed === null)
      this.#violated('snapshots hold what is committed', `${id} is restored to ${appliedIndex}, which is not committed`)
    place.appliedIndex = appliedIndex
    place.position = this.#log.lastHeld(appliedIndex)
  }

  /** The last command before this index is the one that it holds. */
  #follows(id: NodeId, { position }: Place, previousCommand: number | undefined, index: number): void {
    if (previousCommand === position) return
    const message = `${id} stands behind command ${position} and goes on to ${index}; command ${previousCommand} comes before`
    this.#violated('commands are delivered in order', message)
  }

  #place(id: NodeId): Place {
    const place = this.#places.get(id)
    if (place === undefined) throw new Error(`${id} never started`)
    return place
  }

  #violated(invariant: string, message: string): void {
    this.#truth.world.violated(invariant, message)
  }
}
