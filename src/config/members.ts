// MEMBERS=n1=10.0.0.1:4000,n2=…: whom the cluster is founded with. Names and addresses are unique, so that no vote is counted twice.

import type { Member } from '../raft/configuration.ts'
import { formatAddress, parseAddress } from './address.ts'

const maxMembers = 7

export type ParsedMembers = { readonly members: readonly Member[] } | { readonly problem: string }

export function parseMembers(text: string, nodeId: string): ParsedMembers {
  const members: Member[] = []
  for (const item of text.split(',').map((part) => part.trim())) {
    const match = /^([A-Za-z0-9._-]{1,64})=(.+)$/.exec(item)
    const [, id, typed] = match ?? []
    if (id === undefined || typed === undefined)
      return { problem: `holds ${JSON.stringify(item)}: write each member as id=host:port` }
    const address = parseAddress(typed, 1)
    if (address === null) return { problem: `gives ${id} no usable address: write host:port, with IPv6 in brackets` }
    members.push({ id, peerAddress: formatAddress(address), role: 'voter' })
  }
  if (members.length > maxMembers) return { problem: `names ${members.length} members: give at most ${maxMembers}` }
  const twice = repeated(members.map((member) => member.id))
  if (twice !== null) return { problem: `names ${twice} twice: give each member an id of its own` }
  const shared = repeated(members.map((member) => member.peerAddress))
  if (shared !== null) return { problem: `gives ${shared} to two members: give each an address of its own` }
  if (!members.some((member) => member.id === nodeId))
    return { problem: `does not name this node: add ${nodeId}, or correct NODE_ID` }
  return { members }
}

function repeated(values: readonly string[]): string | null {
  return values.find((value, at) => values.indexOf(value) !== at) ?? null
}
