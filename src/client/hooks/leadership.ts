// Who leads, as the sidecar tells its application.

import { MalformedRequest, objectOf } from './batch.ts'

export interface LeadershipChange {
  /**
   * `acquired`: this node leads, and this application holds everything that was committed before. `lost`: it was `acquired`, and leads no longer.
   * `changed`: another leader is known than before, or none.
   */
  readonly event: 'acquired' | 'lost' | 'changed'
  /** The node that leads; null: none is known. */
  readonly leader: string | null
  readonly term: number
  /** Rises with each leader: what is to obey only the newest one refuses a lower token than it has seen. */
  readonly fencingToken: number
}

export function readLeadership(body: unknown): LeadershipChange {
  const { event, leader, term, fencingToken } = objectOf(body, 'The body')
  if (event !== 'acquired' && event !== 'lost' && event !== 'changed')
    throw new MalformedRequest('`event` is not known')
  if (leader !== null && typeof leader !== 'string') throw new MalformedRequest('`leader` is no id')
  if (typeof term !== 'number' || typeof fencingToken !== 'number') throw new MalformedRequest('`term` is no number')
  return { event, leader, term, fencingToken }
}
