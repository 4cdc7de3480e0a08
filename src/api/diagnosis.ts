// What is wrong with a cluster, as one node sees it, in one sentence: the worst thing first.

import type { StatusResponse } from './schemas.ts'

type Status = Omit<StatusResponse, 'diagnosis'>

/** So many entries may be on their way to the state machine of a healthy, busy node. */
const usualApplyBacklog = 10_000

export function diagnose(status: Status): string {
  const { members, leader, holdsQuorum, applierBlocked, observerBlocked, poison } = status
  const voters = members.filter((member) => member.role === 'voter')
  const reachable = voters.filter((member) => member.self || member.reachable).length
  const needed = Math.floor(voters.length / 2) + 1
  const count = `${reachable} of ${plural(voters.length, 'member')} reachable, ${needed} ${needed === 1 ? 'is' : 'are'} needed`

  if (!members.some((member) => member.self)) return `Not a member: the cluster goes on without ${status.id}.`
  if (status.isStorageStalled)
    return `The disk of ${status.id} does not answer: a write has been under way for too long.`
  const refusals = refused(status)
  if (leader === null) {
    if (reachable >= needed) return `No leader: ${count}; an election is due.`
    return refusals === null ? `No leader: ${count}.` : `No leader: ${count}; ${refusals}`
  }
  if (leader.self && !holdsQuorum) return `No quorum: ${leader.id} was elected, but no majority confirms it; ${count}.`
  if (status.isStorageFull)
    return `The disk of ${status.id} is full: it takes no commands until there is room; free some space, it goes on by itself.`
  if (poison !== null)
    return `The application refuses the command at ${poison.index} for good (${poison.reason.replace(/\.$/, '')}), so delivery stops before it: mend the application, or \`raft-sidecar skip ${poison.index}\` leaves it out on every node.`
  if (applierBlocked !== null) return `Commands are not applied: ${sentence(applierBlocked)}`
  if (observerBlocked !== null) return `The application is not told of commands: ${sentence(observerBlocked)}`
  if (refusals !== null) return refusals
  const absent = members.filter((member) => !member.self && !member.reachable).map((member) => member.id)
  if (absent.length > 0) return `Not reachable from ${status.id}: ${absent.join(', ')}; ${count}.`
  const backlog = status.commitIndex - status.appliedIndex
  if (backlog > usualApplyBacklog) return `Behind: ${backlog} committed entries are still to be applied.`
  if (status.compactionBlocked !== null) return `The log grows: ${sentence(status.compactionBlocked)}`
  const failed = status.checks.find((check) => !check.ok)
  if (failed !== undefined)
    return `Not ready (${failed.name})${failed.why === null ? '.' : `: ${sentence(failed.why)}`}`
  return members.length === 1
    ? 'All is well: the only member leads.'
    : `All is well: ${leader.id} leads, all ${members.length} members are reachable.`
}

/** Null when everybody who is reached speaks to this node. */
function refused({ id, members }: Status): string | null {
  const silent = members.filter((member) => member.refusal !== null)
  const first = silent[0]?.refusal
  if (first === undefined || first === null) return null
  return `${silent.map((member) => member.id).join(', ')} and ${id} do not speak to each other: ${sentence(first)}`
}

function plural(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

function sentence(text: string): string {
  return /[.!?]$/.test(text) ? text : `${text}.`
}
