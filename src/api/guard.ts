// Who may speak to this listener: a web page in a browser on the same machine may not (neither by DNS rebinding
// nor across sites), nor may anyone without the token when there is one.

import { timingSafeEqual } from 'node:crypto'
import type { IncomingHttpHeaders } from 'node:http'
import type { ListenTarget } from './options.ts'
import { Refusal } from './problem.ts'

const localNames: ReadonlySet<string> = new Set(['localhost', '127.0.0.1', '[::1]'])

export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.[0-9]{1,3}){3}$/.test(host)
}

/** Null when the request may pass. */
export type CheckSite = (headers: IncomingHttpHeaders) => Refusal | null

export function createSiteCheck(listen: ListenTarget): CheckSite {
  const loopback = 'host' in listen && isLoopback(listen.host)
  const own = 'host' in listen ? listen.host : ''
  const isLocal = (authority: string) => {
    const name = withoutPort(authority)
    return localNames.has(name) || name === own
  }
  // Nearly every request carries the same Host as the one before.
  let lastPassed: string | null = null
  return ({ host, origin }) => {
    // HTTP/1.0 without Host is a load balancer's check, never a browser.
    if (loopback && host !== undefined && host !== lastPassed) {
      if (!isLocal(host)) {
        return forbidden(`The Host header ${JSON.stringify(host)} is not this machine: use localhost or 127.0.0.1.`)
      }
      lastPassed = host
    }
    if (origin === undefined) return null
    const authority = /^https?:\/\/([^/]+)$/i.exec(origin)?.[1]
    if (authority !== undefined && (isLocal(authority) || authority.toLowerCase() === host?.toLowerCase())) return null
    return forbidden(`A page of ${JSON.stringify(origin)} may not call this API: only one of this machine may.`)
  }
}

/** A Bearer token, compared in a time that says nothing about how much of it was right. */
export function createTokenCheck(token: string): CheckSite {
  const expected = Buffer.from(`Bearer ${token}`)
  const given = Buffer.alloc(expected.length)
  return ({ authorization }) => {
    if (authorization !== undefined) {
      given.fill(0)
      given.write(authorization.slice(0, 7).toLowerCase() === 'bearer ' ? `Bearer ${authorization.slice(7)}` : '')
      const same = timingSafeEqual(given, expected)
      if (same && Buffer.byteLength(authorization) === expected.length) return null
    }
    return new Refusal(401, 'unauthorized', 'Send the header `Authorization: Bearer <API_TOKEN>`.')
  }
}

function withoutPort(authority: string): string {
  return authority.replace(/:[0-9]*$/, '').toLowerCase()
}

function forbidden(detail: string): Refusal {
  return new Refusal(403, 'forbidden-host', detail)
}
