// Binding an address, and saying in one line what would do when that fails. A socket file that a dead process
// left is removed only after nothing answered on it.

import { lstat, unlink } from 'node:fs/promises'
import type { Server } from 'node:http'
import { connect } from 'node:net'
import { exitCodes, FatalError } from '../errors.ts'
import type { ListenTarget } from './options.ts'

/** `setting` is the variable that holds the address. Resolves with the address that was bound. */
export async function listenOn(server: Server, target: ListenTarget, setting: string): Promise<ListenTarget> {
  if ('path' in target) await clearSocketPath(target.path, setting)
  await new Promise<void>((resolve, reject) => {
    const failed = (error: NodeJS.ErrnoException) => reject(cannotListen(setting, target, error))
    server.once('error', failed)
    server.listen('path' in target ? { path: target.path } : { host: target.host, port: target.port }, () => {
      server.off('error', failed)
      resolve()
    })
  })
  const bound = server.address()
  return 'host' in target && bound !== null && typeof bound === 'object'
    ? { host: target.host, port: bound.port }
    : target
}

async function clearSocketPath(path: string, setting: string): Promise<void> {
  const found = await lstat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return null
    throw cannotListen(setting, { path }, error)
  })
  if (found === null) return
  if (!found.isSocket()) {
    throw unavailable(setting, { path }, 'it is a file of another kind. Remove it or give another path')
  }
  if (await answers(path)) throw unavailable(setting, { path }, inUse(setting))
  await unlink(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw cannotListen(setting, { path }, error)
  })
}

/** Only a refusal proves that nobody listens: a full backlog or a missing permission does not. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ path })
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => {
      resolve(error.code !== 'ECONNREFUSED' && error.code !== 'ENOENT')
    })
  })
}

function cannotListen(setting: string, target: ListenTarget, error: NodeJS.ErrnoException): FatalError {
  switch (error.code) {
    case 'EADDRINUSE':
      return unavailable(setting, target, inUse(setting))
    case 'EACCES':
    case 'EPERM':
      return unavailable(
        setting,
        target,
        'this user may not. Take a port above 1023, or a directory that it may write to',
      )
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return unavailable(setting, target, 'no interface of this machine has that address. Give one that it has')
    default:
      return unavailable(setting, target, `the system says ${error.code ?? error.message}. Give another address`)
  }
}

function inUse(setting: string): string {
  return `another process listens there. Stop it, or give ${setting} another address`
}

function unavailable(setting: string, target: ListenTarget, why: string): FatalError {
  const address = 'path' in target ? `unix:${target.path}` : `${target.host}:${target.port}`
  return new FatalError(exitCodes.unavailable, `Cannot listen on ${setting}=${address}: ${why}.`)
}
