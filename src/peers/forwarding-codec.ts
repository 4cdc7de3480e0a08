// Commands that one node passes on to another, and what the other says of them. Payloads go behind the header as they are; before them, keys and
// trace contexts, which the header would not have room for.

import type { ForwardedProposal, ForwardedProposals, ForwardRefused, ForwardRepeated, Repeat } from '../node/ports.ts'
import { type Frame, frame, ProtocolError } from './frames.ts'
import { type Fields, maxUint48, packHeader } from './header.ts'
import { type Ends, messageTypes } from './message-types.ts'
import { sliceList } from './slice-list.ts'

/** Nineteen bytes of header each at most, of the 65,535 that a header may have. */
export const maxProposalsPerFrame = 2048

/** Twenty-seven bytes of header each at most. */
export const maxRepeatsPerFrame = 1000

/** As an entry bounds them (EntryFields). */
const maxAttributeBytes = 255

const proposalKinds = ['json', 'bytes', 'skip'] as const satisfies ForwardedProposal['kind'][]
const refusalReasons = [
  'not-leader',
  'transferring',
  'tail-full',
  'storage-full',
] as const satisfies ForwardRefused['reason'][]

export function encodeForwardedProposals(message: ForwardedProposals): Frame {
  const { term, origin, proposals } = message
  const sequences = proposals.map(({ sequence }) => sequence)
  const kinds = proposals.map(({ kind }) => proposalKinds.indexOf(kind))
  const keySizes = proposals.map(({ key }) => key?.length ?? 0)
  const traceparentSizes = proposals.map(({ traceparent }) => traceparent?.length ?? 0)
  const sizes = proposals.map(({ payload }) => payload.length)
  const attributes = proposals.map(({ key, traceparent }) => (key ?? '') + (traceparent ?? '')).join('')
  const payloads = proposals.map(({ payload }) => payload)
  return frame(
    packHeader([messageTypes.ForwardedProposals, term, origin, sequences, kinds, keySizes, traceparentSizes, sizes]),
    attributes === '' ? payloads : [Buffer.from(attributes, 'latin1'), ...payloads],
  )
}

export function decodeForwardedProposals(fields: Fields, term: number, body: Uint8Array, ends: Ends) {
  const origin = fields.integer('origin', maxUint48)
  const sequences = fields.integers('sequences', maxProposalsPerFrame, maxUint48)
  const kinds = fields.integers('kinds', maxProposalsPerFrame, proposalKinds.length - 1)
  const keySizes = fields.integers('sizes of keys', maxProposalsPerFrame, maxAttributeBytes)
  const traceparentSizes = fields.integers('sizes of trace contexts', maxProposalsPerFrame, maxAttributeBytes)
  const sizes = fields.integers('sizes', maxProposalsPerFrame, body.length)
  if ([kinds, keySizes, traceparentSizes, sizes].some((list) => list.length !== sequences.length))
    throw new ProtocolError('ForwardedProposals has lists of different lengths')
  const announced = sum(keySizes) + sum(traceparentSizes) + sum(sizes)
  if (announced !== body.length)
    throw new ProtocolError(`ForwardedProposals announced ${announced} bytes behind its header, has ${body.length}`)
  const attributes = new Attributes(body)
  let end = sum(keySizes) + sum(traceparentSizes)
  const proposals = sequences.map((sequence, i): ForwardedProposal => {
    const kind = proposalKinds[kinds[i] ?? -1]
    if (kind === undefined) throw new ProtocolError('ForwardedProposals has an unknown kind')
    const key = attributes.take(keySizes[i] ?? 0)
    const traceparent = attributes.take(traceparentSizes[i] ?? 0)
    // No entry could hold it, and the leader would fail over it.
    if (kind === 'skip' && (key !== null || traceparent !== null))
      throw new ProtocolError('ForwardedProposals has a skip with a key or a trace context')
    const start = end
    end += sizes[i] ?? 0
    return { sequence, kind, key, traceparent, payload: body.subarray(start, end) }
  })
  return { type: 'ForwardedProposals', from: ends.from, to: ends.to, term, origin, proposals } as const
}

/** Keys and trace contexts, one behind the other. */
class Attributes {
  readonly #bytes: Buffer
  #at = 0

