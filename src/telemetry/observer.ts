// Turns what happens in a node into log lines and measurements: one line an event, and none for what happens per command.

import type { NodeEvent, NodeObserver, SnapshotFile } from '../node/ports.ts'
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
        case 'snapshotTaken':
          logger.info(fields(event), `Took a snapshot through ${entryOf(event.file)}`)
          return
        case 'snapshotSkipped':
          logger.warn(fields(event), event.reason)
          return
        case 'snapshotSent':
          logger.info(fields(event), `Sent ${event.to} the snapshot through ${entryOf(event.file)}`)
          return
        case 'snapshotInstalled':
          logger.info(fields(event), `Installed the snapshot of ${event.from} through ${entryOf(event.file)}`)
          return
        case 'storage':
          if (event.isFull || event.isStalled) logger.error(fields(event), storageSentence(event))
          else logger.info(fields(event), 'The disk works again, and has room')
          return
        case 'compacted':
          logger.debug(fields(event), `The log begins with entry ${event.firstIndex}`)
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

function entryOf({ lastIncluded, sizeBytes }: SnapshotFile): string {
  return `entry ${lastIncluded.index}, ${sizeBytes} bytes`
}

function storageSentence({ isFull, isStalled }: { readonly isFull: boolean; readonly isStalled: boolean }): string {
  const hang = 'A write to the disk takes too long: this node does not lead until it ends'
  const full =
    'The disk is full: no proposals are taken here until there is room again; free space, or enlarge the disk'
  return [...(isStalled ? [hang] : []), ...(isFull ? [full] : [])].join('. ')
}

function isAsking(role: RoleName): boolean {
  return role === 'follower' || role === 'precandidate'
}

function fields({ type, ...rest }: NodeEvent): object {
  return { event: type, ...rest }
}
