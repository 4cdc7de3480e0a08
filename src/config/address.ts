// Where to listen, as typed by a person: host:port with IPv6 in brackets, or unix:/path. Parsers return null for what is neither.

import { isIPv4, isIPv6 } from 'node:net'

export interface Address {
  /** A name, an IPv4 address, or an IPv6 address without brackets. */
  readonly host: string
  readonly port: number
}

export type Listen = ({ readonly kind: 'tcp' } & Address) | { readonly kind: 'unix'; readonly path: string }

/** The kernel's limit for the path of a socket (sun_path), less its closing zero. */
const maxSocketPathBytes = 107

/** Port 0, for which the kernel picks a free one, is taken only where `minPort` allows it. */
export function parseAddress(text: string, minPort = 0): Address | null {
  const match = /^(?:\[([^\]]+)\]|([^:[\]]+)):([0-9]{1,5})$/.exec(text)
  if (match === null) return null
  const [, bracketed, plain, digits] = match
  const port = Number(digits)
  if (port > 65_535 || port < minPort) return null
  if (bracketed !== undefined) return isIPv6(bracketed) ? { host: bracketed, port } : null
  return plain !== undefined && isHost(plain) ? { host: plain, port } : null
}

export function parseListen(text: string): Listen | null {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    const fits = path.startsWith('/') && !path.includes('\0') && Buffer.byteLength(path) <= maxSocketPathBytes
    return fits ? { kind: 'unix', path } : null
  }
  const address = parseAddress(text)
  return address === null ? null : { kind: 'tcp', ...address }
}

export function formatAddress(address: Address | Listen): string {
  if ('path' in address) return `unix:${address.path}`
  const { host, port } = address
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`
}

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIPv4(host) && host.startsWith('127.'))
}

function isHost(text: string): boolean {
  // What is made of digits and dots alone is an address, and then it has to be a right one.
  if (/^[0-9.]+$/.test(text)) return isIPv4(text)
  return text.length <= 253 && /^[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?$/.test(text)
}
