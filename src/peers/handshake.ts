// Who is at the other end. Both ends of a connection say who they are, and how far they are, before anything else is said; either may
// refuse, with a code and a sentence. A hello of any protocol version begins with the mark and the version, whatever follows.

import type { Run, Standing } from '../node/ports.ts'
import type { NodeId } from '../raft/entry.ts'
import { type Channel, channels } from './channel.ts'
import { type Frame, frame, ProtocolError } from './frames.ts'
import { controlTypes, type Fields, packHeader } from './header.ts'

export const protocolVersion = 3
export const maxHandshakeBytes = 16 * 1024

const mark = 'raft-sidecar'
const amnesia = 'amnesia'
const separator = ' '
const maxNameLength = 256
/** Of what is drawn at random: 64 bits in hexadecimal, with room to spare; what is remembered of each member is bounded by it. */
const maxDrawnLength = 64
/** Many more than are kept. */
const maxFormerRuns = 127
const maxUrlLength = 2048
const maxSentenceLength = 1024

export interface Identity {
  readonly id: NodeId
  readonly cluster: string
  /** Where the application beside this node is to be found, for clients of other nodes. */
  readonly appUrl: string | null
  /** Of the configuration that the cluster was founded with; null when this node was not there. */
  readonly foundingDigest: string | null
}

export interface Hello extends Identity {
  /** Whom the speaker believes to speak to. */
  readonly to: NodeId
  /** What the connection is for; the answer repeats it. */
  readonly channel: Channel
  readonly standing: Standing
}

export type RefusalCode =
  | 'protocol-version'
  | 'cluster'
  | 'own-id'
  | 'wrong-node'
  | 'not-a-member'
  | 'founding'
  | 'amnesia'

export interface Refusal {
  /** From the wire it may be one that a later version brought. */
  readonly code: RefusalCode | (string & {})
  readonly sentence: string
  /** With `amnesia`, and only then: where the one who refuses stands itself, so that the other can judge whether to believe it. */
  readonly standing?: Standing
}

export type Greeting =
  | { readonly type: 'hello'; readonly hello: Hello }
  | { readonly type: 'otherVersion'; readonly version: number }
  | { readonly type: 'refused'; readonly refusal: Refusal }

export function encodeHello(hello: Hello): Frame {
  const { id, cluster, appUrl, foundingDigest, to, channel, standing } = hello
  const who = [cluster, id, to, appUrl, foundingDigest] as const
  return frame(packHeader([controlTypes.hello, mark, protocolVersion, ...who, channel, ...standingFields(standing)]))
}

export function encodeRefusal({ code, sentence, standing }: Refusal): Frame {
  const accuser = standing === undefined ? [] : standingFields(standing)
  return frame(packHeader([controlTypes.refused, code, sentence.slice(0, maxSentenceLength), ...accuser]))
}

function standingFields({ incarnation, run, currentTerm, lastIndex }: Standing) {
  const former = run.former.length === 0 ? null : run.former.join(separator)
  return [incarnation, run.number, run.id, former, currentTerm, lastIndex] as const
}

/** The first frame of a connection; a ProtocolError when it is anything but a greeting. */
export function decodeGreeting(fields: Fields, body: Uint8Array): Greeting {
  if (body.length > 0) throw new ProtocolError('a greeting came with bytes behind its header')
  if (fields.type === controlTypes.refused) {
    const refusal = { code: fields.text('code', maxNameLength), sentence: fields.text('sentence', maxSentenceLength) }
    const accuser = refusal.code === amnesia ? { standing: decodeStanding(fields) } : {}
    return { type: 'refused', refusal: { ...refusal, ...accuser } }
  }
  if (fields.type !== controlTypes.hello) throw new ProtocolError('the first frame is not a greeting')
  if (fields.text('mark', maxNameLength) !== mark) throw new ProtocolError('a greeting has another mark')
  const version = fields.integer('version')
  if (version !== protocolVersion) return { type: 'otherVersion', version }
  const hello = {
    cluster: fields.text('cluster', maxNameLength),
    id: fields.text('id', maxNameLength),
    to: fields.text('to', maxNameLength),
    appUrl: fields.textOrNull('appUrl', maxUrlLength),
    foundingDigest: fields.textOrNull('foundingDigest', maxNameLength),
    channel: decodeChannel(fields),
    standing: decodeStanding(fields),
  }
  fields.end()
  return { type: 'hello', hello }
}

