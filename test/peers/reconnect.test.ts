import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer, type LookupFunction, type Socket } from 'node:net'
import { describe, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { parseAddress } from '../../src/peers/address.ts'
import { backoffMs, refusedBackoffMs } from '../../src/peers/backoff.ts'
import { frameBytes } from '../../src/peers/frames.ts'
import { encodeHello } from '../../src/peers/handshake.ts'
import { connected, HandPeer, hello, identity, members, numbered, numbers, until, withBench } from './peer-kit.ts'

/** A port that nobody listens on, most probably for the length of a test. */
async function freePort(host = '127.0.0.1'): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, host, resolve))
  const address = server.address()
  if (address === null || typeof address === 'string') throw new Error('No port')
  await new Promise((resolve) => server.close(resolve))
  return address.port
}

/** Resolves every name to the address that `current` tells at that moment. */
function resolver(current: () => string): { lookup: LookupFunction; asked: string[] } {
  const asked: string[] = []
  const lookup: LookupFunction = (name, options, callback) => {
    asked.push(name)
    if (options.all) callback(null, [{ address: current(), family: 4 }])
    else callback(null, current(), 4)
  }
  return { lookup, asked }
}

describe('the wait before a dial', () => {
  test('doubles from 50 ms to 2 s', () => {
    const longest = [1, 2, 3, 4, 5, 6, 7, 8, 1000].map((failures) => backoffMs(failures, () => 1))
    assert.deepEqual(longest, [50, 100, 200, 400, 800, 1600, 2000, 2000, 2000])
  })

  test('is anywhere below that, and after a refusal in the slower half', () => {
    assert.equal(
      backoffMs(5, () => 0),
      0,
    )
    assert.equal(
      backoffMs(5, () => 0.5),
      400,
    )
    assert.equal(
      refusedBackoffMs(() => 0),
      1000,
    )
    assert.equal(
      refusedBackoffMs(() => 1),
      2000,
    )
  })
})

describe('an address', () => {
  const table: readonly (readonly [text: string, host: string | null, port: number])[] = [
    ['10.0.0.1:4000', '10.0.0.1', 4000],
    ['n1.example:4000', 'n1.example', 4000],
    ['[::1]:4000', '::1', 4000],
    ['::1:4000', null, 0],
    ['n1', null, 0],
    ['n1:', null, 0],
    ['n1:0', null, 0],
    ['n1:65536', null, 0],
    ['n 1:4000', null, 0],
    [':4000', null, 0],
    ['http://n1:4000', null, 0],
  ]
  for (const [text, host, port] of table) {
    test(`${text} ${host === null ? 'is none' : 'is read'}`, () =>
      assert.deepEqual(parseAddress(text), host === null ? null : { host, port }))
  }

  test('that cannot be dialled is logged once and harms no one', () =>
    withBench(async (bench) => {
      const a = await bench.node('a')
      a.transport.setMembers(members({ a: a.address, b: 'nonsense' }))
      a.transport.setMembers(members({ a: a.address, b: 'nonsense' }))
      a.transport.send(numbered(1))
      assert.equal(a.lines.length, 1)
      assert.match(a.lines[0] ?? '', /Cannot dial b: its address 'nonsense' is not host:port/)
    }))
})

