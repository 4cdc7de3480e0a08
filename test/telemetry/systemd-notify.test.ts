// A script stands in for systemd-notify and writes down what it was called with.

import assert from 'node:assert/strict'
import { chmod, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it, mock } from 'node:test'
import { createServiceNotifier, type ServiceNotifier } from '../../src/telemetry/systemd-notify.ts'
import { loggerWithLines } from './log-lines.ts'

let directory = ''
let program = ''

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-notify-'))
  program = join(directory, 'fake-systemd-notify')
  await writeFile(program, '#!/bin/sh\nprintf "%s|" "$NOTIFY_SOCKET" "$@" >> "$0.calls"\necho >> "$0.calls"\n')
  await chmod(program, 0o700)
})

after(async () => {
  await rm(directory, { recursive: true })
})

/** What the script was called with since the last look: its socket, then its arguments. */
async function calls(): Promise<readonly string[][]> {
  const text = await readFile(`${program}.calls`, 'utf8').catch(() => '')
  await rm(`${program}.calls`, { force: true })
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('|').slice(0, -1))
}

function notifier(watchdogMs: number | null = null): ServiceNotifier {
  return createServiceNotifier({ notifySocket: '/run/notify', watchdogMs, logger: loggerWithLines().logger, program })
}

describe('systemd', () => {
  it('is told that the service is ready, on one line', async () => {
    await notifier().ready('Follower of n2,\nterm 3')
    assert.deepEqual(await calls(), [['/run/notify', 'READY=1', 'STATUS=Follower of n2, term 3']])
  })

  it('is told that the service stops', async () => {
    await notifier().stopping()
    assert.deepEqual(await calls(), [['/run/notify', 'STOPPING=1']])
  })

  it('gets one message at a time, and of several sentences the last', async () => {
    const service = notifier()
    service.status('first')
    service.status('second')
    service.status('third')
    await service.stopping()
    assert.deepEqual(await calls(), [
      ['/run/notify', 'STATUS=first'],
      ['/run/notify', 'STATUS=third', 'STOPPING=1'],
    ])
  })

  it('gets signs of life from ready to stopping, twice in the time that it waits', async (t) => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const service = notifier(10_000)
    await service.ready('x')
    await calls()
    t.mock.timers.tick(4999)
    t.mock.timers.tick(1)
    await service.stopping()
    t.mock.timers.tick(60_000)
    await service.stopping()
    assert.deepEqual(await calls(), [
      ['/run/notify', 'WATCHDOG=1'],
      ['/run/notify', 'STOPPING=1'],
      ['/run/notify', 'STOPPING=1'],
    ])
  })

  it('hears nothing when it does not listen', async () => {
    const service = createServiceNotifier({
      notifySocket: null,
      watchdogMs: 10_000,
      logger: { warn: mock.fn() },
      program,
    })
    await service.ready('x')
    service.status('x')
    await service.stopping()
    service.close()
    assert.deepEqual(await calls(), [])
  })

  it('that cannot be told is a warning and no more', async () => {
    const { logger, lines } = loggerWithLines()
    const absent = createServiceNotifier({
      notifySocket: '/x',
      watchdogMs: null,
      logger,
      program: join(directory, 'absent'),
    })
    const failing = createServiceNotifier({ notifySocket: '/x', watchdogMs: null, logger, program: 'false' })
    await absent.ready('x')
    await failing.ready('x')
    assert.deepEqual(
      lines.map((line) => line.level),
      ['warn', 'warn'],
    )
    assert.match(lines[0]?.msg ?? '', /^Could not tell systemd READY=1, STATUS=x: .*absent cannot be run \(/)
    assert.match(lines[1]?.msg ?? '', /: false ended with exit code 1$/)
  })
})