function decodeStanding(fields: Fields): Standing {
  return {
    incarnation: fields.text('incarnation', maxDrawnLength),
    run: decodeRun(fields),
    currentTerm: fields.integer('currentTerm'),
    lastIndex: fields.integer('lastIndex'),
  }
}

function decodeRun(fields: Fields): Run {
  const number = fields.integer('run number')
  const id = fields.text('run', maxDrawnLength)
  const former = fields.textOrNull('former runs', maxFormerRuns * (maxDrawnLength + 1))?.split(separator) ?? []
  if (former.length > maxFormerRuns || former.length >= number || !former.every(isDrawn))
    throw new ProtocolError('a greeting has no valid former runs')
  return { number, id, former }
}

function isDrawn(text: string): boolean {
  return text.length > 0 && text.length <= maxDrawnLength
}

function decodeChannel(fields: Fields): Channel {
  const name = fields.text('channel', maxNameLength)
  const channel = channels.find((each) => each === name)
  if (channel === undefined) throw new ProtocolError('a greeting is for an unknown channel')
  return channel
}

export function refuseAmnesia(sentence: string, accuser: Standing): Refusal {
  return { code: amnesia, sentence, standing: accuser }
}

export function refuseVersion(version: number): Refusal {
  return {
    code: 'protocol-version',
    sentence: `it speaks protocol ${version}, this node speaks ${protocolVersion}: run the same release on every node`,
  }
}

/** What is wrong with a caller; null when nothing is. */
export function judgeCaller(own: Identity, hello: Hello, isMember: (id: NodeId) => boolean): Refusal | null {
  const { id, to } = hello
  const refusal = judgeCluster(own, hello)
  if (refusal !== null) return refusal
  if (id === own.id)
    return {
      code: 'own-id',
      sentence: `it calls itself ${id}, which is the id of the node it called: give each node a NODE_ID of its own, and check the members' addresses`,
    }
  if (to !== own.id)
    return { code: 'wrong-node', sentence: `it looks for ${to}, this node is ${own.id}: check the members' addresses` }
  if (!isMember(id))
    return {
      code: 'not-a-member',
      sentence: `${id} is not among the members that ${own.id} knows: check its NODE_ID, or add it to the cluster`,
    }
  return judgeFounding(own, hello)
}

/** The same of the one who answered a call. Throws a ProtocolError at the answer to another one. */
export function judgeAnswer(own: Identity, hello: Hello, dialled: NodeId, channel: Channel): Refusal | null {
  const refusal = judgeCluster(own, hello)
  if (refusal !== null) return refusal
  if (hello.id !== dialled || hello.to !== own.id)
    return {
      code: 'wrong-node',
      sentence: `${hello.id} answered ${hello.to} where ${dialled} was to answer ${own.id}: check the members' addresses`,
    }
  if (hello.channel !== channel)
    throw new ProtocolError(`a call for ${channel} was answered with one for ${hello.channel}`)
  return judgeFounding(own, hello)
}

function judgeCluster(own: Identity, { cluster }: Hello): Refusal | null {
  if (cluster === own.cluster) return null
  return {
    code: 'cluster',
    sentence: `it belongs to cluster '${cluster}', this node to '${own.cluster}': check CLUSTER and the members' addresses`,
  }
}

function judgeFounding(own: Identity, { foundingDigest }: Hello): Refusal | null {
  if (foundingDigest === null || own.foundingDigest === null || foundingDigest === own.foundingDigest) return null
  return {
    code: 'founding',
    sentence: `it was founded with other members, or restored from another backup (digest ${foundingDigest}, here ${own.foundingDigest}): MEMBERS must name the same ids on every node at its first start, and a backup is restored on every node; start the wrong one anew on an empty DATA_DIR`,
  }
}
