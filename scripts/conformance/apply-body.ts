// The body of POST {APP_URL}/apply, written from the contract and not by the sidecar's own code: a fault there would else be a fault here.

import type { Entry } from '../../src/raft/entry.ts'

/** What a later version of the contract may add. */
export const unknownFields = '"added":{"by":["a later version",1,null]},'

export interface ApplyBodyOptions {
  /** Members with a comma behind each, put in front of the known ones of the batch and of every command. */
  readonly extra?: { readonly batch: string; readonly command: string }
}

export const sender = { cluster: 'conformance', node: 'n1' }

export function applyBody(after: number, commands: readonly Entry[], { extra }: ApplyBodyOptions = {}): Buffer {
  const each = commands.map(({ index, term, timestampMs, kind, payload, key, traceparent }) => {
    const text = Buffer.from(payload)
    const attributes = JSON.stringify({
      index,
      term,
      timestamp: new Date(timestampMs).toISOString(),
      ...(key === null ? {} : { key }),
      ...(traceparent === null ? {} : { traceparent }),
    })
    const command = kind === 'bytes' ? `"bytes":"${text.toString('base64')}"` : `"command":${text}`
    return `{${extra?.command ?? ''}${attributes.slice(1, -1)},${command}}`
  })
  const { cluster, node } = sender
  return Buffer.from(
    `{${extra?.batch ?? ''}"cluster":"${cluster}","node":"${node}","after":${after},"commands":[${each}]}`,
  )
}
