// A command that an application can never take.

/**
 * Thrown by `apply`, or by `applyBatch` that has changed nothing: this command is refused for good. Delivery stops before it, on this node, until the
 * application takes it or `raft-sidecar skip` has left it out on every node. For what all nodes can tell by the command alone, a result that says
 * so is better.
 */
export class PoisonCommand extends Error {
  /** Which one, of a batch with several; null: the one that `apply` was called for. */
  readonly index: number | null

  constructor(reason: string, index: number | null = null, options?: ErrorOptions) {
    super(reason, options)
    this.name = 'PoisonCommand'
    this.index = index
  }
}