describe('a peer that is not there', () => {
  test('is dialled until it is, each refusal reported, the log told once', () =>
    withBench(async (bench) => {
      const port = await freePort()
      const { lookup, asked } = resolver(() => '127.0.0.1')
      const a = await bench.node('a', { lookup })
      a.transport.setMembers(members({ a: a.address, b: `b.test:${port}` }))
      await until(() => asked.length >= 4, 'it dials again and again')
      const b = await bench.node('b', { listen: { host: '127.0.0.1', port } })
      b.transport.setMembers(members({ a: a.address, b: `b.test:${port}` }))
      await until(() => connected(a, 'b'), 'it connects')
      assert.ok(a.events.downs.length >= 3 && a.events.downs.length <= asked.length)
      assert.equal(a.lines.filter((line) => line.startsWith('Cannot reach b')).length, 1)
      assert.equal(a.lines.filter((line) => line.startsWith('Connected to b')).length, 1)
    }))

  test('is reported for a name that has several addresses as well', () =>
    withBench(async (bench) => {
      const lookup: LookupFunction = (_name, _options, callback) =>
        callback(null, [
          { address: '127.0.0.1', family: 4 },
          { address: '127.0.0.2', family: 4 },
        ])
      const a = await bench.node('a', { lookup })
      a.transport.setMembers(members({ a: a.address, b: `b.test:${await freePort()}` }))
      await until(() => a.events.downs.length > 0, 'the refusal is reported')
    }))

  test('is dialled only once the transport has started', () =>
    withBench(async (bench) => {
      let dials = 0
      const first = await bench.server(() => dials++)
      const second = await bench.server((socket) => new HandPeer(socket).answer(identity('b'), 'a'))
      const a = bench.unstarted('a')
      a.transport.setMembers(members({ b: first }))
      a.transport.setMembers(members({ b: second }))
      await a.transport.start(a.events)
      await until(() => a.events.ups.length === 1, 'it connects')
      assert.equal(dials, 0)
    }))

  test('is dialled at once when it calls', () =>
    withBench(async (bench) => {
      const port = await freePort()
      let draws = 0
      // The first wait is short, every later one would last an hour.
      const a = await bench.node('a', { random: () => (draws++ === 0 ? 0 : 100_000) })
      const address = `127.0.0.1:${port}`
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => a.events.downs.length === 2, 'it waits for long')
      const b = await bench.node('b', { listen: { host: '127.0.0.1', port } })
      b.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => connected(a, 'b'), 'it dials at once')
    }))
})

describe('a peer that moves', () => {
  test('is found under its name, which is resolved at each dial', () =>
    withBench(async (bench) => {
      const port = await freePort('127.0.0.2')
      let current = '127.0.0.1'
      const { lookup, asked } = resolver(() => current)
      const a = await bench.node('a', { lookup })
      const here = await bench.node('b', { listen: { host: '127.0.0.1', port } })
      const both = members({ a: a.address, b: `b.test:${port}` })
      a.transport.setMembers(both)
      here.transport.setMembers(both)
      await until(() => connected(a, 'b'), 'it connects')
      await here.transport.close()
      current = '127.0.0.2'
      const there = await bench.node('b', { listen: { host: '127.0.0.2', port } })
      there.transport.setMembers(both)
      await until(() => connected(a, 'b') && connected(there, 'a'), 'it connects again')
      a.transport.send(numbered(1))
      await until(() => there.events.messages.length === 1, 'a message arrives at the new place')
      assert.ok(asked.length >= 2)
      assert.ok(asked.every((name) => name === 'b.test'))
    }))

  test('is dialled at its new address as soon as the membership says so', () =>
    withBench(async (bench) => {
      const [a, b] = await bench.pair()
      const moved = await bench.node('b')
      moved.transport.setMembers(members({ a: a.address, b: moved.address }))
      a.transport.setMembers(members({ a: a.address, b: moved.address }))
      assert.equal(connected(a, 'b'), false)
      await b.transport.close()
      await until(() => connected(a, 'b'), 'it connects')
      a.transport.send(numbered(5))
      await until(() => moved.events.messages.length === 1, 'a message arrives')
      assert.deepEqual(numbers(moved.events.messages), [5])
    }))
})