  constructor(body: Uint8Array) {
    this.#bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  }

  take(sizeBytes: number): string | null {
    if (sizeBytes === 0) return null
    const text = this.#bytes.toString('latin1', this.#at, this.#at + sizeBytes)
    if (!/^[\x21-\x7e]+$/.test(text))
      throw new ProtocolError('ForwardedProposals has a key or a trace context that is not visible ASCII')
    this.#at += sizeBytes
    return text
  }
}

export function splitForwardedProposals(
  message: ForwardedProposals,
  maxBodyBytes: number,
): readonly ForwardedProposals[] {
  const parts: ForwardedProposals[] = []
  let start = 0
  let bytes = 0
  for (const [i, { key, traceparent, payload }] of message.proposals.entries()) {
    const size = (key?.length ?? 0) + (traceparent?.length ?? 0) + payload.length
    if (i > start && (i - start === maxProposalsPerFrame || bytes + size > maxBodyBytes)) {
      parts.push({ ...message, proposals: message.proposals.slice(start, i) })
      start = i
      bytes = 0
    }
    bytes += size
  }
  if (start === 0) return [message]
  parts.push({ ...message, proposals: message.proposals.slice(start) })
  return parts
}

export function encodeForwardRefused({ term, origin, sequences, reason }: ForwardRefused): Frame {
  return frame(packHeader([messageTypes.ForwardRefused, term, origin, sequences, refusalReasons.indexOf(reason)]))
}

export function decodeForwardRefused(fields: Fields, term: number, ends: Ends): ForwardRefused {
  const origin = fields.integer('origin', maxUint48)
  const sequences = fields.integers('sequences', maxProposalsPerFrame, maxUint48)
  const reason = refusalReasons[fields.integer('reason')]
  if (reason === undefined) throw new ProtocolError('ForwardRefused has an unknown reason')
  return { type: 'ForwardRefused', from: ends.from, to: ends.to, term, origin, sequences, reason }
}

export function splitForwardRefused(message: ForwardRefused): readonly ForwardRefused[] {
  return sliceList(message.sequences, maxProposalsPerFrame).map((sequences) => ({ ...message, sequences }))
}

/** The index 0 is unused: it stands, with the term 0, for a key that came before with another command. */
export function encodeForwardRepeated({ term, origin, repeats }: ForwardRepeated): Frame {
  const sequences = repeats.map(({ sequence }) => sequence)
  const terms = repeats.map(({ first }) => first?.term ?? 0)
  const indexes = repeats.map(({ first }) => first?.index ?? 0)
  return frame(packHeader([messageTypes.ForwardRepeated, term, origin, sequences, terms, indexes]))
}

export function decodeForwardRepeated(fields: Fields, term: number, ends: Ends): ForwardRepeated {
  const origin = fields.integer('origin', maxUint48)
  const sequences = fields.integers('sequences', maxRepeatsPerFrame, maxUint48)
  const terms = fields.integers('terms', maxRepeatsPerFrame, Number.MAX_SAFE_INTEGER)
  const indexes = fields.integers('indexes', maxRepeatsPerFrame, Number.MAX_SAFE_INTEGER)
  if (terms.length !== sequences.length || indexes.length !== sequences.length)
    throw new ProtocolError('ForwardRepeated has lists of different lengths')
  const repeats = sequences.map((sequence, i): Repeat => {
    const first = { term: terms[i] ?? 0, index: indexes[i] ?? 0 }
    if (first.index === 0 && first.term === 0) return { sequence, first: null }
    if (first.index === 0 || first.term === 0)
      throw new ProtocolError(`ForwardRepeated names the entry ${first.term}/${first.index} (term/index)`)
    return { sequence, first }
  })
  return { type: 'ForwardRepeated', from: ends.from, to: ends.to, term, origin, repeats }
}

export function splitForwardRepeated(message: ForwardRepeated): readonly ForwardRepeated[] {
  return sliceList(message.repeats, maxRepeatsPerFrame).map((repeats) => ({ ...message, repeats }))
}

function sum(sizes: readonly number[]): number {
  let total = 0
  for (const size of sizes) total += size
  return total
}
