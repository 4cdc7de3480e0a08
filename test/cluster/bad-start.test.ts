// A sidecar that cannot start says in one line why, and leaves with the exit code of the README: no stack trace, nothing touched.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, describe, it } from 'node:test'
import { ClusterProcesses, until } from './processes.ts'

let cluster: ClusterProcesses

afterEach(() => cluster.close())

interface Ended {
  readonly code: number | null
  readonly stderr: string
  readonly output: string
}

function run(env: Readonly<Record<string, string>>): Promise<Ended> {
  return new Promise((resolve) => {
    const options = { env: { ...env }, timeout: 20_000 }
    execFile(process.execPath, ['--import', 'tsx', 'src/main.ts', 'run'], options, (error, stdout, stderr) => {
      resolve({
        code: error === null ? 0 : typeof error.code === 'number' ? error.code : null,
        stderr,
        output: stdout + stderr,
      })
    })
  })
}

function assertOneLine(ended: Ended, code: number, ...parts: readonly (string | RegExp)[]): void {
  assert.equal(ended.code, code, ended.output)
  const lines = ended.stderr.trim().split('\n')
  assert.equal(lines.length, 1, ended.stderr)
  for (const part of parts)
    assert.match(lines[0] ?? '', typeof part === 'string' ? new RegExp(part.replaceAll('.', '\\.')) : part)
  assert.doesNotMatch(ended.output, /^ +at /m)
}

describe('a sidecar that cannot start', () => {
  it('names a bad environment variable, its value and what would do (78)', async () => {
    cluster = await ClusterProcesses.prepare({ size: 1 })
    const ended = await run({ ...cluster.get('n1').env, HEARTBEAT_INTERVAL_MS: 'soon' })
    assertOneLine(ended, 78, 'HEARTBEAT_INTERVAL_MS', 'soon')
  })

  it('asks for MEMBERS when there is no cluster in the data directory yet (78), and founds none', async () => {
    cluster = await ClusterProcesses.prepare({ size: 1 })
    const { env } = cluster.get('n1')
    assertOneLine(await run({ ...env, MEMBERS: '' }), 78, 'MEMBERS')
    cluster.start('n1')
    await cluster.leader()
  })

  it('names a port that is in use (69), for its API and for its peers', async () => {
    cluster = await ClusterProcesses.prepare({ size: 1 })
    const { env, apiPort, peerAddress } = cluster.get('n1')
    for (const [port, name] of [
      [apiPort, 'API_LISTEN'],
      [Number(peerAddress.split(':')[1]), 'PEER_LISTEN'],
    ] as const) {
      const holder = createServer().listen(port, '127.0.0.1')
      await once(holder, 'listening')
      assertOneLine(await run(env), 69, name, String(port))
      holder.close()
      await once(holder, 'close')
    }
  })

  it('refuses the data directory of another cluster or node (65), and leaves it as it is', async () => {
    cluster = await ClusterProcesses.start({ size: 1 })
    await cluster.leader()
    const { env } = cluster.get('n1')
    await cluster.kill('n1')
    assertOneLine(await run({ ...env, CLUSTER: 'other' }), 65, 'other', 'test')
    const members = (env.MEMBERS ?? '').replace('n1=', 'n9=')
    assertOneLine(await run({ ...env, NODE_ID: 'n9', MEMBERS: members }), 65, 'n9', 'n1')
    cluster.start('n1')
    await cluster.leader()
  })

  it('refuses a data directory that a live process holds (75), and the live one goes on', async () => {
    cluster = await ClusterProcesses.start({ size: 1 })
    await cluster.leader()
    const { env, child } = cluster.get('n1')
    assertOneLine(await run(env), 75, String(child?.pid))
    assert.equal((await cluster.status('n1'))?.role, 'leader')
  })
})

describe('a running cluster', () => {
  it('is not disturbed by a stranger that speaks garbage to the peer port', async () => {
    cluster = await ClusterProcesses.start({ size: 3 })
    const leader = await cluster.leader()
    const port = Number(leader.peerAddress.split(':')[1])
    for (const garbage of ['GET / HTTP/1.1\r\nhost: x\r\n\r\n', Buffer.alloc(4096, 0xff), Buffer.alloc(64)]) {
      const socket = connect(port, '127.0.0.1')
      await once(socket, 'connect')
      socket.on('error', () => {})
      const closed = once(socket, 'close')
      socket.write(garbage)
      socket.end()
      await closed
    }
    const headers = { 'content-type': 'application/json' }
    const body = JSON.stringify({ op: 'set', key: 'k', value: 1 })
    const response = await fetch(`${leader.apiUrl}/v1/commands`, { method: 'POST', headers, body })
    assert.equal(response.status, 200)
    const status = await until('the leader to answer', 5_000, () => cluster.status(leader.id))
    assert.equal(status.role, 'leader')
  })
})