describe('a half-open connection', () => {
  const rpcTimeoutMs = 90

  test('to a server that accepts and never answers is given up, and dialled again', () =>
    withBench(async (bench) => {
      const sockets: Socket[] = []
      const address = await bench.server((socket) => sockets.push(socket.resume()))
      const a = await bench.node('a', { rpcTimeoutMs })
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(
        () => sockets.length >= 3 && sockets.slice(0, 2).every(({ destroyed }) => destroyed),
        'it dials again',
      )
      assert.deepEqual(a.events.ups, [])
      assert.equal(a.lines.filter((line) => line.includes('did not answer the greeting')).length, 1)
    }))

  test('to a peer that fell silent after its greeting is given up, even while messages are sent', () =>
    withBench(async (bench) => {
      const address = await bench.server((socket) => {
        // It reads no more: what is sent lies in the kernel and looks as if it had gone.
        socket.once('data', () => {
          socket.pause()
          socket.write(frameBytes(encodeHello(hello('b', 'a'))))
        })
      })
      const a = await bench.node('a', { rpcTimeoutMs })
      a.transport.setMembers(members({ a: a.address, b: address }))
      const heartbeat = setInterval(() => a.transport.send(numbered(1)), 5)
      try {
        await until(() => a.events.ups.length >= 2 && a.events.downs.length >= 1, 'it is given up and dialled again')
      } finally {
        clearInterval(heartbeat)
      }
      assert.ok(a.lines.some((line) => /^Lost the connection to b .*nothing was heard for 90 ms/.test(line)))
    }))

  test('from a peer that fell silent is closed and reported', () =>
    withBench(async (bench) => {
      const a = await bench.node('a', { rpcTimeoutMs })
      const b = await bench.server((socket) => {
        new HandPeer(socket).answer(identity('b'), 'a')
        // A link that answers pings stays, so that the report can only be of the other one.
        const pong = () => socket.write(Uint8Array.of(0, 0, 0, 4, 0, 2, 0x91, 3))
        socket.once('data', () => socket.on('data', pong))
      })
      a.transport.setMembers(members({ a: a.address, b }))
      await until(() => connected(a, 'b'), 'the outgoing link is up')
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => peer.ended, 'the silent link is closed')
      await until(() => a.events.downs.length === 1, 'the loss is reported')
      assert.ok(connected(a, 'b'))
      assert.ok(a.lines.some((line) => line.includes('Closed a connection from b: nothing was heard for 180 ms')))
    }))

  test('is none when both sides are only idle', () =>
    withBench(async (bench) => {
      const [a, b] = await bench.pair({ rpcTimeoutMs: 60 })
      // Many timeouts long, measured by a third connection that is closed for its silence several times over.
      for (let i = 0; i < 5; i++) {
        const silent = new HandPeer(await bench.dial(a.address))
        await until(() => silent.ended, 'a stranger is not waited for')
      }
      assert.deepEqual([a.events.downs, b.events.downs], [[], []])
      assert.deepEqual([a.events.ups, b.events.ups], [['b'], ['a']])
    }))
})

describe('a process', () => {
  const script = fileURLToPath(new URL('./peer-process.ts', import.meta.url))

  function run(mode: string, address: string): ChildProcess {
    return spawn(process.execPath, ['--import', 'tsx', script, mode, address], { stdio: ['ignore', 'pipe', 'inherit'] })
  }

  async function firstLine(child: ChildProcess): Promise<string> {
    const { stdout } = child
    if (stdout === null) throw new Error('No output')
    const [chunk] = await once(stdout.setEncoding('utf8'), 'data')
    return String(chunk).trim()
  }

  test('that is killed is reported at once, long before any timeout, and so is each refused dial', () =>
    withBench(async (bench) => {
      const a = await bench.node('a', { rpcTimeoutMs: 600_000 })
      const child = run('stay', a.address)
      try {
        const address = await firstLine(child)
        a.transport.setMembers(members({ a: a.address, b: address }))
        await until(() => connected(a, 'b') && a.events.messages.length > 0, 'both links are up')
        const before = a.events.downs.length
        child.kill('SIGKILL')
        await until(() => a.events.downs.length >= before + 3, 'both losses and a refused dial are reported')
        assert.equal(connected(a, 'b'), false)
      } finally {
        child.kill('SIGKILL')
      }
    }))

  test('ends by itself once its transport is closed', () =>
    withBench(async (bench) => {
      const a = await bench.node('a')
      const child = run('close', a.address)
      try {
        const address = await firstLine(child)
        a.transport.setMembers(members({ a: a.address, b: address }))
        await until(() => child.exitCode !== null, 'it ends', 20_000)
        assert.equal(child.exitCode, 0)
      } finally {
        child.kill('SIGKILL')
      }
    }))
})
