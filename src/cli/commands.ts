// What each command asks of the sidecar, and how its answer reads.

import type { Client, CommandResponse } from '../client/client.ts'
import { cliExitCodes } from './exit-codes.ts'
import { CliFailure } from './failure.ts'
import { parseJson } from './input.ts'
import type { Printed } from './sidecar-call.ts'
import { statusScreen } from './status-screen.ts'

export interface TimeoutOption {
  readonly timeout?: number
}

export async function showStatus(client: Client): Promise<Printed> {
  const status = await client.status()
  return { json: status, text: statusScreen(status) }
}

export async function showLeader(client: Client): Promise<Printed> {
  const leader = await client.leader()
  if (leader === null) {
    throw new CliFailure(cliExitCodes.refused, 'no-leader', 'No leader is known: `raft-sidecar status` says why')
  }
  const { id, term, self, appUrl } = leader
  const text = `${id}${self ? ' (this node)' : ''} leads in term ${term}${appUrl === null ? '' : `, its application is at ${appUrl}`}`
  return { json: leader, text }
}

export async function propose(
  client: Client,
  command: unknown,
  wait: 'applied' | 'committed',
  options: TimeoutOption,
): Promise<Printed> {
  if (wait === 'committed') {
    const committed = await client.propose(command, { ...callOptions(options), wait })
    return { json: committed, text: `Committed ${place(committed)}` }
  }
  const applied = await client.propose(command, callOptions(options))
  return { json: applied, text: `Applied ${place(applied)}: ${JSON.stringify(applied.result)}` }
}

export async function getKey(client: Client, key: string, local: boolean, options: TimeoutOption): Promise<Printed> {
  const item = await client.kv.get(key, { ...callOptions(options), consistency: local ? 'local' : 'linearizable' })
  if (item === null) throw noKey(key)
  return { json: item, text: JSON.stringify(item.value) }
}

export async function setKey(client: Client, key: string, value: string, options: TimeoutOption): Promise<Printed> {
  const parsed = parseJson(value)
  const response = await client.kv.set(key, parsed === undefined ? value : parsed, callOptions(options))
  const failure = refusal(response)
  if (failure !== null) throw failure
  return { json: response, text: `Set ${key} ${place(response)}` }
}

export async function deleteKey(client: Client, key: string, options: TimeoutOption): Promise<Printed> {
  const response = await client.kv.delete(key, callOptions(options))
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
  return new CliFailure(cliExitCodes.refused, 'code' in result ? String(result.code) : 'refused', reason)
}

function noKey(key: string): CliFailure {
  return new CliFailure(cliExitCodes.keyNotFound, 'key-not-found', `There is no key ${JSON.stringify(key)}`)
}

function place({ index, term }: { readonly index: number; readonly term: number }): string {
  return `at index ${index}, term ${term}`
}

function callOptions({ timeout }: TimeoutOption): { readonly timeoutMs?: number } {
  return timeout === undefined ? {} : { timeoutMs: timeout }
}
