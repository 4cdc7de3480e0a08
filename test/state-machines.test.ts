// What a node feeds, as it is put together from the settings: everything that the application is sent comes from here.

import assert from 'node:assert/strict'
import type { IncomingHttpHeaders } from 'node:http'
import { test } from 'node:test'
import { Webhook } from 'standardwebhooks'
import { loadConfig } from '../src/config.ts'
import { createStateMachines, type StateMachines } from '../src/state-machines.ts'
import { noEvents, noFatal } from './machine/applier-kit.ts'
import { FakeLog, setEntry } from './machine/fixtures.ts'
import { startServer } from './machine/test-server.ts'
import { until } from './machine/until.ts'
import { MemoryDisk } from './storage/memory-disk.ts'
import { loggerWithLines } from './telemetry/log-lines.ts'

const secret = `whsec_${Buffer.alloc(32, 's').toString('base64')}`

interface Request {
  readonly line: string
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

interface Subject {
  readonly machines: StateMachines
  readonly log: FakeLog
  readonly requests: readonly Request[]
  readonly lines: readonly { readonly msg: string }[]
  answerWith(status: number): void
  /** It says by now, when asked, at which command it is. */
  standAt(position: number): void
}

async function withMachines(settings: Record<string, string>, run: (subject: Subject) => Promise<void>): Promise<void> {
  const requests: Request[] = []
  let status = 204
  let position: number | null = null
  const server = await startServer((request, body, response) => {
    requests.push({ line: `${request.method} ${request.url}`, headers: request.headers, body })
    if (request.url === '/raft/apply' && position !== null) position = 1
    if (request.url !== '/raft/position') response.writeHead(status).end()
    else response.writeHead(position === null ? 404 : 200).end(JSON.stringify({ position }))
  })
  const env = { NODE_ID: 'n1', MEMBERS: 'n1=10.0.0.1:4000', CLUSTER: 'orders', DATA_DIR: '/data', ...settings }
  const config = loadConfig({ ...env, APP_URL: `${server.url}/raft` }, { workingDirectory: '/nowhere' })
  const disk = new MemoryDisk().mount()
  await disk.makeDirectory('/data')
  const { logger, lines } = loggerWithLines()
  const machines = await createStateMachines(config, disk, logger, noFatal)
  const log = new FakeLog()
  log.append(setEntry(1, 'a', 1))
  try {
    const answerWith = (next: number) => {
      status = next
    }
    const standAt = (index: number) => {
      position = index
    }
    await run({ machines, log, requests, lines, answerWith, standAt })
  } finally {
    await machines.applier.close()
    await machines.watcher?.close()
    await machines.close()
    await server.stop()
  }
}

for (const stateMachine of ['app', 'kv'] as const) {
  test(`with STATE_MACHINE=${stateMachine} everything that the application is sent is signed, and waits for its health`, async () => {
    const settings = { STATE_MACHINE: stateMachine, APP_SECRET: secret, APP_HEALTH: '/healthz' }
    await withMachines(settings, async ({ machines, log, requests, answerWith }) => {
      answerWith(503)
      const fed = stateMachine === 'app' ? machines.applier : (machines.watcher ?? assert.fail('nothing is fed'))
      fed.start(log, noEvents)
      fed.commit(1)
      await until(() => /answered 503/.test(fed.blocked ?? ''))
      assert.deepEqual(new Set(requests.map(({ line }) => line)), new Set(['GET /healthz']))
      answerWith(204)
      await until(() => fed.appliedIndex === 1)
      machines.leadership?.tell({ event: 'acquired', leader: { id: 'n1' }, term: 3 })
      await until(() => requests.some(({ line }) => line === 'POST /raft/leadership'))
      const lines = requests.map(({ line }) => line).filter((line) => line !== 'GET /healthz')
      // Right before it hears that it leads, it is asked whether it still holds everything.
      assert.deepEqual(lines, ['GET /raft/position', 'POST /raft/apply', 'GET /raft/position', 'POST /raft/leadership'])
      for (const { headers, body } of requests)
        new Webhook(secret).verify(body, headers as Record<string, string>, { jsonParse: false })
      const names = requests.map(({ headers }) => String(headers['webhook-id']))
      assert.ok(names.every((name) => name.startsWith('orders-n1-')))
      assert.ok(names.includes('orders-n1-1-1'))
    })
  })
}

test('an application that failed and is found again hears anew who leads', async () => {
  await withMachines({ STATE_MACHINE: 'app' }, async ({ machines, log, requests, lines, answerWith }) => {
    const news = () =>
      requests.filter(({ line }) => line === 'POST /raft/leadership').map(({ body }) => body.toString())
    machines.applier.start(log, noEvents)
    machines.leadership?.tell({ event: 'changed', leader: { id: 'n2' }, term: 3 })
    await until(() => news().length === 1)
    answerWith(500)
    machines.applier.commit(1)
    await until(() => machines.applier.blocked !== null)
    answerWith(204)
    await until(() => news().length === 2)
    assert.equal(machines.applier.appliedIndex, 1)
    assert.equal(news()[1], news()[0])
    assert.equal(news()[0], '{"event":"changed","leader":"n2","term":3,"fencingToken":3}')
    assert.ok(lines.some(({ msg }) => /answered 500/.test(msg)))
  })
})

test('an application that forgot everything meanwhile hears that it leads once it holds everything again', async () => {
  await withMachines({ STATE_MACHINE: 'app' }, async ({ machines, log, requests, standAt }) => {
    standAt(0)
    machines.applier.start(log, noEvents)
    machines.applier.commit(1)
    await until(() => machines.applier.appliedIndex === 1)
    standAt(0)
    machines.leadership?.tell({ event: 'acquired', leader: { id: 'n1' }, term: 3 })
    await until(() => requests.length === 5)
    assert.deepEqual(
      requests.map(({ line }) => line.split('/raft/')[1]),
      ['position', 'apply', 'position', 'apply', 'leadership'],
    )
  })
})

test('without an application there is nobody to tell', async () => {
  const config = loadConfig({ NODE_ID: 'n1', MEMBERS: 'n1=10.0.0.1:4000' }, { workingDirectory: '/nowhere' })
  const { logger } = loggerWithLines()
  const machines = await createStateMachines(config, new MemoryDisk().mount(), logger, noFatal)
  assert.equal(machines.leadership, null)
  assert.equal(machines.watcher, null)
  await machines.close()
})

test('no secret is logged', async () => {
  await withMachines({ STATE_MACHINE: 'app', APP_SECRET: secret }, async ({ machines, log, lines, answerWith }) => {
    answerWith(401)
    machines.applier.start(log, noEvents)
    machines.applier.commit(1)
    await until(() => lines.length > 0)
    assert.ok(!JSON.stringify(lines).includes(secret.slice(6)))
  })
})
