// The command line of the conformance suite, and its first steps: where the application stands, and whether it may be written to.

import { type Finding, type Peer, runChecks } from './check.ts'
import { allChecks } from './checks.ts'
import { Failure } from './finding.ts'
import { Hooks } from './hooks.ts'
import { Log } from './log.ts'
import { type Options, readOptions, UsageError, usage } from './options.ts'
import { Subject } from './subject.ts'

export interface Output {
  say(line: string): void
  complain(line: string): void
}

/** Returns the exit code. */
export async function main(argv: readonly string[], { say, complain }: Output = stdio): Promise<number> {
  try {
    const options = readOptions(argv)
    if (options === null) {
      say(usage)
      return 0
    }
    return await examine(options, say)
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    complain(`${error.message}\n\n${usage}`)
    return 64
  }
}

async function examine(options: Options, say: (line: string) => void): Promise<number> {
  const { url, peerUrl, secret, timeoutMs, isJson } = options
  const hooks = new Hooks({ url, secret, timeoutMs })
  const peerHooks = peerUrl === null ? null : new Hooks({ url: peerUrl, secret, timeoutMs })
  try {
    const findings: Finding[] = []
    const found = (finding: Finding) => {
      findings.push(finding)
      if (!isJson) say(line(finding))
    }
    const subject = await start(hooks, options, found)
    if (subject === null) return report(options, findings, say)
    if (!isJson) say(heading(options, subject.log.start))
    const peer = peerHooks === null ? null : await startPeer(peerHooks, subject, options)
    await runChecks(allChecks, { subject, peer, secret }, found)
    return report(options, findings, say)
  } finally {
    hooks.close()
    peerHooks?.close()
  }
}

/** Null, with a finding, when it cannot even be asked. Throws UsageError when it must not be written to. */
async function start(hooks: Hooks, options: Options, found: (finding: Finding) => void): Promise<Subject | null> {
  let position: number | null
  try {
    position = await hooks.position()
  } catch (error) {
    if (!(error instanceof Failure)) throw error
    const hint = /answered 401/.test(error.message) && options.secret === null ? '; give its secret with --secret' : ''
    found({ check: 'position', status: 'failed', sentence: `${error.message}${hint}` })
    return null
  }
  mayBeWritten(hooks.url, position, options)
  return new Subject(hooks, new Log(position ?? 0, options.commands), position !== null)
}

async function startPeer(hooks: Hooks, subject: Subject, options: Options): Promise<Peer> {
  try {
    const position = await hooks.position()
    mayBeWritten(hooks.url, position, options)
    return { subject: new Subject(hooks, subject.log, position !== null), position }
  } catch (error) {
    if (error instanceof Failure) throw new UsageError(`The second instance is not there: ${error.message}`)
    throw error
  }
}

function mayBeWritten(url: string, position: number | null, { allowReset }: Options): void {
  if (position === 0 || allowReset) return
  const why = position === null ? 'does not tell its position, so that it may hold something' : `is at ${position}`
  throw new UsageError(
    `${url} ${why}. Here commands are applied and the state is taken back and overwritten: start a fresh instance, or say by --allow-reset that what it holds may be lost`,
  )
}

function heading({ url, commands, areOwnCommands }: Options, start: number): string {
  const kind = areOwnCommands
    ? `commands like ${commands[0]}`
    : `neutral commands like ${commands[0]}: more is seen with the application's own, by --command`
  return `${url}, from index ${start + 1} on, with ${kind}`
}

const stdio: Output = { say: (line) => console.log(line), complain: (line) => console.error(line) }
const words = { ok: 'ok      ', failed: 'FAILED  ', skipped: 'skipped ' } as const

function line({ check, status, sentence }: Finding): string {
  return `${words[status]} ${check}: ${sentence}`
}

function report({ url, isJson }: Options, findings: readonly Finding[], say: (line: string) => void): number {
  const count = (status: Finding['status']) => findings.filter((finding) => finding.status === status).length
  const failed = count('failed')
  if (isJson) {
    say(JSON.stringify({ url, ok: failed === 0, findings }, null, 2))
  } else {
    say(`${count('ok')} ok, ${failed} failed, ${count('skipped')} skipped; what the application holds now is test data`)
  }
  return failed === 0 ? 0 : 1
}
