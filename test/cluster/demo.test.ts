import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'

const project = resolve(import.meta.dirname, '../..')

interface Run {
  readonly demo: ChildProcess
  /** Everything that it printed so far. */
  output(): string
  exitCode(): Promise<number | null>
  /** The directory in which it keeps its temporary files, known to each of its processes by TMPDIR. */
  readonly temporary: string
}

async function start(t: TestContext, ...flags: readonly string[]): Promise<Run> {
  const temporary = await mkdtemp(join(tmpdir(), 'demo-test-'))
  const folder = await mkdtemp(join(tmpdir(), 'demo-files-'))
  for (const name of ['a', 'b', 'c', 'd', 'e']) await writeFile(join(folder, `${name}.txt`), name.repeat(1000))
  const demo = spawn(process.execPath, ['--import', 'tsx', 'scripts/demo.ts', folder, ...flags], {
    cwd: project,
    env: { ...process.env, TMPDIR: temporary },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const exited = once(demo, 'exit')
  t.after(async () => {
    demo.kill('SIGTERM')
    await exited
    await rm(temporary, { recursive: true, force: true })
    await rm(folder, { recursive: true, force: true })
  })
  const chunks: string[] = []
  for (const stream of [demo.stdout, demo.stderr])
    stream.setEncoding('utf8').on('data', (chunk: string) => chunks.push(chunk))
  const output = () => chunks.join('')
  return { demo, output, exitCode: async () => (await exited)[0] as number | null, temporary }
}

async function until(what: string, condition: () => boolean | Promise<boolean>, run: Run): Promise<void> {
  for (let left = 600; left > 0; left--) {
    if (await condition()) return
    await sleep(100)
  }
  assert.fail(`Waited in vain for ${what}. The demo said:\n${run.output()}`)
}

/** Processes with this TMPDIR; only where /proc shows them. */
async function processesOf(temporary: string): Promise<string[]> {
  const found: string[] = []
  for (const pid of await readdir('/proc').catch(() => [])) {
    const environment = await readFile(`/proc/${pid}/environ`, 'utf8').catch(() => '')
    if (environment.split('\0').includes(`TMPDIR=${temporary}`)) {
      found.push(`${pid} ${(await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).replaceAll('\0', ' ')}`)
    }
  }
  return found
}

async function directoriesOf(temporary: string): Promise<string[]> {
  return (await readdir(temporary)).filter((name) => name.startsWith('raft-sidecar-demo-'))
}

describe('the demo', { timeout: 180_000 }, () => {
  it('kills the leader, proves that nothing was lost, and leaves nothing behind', async (t) => {
    const run = await start(t, '--tasks', '300', '--rate', '100')
    assert.equal(await run.exitCode(), 0, run.output())
    assert.match(run.output(), /the leader, was killed with SIGKILL/)
    assert.equal(run.output().match(/^PROVED /gm)?.length, 6, run.output())
    assert.doesNotMatch(run.output(), /FAILED/)
    assert.deepEqual(await processesOf(run.temporary), [])
    assert.deepEqual(await directoriesOf(run.temporary), [])
  })

  const starting = /are starting/
  const working = /tasks arrive/
  const ends: Readonly<Record<string, readonly [when: RegExp, signal: NodeJS.Signals, exitCode: number | null]>> = {
    'Ctrl-C in the middle of the work': [working, 'SIGINT', 130],
    'SIGTERM while everything is starting': [starting, 'SIGTERM', 143],
    'the SIGKILL of itself': [starting, 'SIGKILL', null],
  }
  for (const [end, [when, signal, exitCode]] of Object.entries(ends)) {
    it(`leaves nothing behind after ${end}`, async (t) => {
      const run = await start(t)
      await until('the moment of the signal', () => when.test(run.output()), run)
      if (process.platform === 'linux') assert.ok((await processesOf(run.temporary)).length >= 8)
      run.demo.kill(signal)
      assert.equal(await run.exitCode(), exitCode)
      await until('its processes to be gone', async () => (await processesOf(run.temporary)).length === 0, run)
      await until('its directory to be gone', async () => (await directoriesOf(run.temporary)).length === 0, run)
    })
  }

  it('fails with the last lines of a process that ended without being told to', async (t) => {
    const run = await start(t)
    await until('everything to be started', () => starting.test(run.output()), run)
    const application = (await processesOf(run.temporary)).find((line) => /task-queue\/main\.ts --name n2/.test(line))
    if (application === undefined) return t.skip('the processes cannot be seen here')
    process.kill(Number.parseInt(application, 10), 'SIGKILL')
    assert.equal(await run.exitCode(), 1)
    assert.match(run.output(), /application-n2 ended unexpectedly, by SIGKILL/)
    assert.deepEqual(await processesOf(run.temporary), [])
  })

  const usages: Readonly<Record<string, readonly string[]>> = {
    'more folders than one': ['.'],
    'an unknown flag': ['--fast'],
    'too few tasks': ['--tasks', '0'],
  }
  for (const [mistake, flags] of Object.entries(usages)) {
    it(`answers ${mistake} with its usage`, async (t) => {
      const run = await start(t, ...flags)
      assert.equal(await run.exitCode(), 64)
      assert.match(run.output(), /Usage: npm run demo/)
    })
  }
})
