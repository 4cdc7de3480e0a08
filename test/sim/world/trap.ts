// While a history runs, nothing may reach the real world: timers, clocks, chance, files, sockets, processes. What does throws, and is reported
// even when its caller swallows the error.

import childProcess from 'node:child_process'
import crypto from 'node:crypto'
import dgram from 'node:dgram'
import dns from 'node:dns'
import fs from 'node:fs'
import fsPromises from 'node:fs/promises'
import http from 'node:http'
import https from 'node:https'
import { syncBuiltinESMExports } from 'node:module'
import net from 'node:net'
import timers from 'node:timers'
import timersPromises from 'node:timers/promises'
import tls from 'node:tls'

let report: ((what: string) => void) | null = null
let isInstalled = false

const timerNames = ['setTimeout', 'setInterval', 'setImmediate'] as const
const randomNames = [
  'randomBytes',
  'randomFill',
  'randomFillSync',
  'randomInt',
  'randomUUID',
  'getRandomValues',
  'generateKeyPairSync',
]

/** Runs synchronously with the trap set; `reached` hears of each attempt. */
export function withTrap<T>(reached: (what: string) => void, run: () => T): T {
  install()
  report = reached
  try {
    return run()
  } finally {
    report = null
  }
}

function install(): void {
  if (isInstalled) return
  isInstalled = true
  for (const name of timerNames) guard(globalThis, name, name)
  guard(globalThis, 'fetch', 'fetch')
  guard(Math, 'random', 'Math.random')
  guard(performance, 'now', 'performance.now')
  guard(process, 'hrtime', 'process.hrtime')
  guard(process, 'uptime', 'process.uptime')
  guard(globalThis.crypto, 'getRandomValues', 'crypto.getRandomValues')
  guard(globalThis.crypto, 'randomUUID', 'crypto.randomUUID')
  for (const name of randomNames) guard(crypto, name, `crypto.${name}`)
  guardAll({ fs, net, dgram, dns, http, https, tls, timers })
  guardAll({ 'fs/promises': fsPromises, 'timers/promises': timersPromises, child_process: childProcess })
  guardDate()
  syncBuiltinESMExports()
}

function guardAll(modules: Readonly<Record<string, object>>): void {
  for (const [module, exports] of Object.entries(modules)) {
    for (const name of Object.keys(exports)) {
      // Classes stay: they are extended at load, and instances of them need one of the functions.
      if (/^[a-z]/.test(name)) guard(exports, name, `${module}.${name}`)
    }
  }
}

function guard(holder: object, name: string, what: string): void {
  const original: unknown = Reflect.get(holder, name)
  if (typeof original !== 'function') return
  const guarded = function (this: unknown, ...args: unknown[]): unknown {
    if (report !== null) spring(what)
    return new.target === undefined ? Reflect.apply(original, this, args) : Reflect.construct(original, args)
  }
  // Overloads and the like (promisify's symbols, hrtime.bigint) stay reachable.
  Object.setPrototypeOf(guarded, original)
  Reflect.defineProperty(holder, name, { value: guarded, configurable: true, writable: true })
}

function guardDate(): void {
  const original = Date
  const now = original.now
  original.now = () => {
    if (report !== null) spring('Date.now')
    return now()
  }
  globalThis.Date = new Proxy(original, {
    construct(target, args) {
      if (report !== null && args.length === 0) spring('new Date()')
      return Reflect.construct(target, args)
    },
    apply(target, self, args) {
      if (report !== null) spring('Date()')
      return Reflect.apply(target, self, args)
    },
  })
}

function spring(what: string): never {
  report?.(what)
  throw new Error(`A history reached the real ${what}`)
}
