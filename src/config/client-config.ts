// What the command line needs to find the API of a sidecar on this machine: the same variables that the sidecar itself was started with.

import { Type } from 'typebox'
import { type Address, formatAddress, parseListen } from './address.ts'
import { type Environment, readEnvironment, readSettings } from './environment.ts'
import { badSetting } from './problems.ts'
import { settings, wanted } from './settings.ts'

export interface ClientConfig {
  /** http://host:port, or unix:/path. */
  readonly api: string
  readonly apiToken: string | null
}

export interface LoadOptions {
  /** Where `.env` and relative paths are looked for. */
  readonly workingDirectory?: string
}

const clientSettings = Type.Pick(settings, ['API_LISTEN', 'API_TOKEN'])

/** Throws FatalError `configuration`, as loadConfig does. */
export function loadClientConfig(env: Environment = process.env, options: LoadOptions = {}): ClientConfig {
  const workingDirectory = options.workingDirectory ?? process.cwd()
  const given = readSettings(clientSettings, readEnvironment(env, workingDirectory), workingDirectory)
  const listen = parseListen(given.API_LISTEN)
  if (listen === null) throw badSetting('API_LISTEN', given.API_LISTEN, `does not fit: ${wanted('API_LISTEN')}`)
  const api = listen.kind === 'unix' ? `unix:${listen.path}` : `http://${formatAddress(dialable(listen))}`
  return Object.freeze({ api, apiToken: given.API_TOKEN ?? null })
}

/** A wildcard is no address to dial; the loopback of its family is. */
function dialable({ host, port }: Address): Address {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port }
  if (host === '::') return { host: '::1', port }
  return { host, port }
}
