// Turns what happens in a node into log lines and measurements: one line an event, and none for what happens per command.

import type { NodeEvent, NodeObserver } from '../node/ports.ts'
import type { RoleName } from '../raft/work.ts'
import type { Logger } from './logger.ts'
import type { Metrics } from './metrics.ts'

export interface ObserverOptions {
  readonly logger: Logger
  readonly metrics: Pick<Metrics, 'observe'>
}

export function createObserver({ logger, metrics }: ObserverOptions): NodeObserver {
  const connected = new Map<string, boolean>()
  let lastRole: RoleName = 'follower'

  return {
    event(event) {
      metrics.observe(event)
      switch (event.type) {
        case 'role': {
          // A node that is cut off asks for pre-votes until it is back; that is no news after the leader was lost.
          const asking = isAsking(lastRole) && isAsking(event.role)
          lastRole = event.role
          logger[asking ? 'debug' : 'info'](
            fields(event),
            `Became ${event.role} in term ${event.term}: ${event.reason}`,
          )
          return
        }
        case 'leader':
          if (event.leader === null) logger.warn(fields(event), `No leader is known in term ${event.term}`)
          else logger.info(fields(event), `${event.leader} leads in term ${event.term}`)
          return
        case 'configuration': {
          const members = event.configuration.members.map(({ id, role }) => (role === 'voter' ? id : `${id} (${role})`))
          logger.info(fields(event), `Members since index ${event.index}: ${members.join(', ')}`)
          return
        }
        case 'peer':
          // A dial that is refused again and again is one event.
          if (connected.get(event.id) === event.connected) return
          connected.set(event.id, event.connected)
          if (event.connected) logger.info(fields(event), `Connected to ${event.id}`)
          else logger.warn(fields(event), `Not connected to ${event.id}`)
          return
        case 'saved':
        case 'committed':
        case 'applied':
          return
        default:
          return event satisfies never
      }
    },
  }
}

function isAsking(role: RoleName): boolean {
  return role === 'follower' || role === 'precandidate'
}

function fields({ type, ...rest }: NodeEvent): object {
  return { event: type, ...rest }
}
