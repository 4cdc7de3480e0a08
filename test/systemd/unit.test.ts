// The unit as systemd reads it: no key that it does not know, and little that the service is exposed to.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseEnv, promisify } from 'node:util'
import { loadConfig } from '../../src/config.ts'
import { exitCodes } from '../../src/errors.ts'

const run = promisify(execFile)
const unitUrl = new URL('../../systemd/raft-sidecar@.service', import.meta.url)
const missing = await run('systemd-analyze', ['--version']).then(
  () => false,
  () => 'systemd-analyze is not installed',
)

let directory = ''

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-unit-'))
})

after(async () => {
  await rm(directory, { recursive: true })
})

/** An instance of the unit whose program exists on this machine. */
async function instance(change: (unit: string) => string = (unit) => unit): Promise<string> {
  const unit = await readFile(unitUrl, 'utf8')
  const path = join(directory, 'raft-sidecar@test.service')
  await writeFile(path, change(unit.replace('ExecStart=/usr/bin/node ', `ExecStart=${process.execPath} `)))
  return path
}

describe('the unit', () => {
  it('is understood by systemd, every line of it', { skip: missing }, async () => {
    const { stderr } = await run('systemd-analyze', ['verify', await instance()])
    assert.equal(stderr, '')
  })

  it('with a key that systemd does not know is found out by the same check', { skip: missing }, async () => {
    const { stderr } = await run('systemd-analyze', [
      'verify',
      await instance((unit) => unit.replace(/^UMask=/m, 'UMaks=')),
    ])
    assert.match(stderr, /UMaks/)
  })

  it('exposes the service to little: below 2.0 of 10', { skip: missing }, async () => {
    const { stdout } = await run('systemd-analyze', ['security', '--offline=yes', '--no-pager', await instance()])
    const exposure = Number(/Overall exposure level for \S+: ([0-9.]+)/.exec(stdout)?.[1])
    assert.ok(exposure < 2, `exposure is ${exposure}`)
  })

  it('does not start again what only a person can mend', async () => {
    const unit = await readFile(unitUrl, 'utf8')
    assert.match(unit, new RegExp(`^RestartPreventExitStatus=${exitCodes.configuration} ${exitCodes.dataError}$`, 'm'))
  })

  it('waits for signs of life no shorter than the configuration allows', async () => {
    const watchdogS = Number(/^WatchdogSec=(\d+)s$/m.exec(await readFile(unitUrl, 'utf8'))?.[1])
    const environment = {
      NODE_ID: 'n1',
      MEMBERS: 'n1=a:1',
      NOTIFY_SOCKET: '@n',
      WATCHDOG_USEC: String(watchdogS * 1e6),
    }
    assert.equal(loadConfig(environment, { workingDirectory: directory }).serviceManager.watchdogMs, watchdogS * 1000)
  })
})

describe('the example environment', () => {
  const exampleUrl = new URL('../../systemd/raft-sidecar.env.example', import.meta.url)

  it('starts as it is, its data in the state directory', async () => {
    const environment = {
      ...parseEnv(await readFile(exampleUrl, 'utf8')),
      STATE_DIRECTORY: '/var/lib/raft-sidecar/orders',
    }
    const config = loadConfig(environment, { workingDirectory: directory })
    assert.deepEqual([config.nodeId, config.members?.length, config.dataDir], ['n1', 3, '/var/lib/raft-sidecar/orders'])
  })

  it('starts with every line that is commented out taken in', async () => {
    const text = (await readFile(exampleUrl, 'utf8')).replace(/^#([A-Z_]+=)/gm, '$1')
    const config = loadConfig({ ...parseEnv(text) }, { workingDirectory: directory })
    assert.deepEqual([config.stateMachine, config.statusListen?.port], ['app', 4002])
  })
})
