// The contract of the hooks, the same behind every kind of server.

import assert from 'node:assert/strict'
import { type ClientRequest, request as httpRequest } from 'node:http'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { type CommandMeta, createHooks, type LeadershipChange, PoisonCommand } from '../../src/client/client.ts'
import { until } from '../api/running-api.ts'
import { batch, deliver, positionOf, recorder, timestamp } from './hook-kit.ts'
import { servers } from './hook-servers.ts'

for (const [name, serve] of servers) {
  describe(`behind ${name}`, () => {
    it('applies one command after the other, from nothing on, and gives a result for each', async (t) => {
      const seen: (readonly [unknown, CommandMeta])[] = []
      const served = await serve(t, {
        apply: async (command, meta) => {
          seen.push([command, meta])
          return meta.index === 3 ? undefined : { at: meta.index }
        },
      })
      assert.equal(await positionOf(served), 0)
      const first = await deliver(served, 0, [2], { key: 'k', traceparent: '00-a', later: 1 })
      assert.deepEqual([first.status, first.json], [200, { results: [{ at: 2 }] }])
      const second = await deliver(served, 2, [3, 7], { command: undefined, bytes: 'AP8=' })
      assert.deepEqual([second.status, second.json], [200, { results: [null, { at: 7 }] }])
      assert.equal(await positionOf(served), 7)
      const meta = { term: 3, timestamp, timestampMs: Date.parse(timestamp), key: null, traceparent: null }
      assert.deepEqual(seen, [
        [2, { ...meta, index: 2, key: 'k', traceparent: '00-a' }],
        [Buffer.from([0, 255]), { ...meta, index: 3 }],
        [Buffer.from([0, 255]), { ...meta, index: 7 }],
      ])
    })

    it('answers where it is to what it holds, in part or whole, and to what leaves commands out', async (t) => {
      const { applied, options } = recorder()
      const served = await serve(t, options)
      await deliver(served, 0, [1, 2, 3])
      for (const [after, indexes] of [
        [0, [1, 2, 3]],
        [0, [1]],
        [1, [2, 3, 4]],
        [0, [1, 2, 3, 4, 5]],
        [4, [5]],
      ] as const) {
        const { status, json } = await deliver(served, after, indexes)
        assert.deepEqual([status, json], [409, { position: 3 }], `${indexes} after ${after}`)
      }
      assert.deepEqual(applied, [1, 2, 3])
      assert.equal((await deliver(served, 3, [4])).status, 200)
    })

    it('counts what was applied before a failure, and nothing of what failed', async (t) => {
      const applied: unknown[] = []
      let isFailing = true
      const served = await serve(t, {
        apply: (command) => {
          if (command === 3 && isFailing) throw new Error('the disk is full')
          applied.push(command)
          return command
        },
      })
      const { status, json } = await deliver(served, 0, [1, 2, 3, 4])
      assert.deepEqual([status, json], [500, { error: 'the disk is full' }])
      assert.deepEqual(served.errors.map(String), ['Error: the disk is full'])
      assert.equal(await positionOf(served), 2)
      isFailing = false
      assert.deepEqual((await deliver(served, 2, [3, 4])).json, { results: [3, 4] })
      assert.deepEqual(applied, [1, 2, 3, 4])
    })

    it('knows the results of a batch that it left unfinished, when that comes again', async (t) => {
      const applied: unknown[] = []
      let failures = 2
      const served = await serve(t, {
        apply: (command) => {
          if (command === 3 && failures-- > 0) throw new Error('not now')
          applied.push(command)
          return `did ${command}`
        },
      })
      for (const status of [500, 500, 200]) {
        const answer = await deliver(served, 0, [1, 2, 3, 4])
        assert.equal(answer.status, status)
        if (status === 200) assert.deepEqual(answer.json, { results: ['did 1', 'did 2', 'did 3', 'did 4'] })
      }
      assert.deepEqual(applied, [1, 2, 3, 4])
      assert.equal((await deliver(served, 0, [1, 2, 3, 4])).status, 409)
    })

    it('names the poison, and takes what stands before it by itself without applying it twice', async (t) => {
      const applied: unknown[] = []
      const served = await serve(t, {
        apply: (command) => {
          if (command === 3) throw new PoisonCommand('no such order')
          applied.push(command)
          return `did ${command}`
        },
      })
      const refused = await deliver(served, 0, [1, 2, 3, 4])
      assert.deepEqual([refused.status, refused.json], [422, { index: 3, reason: 'no such order' }])
      const before = await deliver(served, 0, [1, 2])
      assert.deepEqual([before.status, before.json], [200, { results: ['did 1', 'did 2'] }])
      assert.equal((await deliver(served, 2, [3, 4])).status, 422)
      // The cluster has agreed to leave it out.
      assert.deepEqual((await deliver(served, 2, [4])).json, { results: ['did 4'] })
      assert.deepEqual(applied, [1, 2, 4])
      assert.deepEqual(served.errors, [])
    })

    it('leaves a batch to one transaction, with its position in it', async (t) => {
      const stored = { position: 0, sum: 0 }
      const served = await serve(t, {
        position: async () => stored.position,
        applyBatch: async (commands, after) => {
          assert.equal(after, stored.position)
          const sum = commands.reduce((total, { command }) => total + Number(command), stored.sum)
          if (sum > 100) throw new Error('rolled back')
          if (commands.some(({ command }) => command === 50)) throw new PoisonCommand('fifty', 50)
          Object.assign(stored, { position: commands.at(-1)?.index, sum })
          return sum === 10 ? undefined : commands.map(() => sum)
        },
      })
      const silent = await deliver(served, 0, [1, 2, 3, 4])
      assert.deepEqual([silent.status, silent.text], [204, ''])
      assert.deepEqual((await deliver(served, 4, [5, 6])).json, { results: [21, 21] })
      assert.equal((await deliver(served, 6, [7, 98])).status, 500)
      assert.deepEqual((await deliver(served, 6, [50])).json, { index: 50, reason: 'fifty' })
      assert.deepEqual(stored, { position: 6, sum: 21 })
      // Somebody restored it.
      stored.position = 4
      assert.deepEqual((await deliver(served, 6, [7])).json, { position: 4 })
      assert.equal(await positionOf(served), 4)
    })

    it('says what an application does against the contract', async (t) => {
      const cases: readonly (readonly [Parameters<typeof serve>[1], RegExp])[] = [
        [{ applyBatch: () => [1] }, /did not return one result for each of 2 commands/],
        [{ applyBatch: () => Promise.reject(new PoisonCommand('which?')) }, /names the index/],
        [{ applyBatch: () => Promise.reject(new PoisonCommand('which?', 9)) }, /names the index/],
        [{ apply: () => 1, position: () => Number.NaN }, /position\(\) gave NaN/],
      ]
      for (const [options, complaint] of cases) {
        const served = await serve(t, options)
        const { status, json } = await deliver(served, 0, [1, 2])
        assert.equal(status, 500)
        assert.match((json as { error: string }).error, complaint)
        assert.equal(served.errors.length, 1)
      }
    })

    it('a result without a JSON form is null, and told of: the command is applied all the same', async (t) => {
      const served = await serve(t, { apply: () => 1n })
      assert.deepEqual((await deliver(served, 0, [1])).json, { results: [null] })
      assert.match(String(served.errors[0]), /BigInt/)
      assert.equal(await positionOf(served), 1)
    })

    it('never applies two batches at once, nor tells a position or takes a snapshot within one', async (t) => {
      let release = () => {}
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      const applied: unknown[] = []
      let isApplying = false
      const served = await serve(t, {
        apply: async (command) => {
          isApplying = true
          if (command === 1) await held
          applied.push(command)
        },
        snapshot: () => applied,
        restore: () => {},
      })
      const answers: string[] = []
      const note = (what: string) => (answer: { status: number; text: string }) =>
        void answers.push(`${what} ${answer.status} ${answer.text}`)
      const all = [deliver(served, 0, [1, 2]).then(note('first'))]
      await until(() => isApplying, 'the first one is applied')
      all.push(
        deliver(served, 0, [1, 2]).then(note('again')),
        served.send('GET', '/position').then(note('position')),
        served.send('POST', '/snapshot').then(note('snapshot')),
      )
      // Something that comes later and is answered shows that the requests before it were taken in.
      assert.equal((await served.send('POST', '/apply', { body: '{}' })).status, 400)
      assert.deepEqual(answers, [])
      release()
      await Promise.all(all)
      assert.deepEqual(answers.sort(), [
        'again 409 {"position":2}',
        'first 200 {"results":[null,null]}',
        'position 200 {"position":2}',
        'snapshot 200 [1,2]',
      ])
      assert.deepEqual(applied, [1, 2])
    })

    it('a batch whose sender gave up before its turn came is not applied', async (t) => {
      let release = () => {}
      const held = new Promise<void>((resolve) => {
        release = resolve
      })
      const applied: unknown[] = []
      const served = await serve(t, {
        apply: async (command) => {
          applied.push(command)
          if (command === 1) await held
        },
      })
      const first = deliver(served, 0, [1])
      await until(() => applied.length === 1, 'the first one is applied')
      const left = httpRequest(`${served.url}/apply`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
      })
      left.end(batch(1, [2]))
      // Something that comes later and is answered shows that the request before it was taken in.
      await new Promise((resolve) => left.on('finish', resolve))
      assert.equal((await served.send('POST', '/apply', { body: '{}' })).status, 400)
      await cut(left)
      assert.equal((await served.send('POST', '/apply', { body: '{}' })).status, 400)
      release()
      assert.equal((await first).status, 200)
      assert.equal(await positionOf(served), 1)
      assert.deepEqual(applied, [1])
    })

    it('a request that breaks off halfway changes nothing, and holds nobody up', async (t) => {
      const { applied, options } = recorder()
      const served = await serve(t, options)
      const body = batch(0, [1])
      const headers = { 'content-type': 'application/json', 'content-length': body.length }
      const broken = httpRequest(`${served.url}/apply`, { method: 'POST', headers })
      broken.write(body.slice(0, 20))
      assert.equal(await positionOf(served), 0)
      await cut(broken)
      assert.equal((await deliver(served, 0, [1])).status, 200)
      assert.deepEqual([applied, served.errors], [[1], []])
    })

    it('gives its state with its position, in any form, and takes it again', async (t) => {
      const states: readonly (readonly [what: string, state: () => unknown, text: string])[] = [
        ['a value', () => ({ a: [1, 'ü'] }), '{"a":[1,"ü"]}'],
        ['a text', () => 'ü', '"ü"'],
        ['bytes', () => Buffer.from([0, 255]), '\x00\xff'],
        ['a promise', async () => [1], '[1]'],
        ['a generator', function* () { yield 'a'; yield Buffer.from('b') }, 'ab'], // biome-ignore format: one line a case
        ['a stream', () => Readable.from(['a', 'b']), 'ab'],
      ]
      for (const [what, snapshot, text] of states) {
        let restored: unknown
        const served = await serve(t, {
          apply: () => null,
          snapshot,
          restore: async (state, position) => {
            restored = [(await state.bytes()).toString(what === 'bytes' ? 'latin1' : 'utf8'), position]
          },
        })
        await deliver(served, 0, [1, 5])
        const response = await served.open('POST', '/snapshot')
        assert.equal(response.statusCode, 200)
        assert.equal(response.headers['raft-position'], '5')
        assert.ok('content-length' in response.headers || 'transfer-encoding' in response.headers)
        const body = Buffer.from(await response.body.arrayBuffer())
        const headers = { 'raft-position': '9', 'content-type': 'application/octet-stream' }
        assert.equal((await served.send('PUT', '/snapshot', { headers, body })).status, 204)
        assert.deepEqual(restored, [text, 9], what)
        assert.equal(await positionOf(served), 9)
      }
    })

    it('goes on applying while parts of a snapshot are still to come', async (t) => {
      let more = () => {}
      const asked = new Promise<void>((resolve) => {
        more = resolve
      })
      const served = await serve(t, {
        apply: () => null,
        snapshot: async function* () {
          yield 'begin '
          await asked
          yield 'end'
        },
        restore: () => {},
      })
      const response = await served.open('POST', '/snapshot')
      assert.equal(response.headers['raft-position'], '0')
      assert.equal((await deliver(served, 0, [1])).status, 200)
      more()
      assert.equal(await response.body.text(), 'begin end')
    })

    it('a snapshot that fails is no snapshot, whether before its headers or behind them', async (t) => {
      const options = { apply: () => null, restore: () => {} }
      const early = await serve(t, { ...options, snapshot: () => Promise.reject(new Error('not now')) })
      assert.deepEqual((await early.send('POST', '/snapshot')).json, { error: 'not now' })
      const none = await serve(t, { ...options, snapshot: () => undefined })
      assert.equal((await none.send('POST', '/snapshot')).status, 500)
      const late = await serve(t, {
        ...options,
        snapshot: async function* () {
          yield 'begin'
          throw new Error('too late')
        },
      })
      const response = await late.open('POST', '/snapshot')
      await assert.rejects(response.body.text())
      await until(() => late.errors.length === 1, 'the error is told')
    })

    it('a state that does not come whole leaves the old one, and its position', async (t) => {
      let state: unknown = 'old'
      const served = await serve(t, {
        apply: () => null,
        snapshot: () => state,
        restore: async (incoming) => {
          state = await incoming.json()
        },
      })
      await deliver(served, 0, [3])
      const headers = { 'raft-position': '9', 'content-type': 'application/octet-stream' }
      const broken = httpRequest(`${served.url}/snapshot`, { method: 'PUT', headers })
      // All of it, but not the end of the request.
      broken.write('"new"')
      await until(() => broken.writableLength === 0, 'it was sent')
      await cut(broken)
      assert.equal(await positionOf(served), 3)
      const garbage = await served.send('PUT', '/snapshot', { headers, body: Buffer.from('{') })
      assert.equal(garbage.status, 500)
      const nowhere = await served.send('PUT', '/snapshot', { body: Buffer.from('1') })
      assert.equal(nowhere.status, 400)
      assert.deepEqual([state, await positionOf(served)], ['old', 3])
      assert.equal((await served.send('PUT', '/snapshot', { headers, body: Buffer.from('"new"') })).status, 204)
      assert.deepEqual([state, await positionOf(served)], ['new', 9])
    })

    it('a state may be left before its end', async (t) => {
      let first = 0
      const served = await serve(t, {
        apply: () => null,
        snapshot: () => null,
        restore: async (state) => {
          for await (const part of state) {
            first = part.length
            break
          }
        },
      })
      const headers = { 'raft-position': '9', 'content-type': 'application/octet-stream' }
      const body = Readable.from(Array.from({ length: 64 }, () => Buffer.alloc(65_536)))
      assert.equal((await served.send('PUT', '/snapshot', { headers, body })).status, 204)
      assert.ok(first > 0)
      assert.equal(await positionOf(served), 9)
    })

    it('tells of leadership in order, beside a batch that is under way', async (t) => {
      const changes: LeadershipChange[] = []
      let release = () => {}
      const served = await serve(t, {
        apply: () =>
          new Promise<void>((resolve) => {
            release = resolve
          }),
        leadership: (change) => void changes.push(change),
      })
      const applying = deliver(served, 0, [1])
      const acquired = { event: 'acquired', leader: 'n1', term: 3, fencingToken: 3 }
      const lost = { event: 'lost', leader: null, term: 4, fencingToken: 4 }
      for (const change of [acquired, lost]) {
        const { status } = await served.send('POST', '/leadership', { body: JSON.stringify(change) })
        assert.equal(status, 204)
      }
      assert.deepEqual(changes, [acquired, lost])
      assert.equal((await served.send('POST', '/leadership', { body: '{"event":"x"}' })).status, 400)
      release()
      assert.equal((await applying).status, 200)
    })

    it('refuses what is no batch, whole', async (t) => {
      const { applied, options } = recorder()
      const served = await serve(t, options)
      const one = batch(0, [1])
      const bodies = [
        '',
        '{',
        '[]',
        'null',
        '{"after":0}',
        '{"after":0,"commands":[]}',
        '{"after":0,"commands":{"length":1}}',
        one.replace('"after":0,', ''),
        one.replace('"after":0', '"after":1'),
        one.replace('"after":0', '"after":-1'),
        one.replace('"index":1', '"index":"1"'),
        one.replace('"term":3,', ''),
        one.replace(timestamp, 'today'),
        batch(0, [2, 1]),
        batch(0, [1, 1]),
        batch(0, [1]).replace(']}', ',null]}'),
      ]
      for (const body of bodies) assert.equal((await served.send('POST', '/apply', { body })).status, 400, body)
      assert.deepEqual([applied, served.errors], [[], []])
    })

    it('takes any JSON as a command, and large batches up to a bound', async (t) => {
      const { applied, options } = recorder()
      const served = await serve(t, { ...options, maxBodyBytes: 8 * 1024 * 1024 })
      const odd = '{"__proto__":{"a":1},"constructor":{"prototype":null},"n":1e400}'
      const { status } = await served.send('POST', '/apply', {
        body: batch(0, [1]).replace('"command":1', `"command":${odd}`),
      })
      assert.equal(status, 200)
      assert.deepEqual(applied, [JSON.parse(odd)])
      const padding = (megabytes: number) => ({ padding: 'x'.repeat(megabytes * 1024 * 1024) })
      assert.equal((await deliver(served, 1, [2], padding(7))).status, 200)
      assert.equal((await deliver(served, 2, [3], padding(9))).status, 413)
      assert.equal((await deliver(served, 2, [3])).status, 200)
    })

    it('what it does not offer, or not so, is said so', async (t) => {
      const served = await serve(t, { apply: () => null })
      for (const [method, path, status] of [
        ['POST', '/snapshot', 501],
        ['PUT', '/snapshot', 501],
        ['POST', '/leadership', 501],
        ['GET', '/apply', 405],
        ['POST', '/position', 405],
        ['GET', '/position?x=/apply', 200],
        ['GET', '/constructor', 404],
        ['GET', '/', 404],
      ] as const) {
        assert.equal((await served.send(method, path)).status, status, `${method} ${path}`)
      }
    })
  })
}

async function cut(request: ClientRequest): Promise<void> {
  request.on('error', () => {})
  const closed = new Promise((resolve) => request.on('close', resolve))
  request.destroy()
  await closed
}

describe('createHooks refuses', () => {
  const apply = () => null
  const cases: readonly (readonly [what: string, options: object, complaint: RegExp])[] = [
    ['neither apply nor applyBatch', {}, /either `apply` or `applyBatch`/],
    ['both of them', { apply, applyBatch: apply }, /either `apply` or `applyBatch`/],
    ['a snapshot without restore', { apply, snapshot: apply }, /come together/],
    ['a restore without snapshot', { apply, restore: apply }, /come together/],
    ['an empty secret', { apply, secret: [] }, /`secret` is empty/],
    ['a secret of another kind', { apply, secret: 'hunter2' }, /^TypeError: `secret` is not whsec_ and base64$/],
  ]
  for (const [what, options, complaint] of cases) {
    it(what, () => assert.throws(() => createHooks(options as never), complaint))
  }
})
