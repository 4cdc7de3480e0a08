import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { allChecks } from '../../scripts/conformance/checks.ts'
import { main } from '../../scripts/conformance/main.ts'
import { FakeSidecar } from './fake-sidecar.ts'
import { Inventory, whyNoPython } from './inventory-process.ts'
import { temporaryDirectory } from './temporary-directory.ts'

const skip = whyNoPython()
const secret = `whsec_${Buffer.from('of the inventory test').toString('base64')}`
const commands = [
  '{"op":"receive","article":"screw-{n}","quantity":{n}}',
  '{"op":"receive","article":"bolt","quantity":3}',
  '{"op":"reserve","article":"bolt","quantity":4}',
].flatMap((command) => ['--command', command])

async function start(t: TestContext) {
  const sidecar = new FakeSidecar()
  const sidecarUrl = await sidecar.listen()
  t.after(() => sidecar.close())
  const directory = await temporaryDirectory(t)
  const open = async () => {
    const inventory = await Inventory.start(t, { directory, sidecarUrl })
    sidecar.attach(inventory.hooks)
    return inventory
  }
  return { sidecar, open, inventory: await open() }
}

describe('the inventory, an application in Python', { skip }, () => {
  it('keeps the whole contract, with two instances and signatures', async (t) => {
    const start = async () => {
      const directory = await temporaryDirectory(t)
      return await Inventory.start(t, { directory, secrets: `${secret} whsec_b2xk` })
    }
    const [one, other] = [await start(), await start()]
    const lines: string[] = []
    const options = ['--peer', other.hooks, '--secret', secret, ...commands, '--timeout-ms', '60000']
    const exitCode = await main([one.hooks, ...options], { say: (line) => lines.push(line), complain: assert.fail })
    const notOk = lines.slice(1, -1).filter((line) => !line.startsWith('ok '))
    assert.deepEqual(notOk, [])
    assert.equal(lines.length, allChecks.length + 2)
    assert.equal(exitCode, 0)
  })

  it('proposes what its users ask for, and answers with what the command gave', async (t) => {
    const { sidecar, inventory } = await start(t)
    assert.deepEqual(await inventory.move('bolt', 'receive', 5), { status: 200, body: { ok: true, stock: 5 } })
    assert.deepEqual(await inventory.move('bolt', 'reserve', 4), { status: 200, body: { ok: true, stock: 1 } })
    assert.deepEqual(await inventory.move('bolt', 'reserve', 2), {
      status: 200,
      body: { ok: false, reason: 'not enough in stock', stock: 1 },
    })
    assert.deepEqual(
      sidecar.log.map(({ command }) => command),
      [
        { op: 'receive', article: 'bolt', quantity: 5 },
        { op: 'reserve', article: 'bolt', quantity: 4 },
        { op: 'reserve', article: 'bolt', quantity: 2 },
      ],
    )
  })

  it('reads behind the barrier, and answers 503 while there is none', async (t) => {
    const { sidecar, inventory } = await start(t)
    await inventory.move('bolt', 'receive', 5)
    assert.equal(sidecar.barriers, 0)
    assert.deepEqual(await inventory.get('/articles/bolt'), { status: 200, body: { article: 'bolt', stock: 5 } })
    assert.deepEqual(await inventory.get('/articles/nut'), { status: 200, body: { article: 'nut', stock: 0 } })
    assert.equal(sidecar.barriers, 2)
    sidecar.leaderless = true
    assert.equal((await inventory.get('/articles/bolt')).status, 503)
  })

  it('proposes again under the same key what got no answer: it takes effect once', async (t) => {
    const { sidecar, inventory } = await start(t)
    sidecar.losesAnswers = true
    const moved = inventory.move('bolt', 'receive', 5)
    await sidecar.lostAnswers(2)
    sidecar.losesAnswers = false
    assert.deepEqual(await moved, { status: 200, body: { ok: true, stock: 5 } })
    assert.equal(sidecar.log.length, 1)
  })

  it('does once what a user asks for twice under one key', async (t) => {
    const { sidecar, inventory } = await start(t)
    const first = await inventory.move('bolt', 'receive', 5, 'order-1')
    assert.deepEqual(await inventory.move('bolt', 'receive', 5, 'order-1'), first)
    assert.deepEqual(await inventory.move('bolt', 'receive', 5, 'order-2'), {
      status: 200,
      body: { ok: true, stock: 10 },
    })
    assert.equal(sidecar.log.length, 2)
  })

  it('keeps its state and its position over a SIGKILL', async (t) => {
    const { sidecar, inventory, open } = await start(t)
    await inventory.move('bolt', 'receive', 5)
    await inventory.stop('SIGKILL')
    const again = await open()
    assert.deepEqual(await again.get('/raft/position'), { status: 200, body: { position: 1 } })
    assert.deepEqual(await sidecar.deliver(0), { status: 200, body: { results: [null] } })
    assert.deepEqual((await again.get('/articles/bolt')).body, { article: 'bolt', stock: 5 })
    assert.equal(await again.stop('SIGTERM'), 0)
  })

  it('refuses what is none of its requests', async (t) => {
    const { sidecar, inventory } = await start(t)
    for (const quantity of [0, -1, 1.5, '5', true, null, 1_000_001]) {
      assert.equal((await inventory.move('bolt', 'receive', quantity)).status, 400)
    }
    assert.equal((await inventory.move('a%20b', 'receive', 1)).status, 400)
    assert.equal((await inventory.get('/articles/a%20b')).status, 404)
    assert.equal((await inventory.get('/elsewhere')).status, 404)
    assert.equal(sidecar.log.length, 0)
  })

  it('tells its users who leads, as its sidecar told it', async (t) => {
    const { inventory } = await start(t)
    const news = { event: 'acquired', leader: 'n1', term: 3, fencingToken: 3 }
    const response = await fetch(`${inventory.hooks}/leadership`, { method: 'POST', body: JSON.stringify(news) })
    assert.equal(response.status, 204)
    assert.deepEqual((await inventory.get('/leadership')).body, news)
  })
})
