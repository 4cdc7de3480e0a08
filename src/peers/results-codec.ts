// What commands answered, asked of a node that may know: JSON texts, which go behind the header one after the other.

import type { KeptResult, ResultsRequest, ResultsResponse } from '../node/ports.ts'
import { type Frame, frame, ProtocolError } from './frames.ts'
import { type Fields, packHeader } from './header.ts'
import { type Ends, messageTypes } from './message-types.ts'
import { sliceList } from './slice-list.ts'

export const maxResultsPerFrame = 200

export const maxResultBytes = 4096

export function encodeResultsRequest({ term, indexes }: ResultsRequest): Frame {
  return frame(packHeader([messageTypes.ResultsRequest, term, indexes]))
}

export function decodeResultsRequest(fields: Fields, term: number, ends: Ends): ResultsRequest {
  return { type: 'ResultsRequest', from: ends.from, to: ends.to, term, indexes: decodeIndexes(fields) }
}

export function splitResultsRequest(message: ResultsRequest): readonly ResultsRequest[] {
  return sliceList(message.indexes, maxResultsPerFrame).map((indexes) => ({ ...message, indexes }))
}

/** Throws at a result past 4 KiB: nobody keeps one. */
export function encodeResultsResponse({ term, results }: ResultsResponse): Frame {
  const texts = results.map(({ resultJson }) => Buffer.from(resultJson))
  const indexes = results.map(({ index }) => index)
  const sizes = texts.map(({ length }) => length)
  for (const [i, size] of sizes.entries()) {
    if (size === 0 || size > maxResultBytes)
      throw new Error(
        `Cannot send the result of command ${indexes[i]}: it has ${size} bytes, not 1 to ${maxResultBytes}`,
      )
  }
  return frame(packHeader([messageTypes.ResultsResponse, term, indexes, sizes]), texts)
}

export function decodeResultsResponse(fields: Fields, term: number, body: Uint8Array, ends: Ends): ResultsResponse {
  const indexes = decodeIndexes(fields)
  const sizes = fields.integers('sizes', maxResultsPerFrame, maxResultBytes)
  if (sizes.length !== indexes.length) throw new ProtocolError('ResultsResponse has lists of different lengths')
  let end = 0
  const results = indexes.map((index, i): KeptResult => {
    const start = end
    end += sizes[i] ?? 0
    return { index, resultJson: decodeJson(body.subarray(start, end)) }
  })
  if (end !== body.length)
    throw new ProtocolError(`ResultsResponse announced ${end} bytes of results, has ${body.length}`)
  return { type: 'ResultsResponse', from: ends.from, to: ends.to, term, results }
}

export function splitResultsResponse(message: ResultsResponse, maxBodyBytes: number): readonly ResultsResponse[] {
  const perFrame = Math.min(Math.max(Math.floor(maxBodyBytes / maxResultBytes), 1), maxResultsPerFrame)
  return sliceList(message.results, perFrame).map((results) => ({ ...message, results }))
}

function decodeIndexes(fields: Fields): readonly number[] {
  const indexes = fields.integers('indexes', maxResultsPerFrame, Number.MAX_SAFE_INTEGER)
  if (indexes.includes(0)) throw new ProtocolError('a header names the command at index 0, which is unused')
  return indexes
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })

/** Whoever waits for the result is handed it as a value: what is no JSON is found out here. */
function decodeJson(bytes: Uint8Array): string {
  try {
    const text = utf8.decode(bytes)
    JSON.parse(text)
    return text
  } catch (error) {
    throw new ProtocolError('ResultsResponse has a result that is not JSON', { cause: error })
  }
}
