// What changed, for whoever wants to hear of it: role and leader once a turn, leadership as the application is to be told of it, and every change that
// subscribers are called back at.

import type { NodeId } from '../raft/entry.ts'
import type { Raft } from '../raft/raft.ts'
import type { LeaderView, NodeChange } from './contract.ts'
import { LeadershipNews } from './leadership.ts'
import type { Applier, NodeObserver } from './ports.ts'

export interface NewsOptions {
  readonly raft: Raft
  readonly observer: NodeObserver
  /** The one that is told of leadership. */
  readonly application: Pick<Applier, 'appliedIndex'>
  readonly leader: () => LeaderView | null
  /** Another leader is known, or none. */
  readonly onLeader: () => void
}

export class News {
  readonly #options: NewsOptions
  readonly #leadership = new LeadershipNews()
  readonly #listeners = new Set<(change: NodeChange) => void>()
  #reported: { readonly role: string; readonly term: number; readonly leader: NodeId | null }

  constructor(options: NewsOptions) {
    this.#options = options
    this.#reported = { role: 'follower', term: options.raft.currentTerm, leader: null }
  }

  subscribe(changed: (change: NodeChange) => void): () => void {
    this.#listeners.add(changed)
    return () => this.#listeners.delete(changed)
  }

  changed(change: NodeChange): void {
    for (const listener of this.#listeners) listener(change)
  }

  /** At the end of a turn. */
  reportRole(): void {
    const { raft, observer, leader: view, onLeader } = this.#options
    const { role, currentTerm: term, leader, roleReason } = raft
    const reported = this.#reported
    if (reported.role === role.name && reported.term === term && reported.leader === leader) return
    this.#reported = { role: role.name, term, leader }
    if (reported.role !== role.name) observer.event({ type: 'role', role: role.name, term, reason: roleReason })
    if (reported.leader !== leader) {
      observer.event({ type: 'leader', leader, term })
      onLeader()
    }
    if (reported.leader !== leader || reported.term !== term) this.changed({ type: 'leader', leader: view(), term })
    this.reportLeadership()
  }

  /** The application has taken more, or was put into another state. */
  reportLeadership(): void {
    const { raft, application, leader } = this.#options
    const { role, currentTerm: term } = raft
    const noopIndex = role.name === 'leader' ? role.noopIndex : null
    const { appliedIndex } = application
    for (const leadership of this.#leadership.next({ leader: leader(), term, noopIndex, appliedIndex })) {
      this.changed({ type: 'leadership', leadership })
    }
  }
}
