// What each command asks of the sidecar, and how its answer reads.

import type { CallOptions, Client, CommandResponse, Leader, LoggedCommand, WriteOptions } from '../client/client.ts'
import { cliExitCodes } from './exit-codes.ts'
import { CliFailure } from './failure.ts'
import { parseJson } from './input.ts'
import { memberTable } from './member-table.ts'
import type { Printed } from './sidecar-call.ts'
import { statusScreen } from './status-screen.ts'

export interface TimeoutOption {
  readonly timeout?: number
}

export interface ProposeOptions extends TimeoutOption {
  readonly key?: string
  readonly wait: 'applied' | 'committed'
}

export interface ConditionOptions extends TimeoutOption {
  readonly ifMatch?: number
  readonly ifNoneMatch?: boolean
}

export interface ReadOptions extends TimeoutOption {
  readonly local?: boolean
}

const defaultTimeoutMs = 5_000

export async function showStatus(client: Client): Promise<Printed> {
  const status = await client.status()
  return { json: status, text: statusScreen(status) }
}

export async function showLeader(client: Client): Promise<Printed> {
  const leader = await client.leader()
  if (leader === null) {
    throw new CliFailure(cliExitCodes.refused, 'no-leader', 'No leader is known: `raft-sidecar status` says why')
  }
  return { json: leader, text: leaderLine(leader) }
}

export async function transfer(client: Client, to: string | null, { timeout }: TimeoutOption): Promise<Printed> {
  const leader = await client.transfer(to, timeout === undefined ? {} : { timeoutMs: timeout })
  return { json: leader, text: leaderLine(leader) }
}

export async function showMembers(client: Client): Promise<Printed> {
  const members = await client.members()
  return { json: members, text: memberTable(members).join('\n') }
}

export async function skip(client: Client, index: number, options: TimeoutOption): Promise<Printed> {
  const committed = await client.skip(index, callOptions(options))
  return { json: committed, text: `Every node leaves the command at index ${index} out: committed ${place(committed)}` }
}

/** From now on, unless told where to begin; without end. */
export async function* watch(client: Client, after: number | null): AsyncGenerator<Printed> {
  const from = after ?? (await client.status()).commitIndex
  for await (const command of client.watch({ after: from })) yield loggedCommand(command)
}

export async function* listKeys(
  client: Client,
  prefix: string | undefined,
  options: ReadOptions,
): AsyncGenerator<Printed> {
  const { local = false } = options
  const asked = { ...callOptions(options), ...(prefix === undefined ? {} : { prefix }) }
  for await (const item of client.kv.list({ ...asked, consistency: local ? 'local' : 'linearizable' })) {
    yield { json: item, text: `${item.key}  ${JSON.stringify(item.value)}` }
  }
}

export async function propose(client: Client, command: unknown, options: ProposeOptions): Promise<Printed> {
  const asked = { ...callOptions(options), ...(options.key === undefined ? {} : { key: options.key }) }
  if (options.wait === 'committed') {
    const committed = await client.propose(command, { ...asked, wait: 'committed' })
    return { json: committed, text: `Committed ${place(committed)}${repeated(committed)}` }
  }
  const applied = await client.propose(command, asked)
  return { json: applied, text: `Applied ${place(applied)}${repeated(applied)}: ${JSON.stringify(applied.result)}` }
}

function repeated({ duplicate = false }: { readonly duplicate?: boolean }): string {
  return duplicate ? ', when it was proposed under this key before' : ''
}

export async function getKey(client: Client, key: string, options: ReadOptions): Promise<Printed> {
  const { local = false } = options
  const item = await client.kv.get(key, { ...callOptions(options), consistency: local ? 'local' : 'linearizable' })
  if (item === null) throw noKey(key)
  return { json: item, text: JSON.stringify(item.value) }
}

export async function setKey(client: Client, key: string, value: string, options: ConditionOptions): Promise<Printed> {
  const parsed = parseJson(value)
  const response = await client.kv.set(key, parsed === undefined ? value : parsed, writeOptions(options))
  const failure = refusal(response)
  if (failure !== null) throw failure
  return { json: response, text: `Set ${key} ${place(response)}` }
}

export async function deleteKey(client: Client, key: string, options: ConditionOptions): Promise<Printed> {
  const response = await client.kv.delete(key, writeOptions(options))
  const failure = refusal(response)
  if (failure !== null) throw failure
  const { result } = response
  const existed = !(typeof result === 'object' && result !== null && 'existed' in result && result.existed === false)
  const printed = { json: response, text: `${existed ? 'Deleted' : 'Nothing to delete:'} ${key} ${place(response)}` }
  return existed ? printed : { ...printed, failure: noKey(key) }
}

/** Applied everywhere, and the machine's answer was no. */
function refusal({ result }: CommandResponse): CliFailure | null {
  if (typeof result !== 'object' || result === null || !('ok' in result) || result.ok !== false) return null
  const reason = 'error' in result ? String(result.error) : 'the state machine refused it'
  const code = 'code' in result ? String(result.code) : 'refused'
  return new CliFailure(code === 'condition-failed' ? cliExitCodes.conditionFailed : cliExitCodes.refused, code, reason)
}

function noKey(key: string): CliFailure {
  return new CliFailure(cliExitCodes.keyNotFound, 'key-not-found', `There is no key ${JSON.stringify(key)}`)
}

function place({ index, term }: { readonly index: number; readonly term: number }): string {
  return `at index ${index}, term ${term}`
}

function leaderLine({ id, term, self, appUrl }: Leader): string {
  const application = appUrl === null ? '' : `, its application is at ${appUrl}`
  return `${id}${self ? ' (this node)' : ''} leads in term ${term}${application}`
}

function loggedCommand({ command, ...about }: LoggedCommand): Printed {
  const { index, term, timestamp, skipped } = about
  const isBytes = command instanceof Uint8Array
  const bytes = isBytes ? Buffer.from(command).toString('base64') : ''
  const text = `${index}  ${term}  ${timestamp}  ${skipped ? '(left out) ' : ''}${isBytes ? `bytes ${bytes}` : JSON.stringify(command)}`
  return { json: { ...about, ...(isBytes ? { bytes } : { command }) }, text }
}

function callOptions({ timeout = defaultTimeoutMs }: TimeoutOption): CallOptions {
  return { timeoutMs: timeout }
}

function writeOptions({ ifMatch, ifNoneMatch = false, ...options }: ConditionOptions): WriteOptions {
  if (ifMatch !== undefined && ifNoneMatch)
    throw new CliFailure(cliExitCodes.usage, 'usage', 'Give either --if-match or --if-none-match')
  return {
    ...callOptions(options),
    ...(ifMatch === undefined ? {} : { ifMatch }),
    ...(ifNoneMatch ? { ifNoneMatch: '*' as const } : {}),
  }
}
