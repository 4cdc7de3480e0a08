// What nodes show of themselves, and what becomes of one that has forgotten what it once showed.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { Acquaintances } from '../../src/node/acquaintances.ts'
import type { Standing } from '../../src/node/ports.ts'
import { encodeMessage } from '../../src/peers/codec.ts'
import { frame, frameBytes } from '../../src/peers/frames.ts'
import { encodeHello, encodeRefusal, protocolVersion } from '../../src/peers/handshake.ts'
import { packHeader } from '../../src/peers/header.ts'
import {
  type Bench,
  chunksArrive,
  connected,
  HandPeer,
  hello,
  identity,
  members,
  numbered,
  numbers,
  Recorder,
  run,
  standing,
  type TestNode,
  until,
  withBench,
} from './peer-kit.ts'

const known = standing('b', { run: run('b3', 'b2', 'b1'), currentTerm: 5, lastIndex: 80 })
const own = standing('a', { run: run('a2', 'a1'), currentTerm: 5, lastIndex: 100 })

/** A node that knows b by this. */
function acquainted(shown: Standing): Recorder {
  const events = new Recorder(own)
  const acquaintances = new Acquaintances({
    id: 'a',
    store: { load: () => new Map([['b', shown]]), save: async () => {} },
    after: () => () => {},
    onFailure: assert.ifError,
  })
  events.judge = (id, standing) => acquaintances.greeted(id, standing)
  return events
}

async function listener(bench: Bench, events = new Recorder(standing('a')), rpcTimeoutMs = 5000): Promise<TestNode> {
  const node = await bench.node('a', { rpcTimeoutMs }, events)
  node.transport.setMembers(members({ a: node.address, b: '127.0.0.1:1' }))
  return { ...node, events }
}

/** What those who refused for amnesia showed of themselves. */
function accusers(peer: HandPeer): (Standing | undefined)[] {
  return peer.greetings.flatMap((greeting) => (greeting.type === 'refused' ? [greeting.refusal.standing] : []))
}

function refusals(peer: HandPeer): string[] {
  return peer.greetings.map((greeting) => (greeting.type === 'refused' ? greeting.refusal.code : greeting.type))
}

const table: readonly (readonly [name: string, shown: Partial<Standing>, says: RegExp | null])[] = [
  ['is whole', {}, null],
  ['has gone on', { currentTerm: 6, lastIndex: 200 }, null],
  ['comes with an emptied directory', standing('b', { incarnation: 'b-2' }), /shows another data directory \(b-2\)/],
  ['has restarted', { run: run('b4', 'b3', 'b2', 'b1') }, null],
  ['comes with an older copy', { run: run('copy2', 'b1') }, /shows run 2 of its data directory, but showed a run 3 /],
  [
    'comes with an older copy that was started again',
    { run: run('copy4', 'copy3', 'copy2', 'b1') },
    /shows run 4 of a data directory whose run 3 \(copy3\) is not the one that it showed a before \(b3\)/,
  ],
  ['comes with an older term', { currentTerm: 4 }, /shows term 4, but showed a term 5 before/],
  ['comes with a shorter log', { lastIndex: 79 }, /shows a log that ends at 79, but acknowledged 80 to a before/],
]

describe('a member that', () => {
  for (const [name, shown, says] of table) {
    const fate = says === null ? 'taken' : 'refused'

    test(`${name} and calls is ${fate}`, () =>
      withBench(async (bench) => {
        const a = await listener(bench, acquainted(known))
        for (const channel of ['consensus', 'snapshots'] as const) {
          const peer = new HandPeer(await bench.dial(a.address))
          peer.hello(identity('b'), 'a', { channel, standing: { ...known, ...shown } })
          await until(() => peer.greetings.length === 1, 'a answers')
          assert.deepEqual(refusals(peer), [says === null ? 'hello' : 'amnesia'])
          if (says !== null) assert.deepEqual(accusers(peer), [own], 'the one who says it shows where it stands')
        }
        const { refusal } = a.transport.peers()[0] ?? {}
        if (says === null) assert.equal(refusal, null)
        else assert.match(refusal ?? '', says)
        assert.equal(a.lines.filter((line) => line.includes('(amnesia)')).length, says === null ? 0 : 1)
      }))

    test(`${name} and answers is ${fate}`, () =>
      withBench(async (bench) => {
        const peers: HandPeer[] = []
        const address = await bench.server((socket) => {
          const peer = new HandPeer(socket)
          peers.push(peer)
          peer.answer(identity('b'), 'a', { standing: { ...known, ...shown } })
        })
        const events = acquainted(known)
        const a = await bench.node('a', {}, events)
        a.transport.setMembers(members({ a: a.address, b: address }))
        if (says === null) {
          await until(() => events.ups.length === 1, 'it is up')
          return
        }
        await until(() => typeof a.transport.peers()[0]?.refusal === 'string', 'it is refused')
        assert.match(a.transport.peers()[0]?.refusal ?? '', says)
        await until(() => peers[0]?.ended === true, 'it is told')
        assert.deepEqual(refusals(peers[0] ?? assert.fail()), ['hello', 'amnesia'])
        assert.deepEqual(accusers(peers[0] ?? assert.fail()), [own])
        assert.deepEqual(events.ups, [])
      }))
  }

  test('was emptied is told so, whoever calls, by one who shows where it stands', () =>
    withBench(async (bench) => {
      const events = acquainted(known)
      const a = await bench.node('a', {}, events)
      const shown = new Recorder(standing('b', { incarnation: 'b-2' }))
      const b = { ...(await bench.node('b', {}, shown)), events: shown }
      const both = members({ a: a.address, b: b.address })
      a.transport.setMembers(both)
      b.transport.setMembers(both)
      const refusal = (node: TestNode) => node.transport.peers()[0]?.refusal ?? ''
      await until(() => refusal(a) !== '' && refusal(b) !== '', 'both say why')
      assert.match(refusal(a), /^Refused .* \(amnesia\): b shows another data directory/)
      assert.match(refusal(b), /\(amnesia\), it says: b shows another data directory .* add it under a new id\.$/)
      assert.deepEqual([events.ups, connected(a, 'b'), connected(b, 'a')], [[], false, false])
      const told = b.events.accusations[0] ?? assert.fail()
      assert.deepEqual([told.by, told.standing, a.events.accusations], ['a', own, []])
      assert.match(told.sentence, /^b shows another data directory .* add it under a new id\.$/)
    }))
})

describe('a node whose answer is refused', () => {
  test('says why, and logs it once however often it is called', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      for (let call = 0; call < 3; call++) {
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(identity('b'), 'a')
        await until(() => peer.greetings.length === 1, 'a answers')
        peer.say(encodeRefusal({ code: 'amnesia', sentence: 'a has forgotten its vote', standing: known }))
        await until(() => peer.ended, 'its link is closed')
      }
      await until(() => typeof a.transport.peers()[0]?.refusal === 'string', 'it knows why')
      const sentence = 'b called, and refused the answer (amnesia), it says: a has forgotten its vote'
      assert.equal(a.transport.peers()[0]?.refusal, sentence)
      assert.equal(a.lines.filter((line) => line === sentence).length, 1)
      const said = { by: 'b', standing: known, sentence: 'a has forgotten its vote' }
      assert.deepEqual(a.events.accusations, [said, said, said])
    }))

  test('for another reason is not disowned by that', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => peer.greetings.length === 1, 'a answers')
      peer.say(encodeRefusal({ code: 'founding', sentence: 'a was founded elsewhere' }))
      await until(() => peer.ended, 'its link is closed')
      assert.deepEqual([a.events.accusations, typeof a.transport.peers()[0]?.refusal], [[], 'string'])
    }))

  test('as one that has forgotten, by somebody who does not show where it stands, is not disowned', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => peer.greetings.length === 1, 'a answers')
      peer.say(frame(packHeader([1, 'amnesia', 'a has forgotten its vote'])))
      await until(() => peer.ended, 'its link is closed')
      assert.deepEqual([a.events.accusations, a.transport.peers()[0]?.refusal], [[], null])
    }))
})

describe('a node whose call is refused as one that has forgotten', () => {
  test('is disowned at each call by the member that it called, and by nobody once it is closed', () =>
    withBench(async (bench) => {
      const sockets: HandPeer[] = []
      const address = await bench.server((socket) => {
        const peer = new HandPeer(socket)
        sockets.push(peer)
        socket.once('data', () =>
          peer.say(encodeRefusal({ code: 'amnesia', sentence: 'a has forgotten its vote', standing: known })),
        )
      })
      const a = await bench.node('a')
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => a.events.accusations.length === 1, 'it is told')
      assert.deepEqual(a.events.accusations, [{ by: 'b', standing: known, sentence: 'a has forgotten its vote' }])
      await until(() => a.events.accusations.length === 2, 'it is told again')
      await a.transport.close()
      assert.equal(a.events.accusations.length, 2)
    }))
})

describe('what a node shows', () => {
  test('is asked for at each greeting, calling and answering', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const seen: Standing[] = []
      for (const currentTerm of [1, 2]) {
        a.events.shown = standing('a', { currentTerm, lastIndex: 10 * currentTerm })
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(identity('b'), 'a')
        await until(() => peer.greetings.length === 1, 'a answers')
        const [answer] = peer.greetings
        if (answer?.type === 'hello') seen.push(answer.hello.standing)
      }
      const address = await bench.server((socket) => {
        const peer = new HandPeer(socket)
        peer.socket.on('data', () => {
          const [call] = peer.greetings
          if (call?.type === 'hello') seen.push(call.hello.standing)
          socket.destroy()
        })
      })
      a.events.shown = standing('a', { currentTerm: 3, lastIndex: 30 })
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => seen.length === 3, 'a calls')
      a.events.shown = standing('a', { currentTerm: 4, lastIndex: 40 })
      await until(() => seen.at(-1)?.currentTerm === 4, 'a calls again')
      assert.deepEqual(
        seen.slice(0, 3).map(({ currentTerm, lastIndex }) => [currentTerm, lastIndex]),
        [
          [1, 10],
          [2, 20],
          [3, 30],
        ],
      )
    }))

  test('is judged once for each run of its process, however many links it has', () =>
    withBench(async (bench) => {
      const [a, b] = await bench.pair()
      await chunksArrive(a, b.events)
      assert.deepEqual([a.events.greetings.length, b.events.greetings.length], [1, 1])
      // An older greeting of a process that has acknowledged more since is no sign of anything.
      const called = await listener(bench)
      for (const id of ['first', 'first', 'second', 'second', 'second']) {
        const peer = new HandPeer(await bench.dial(called.address))
        peer.hello(identity('b'), 'a', {
          standing: standing('b', { run: run(id) }),
          channel: called.events.greetings.length === 1 ? 'snapshots' : 'consensus',
        })
        await until(() => peer.greetings.length === 1, 'a answers')
      }
      assert.equal(called.events.greetings.length, 2)
    }))

  test('is judged each time while it is refused', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      a.events.judge = async () => 'no'
      for (let call = 1; call <= 3; call++) {
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(identity('b'), 'a')
        await until(() => peer.ended, 'it is refused')
        assert.equal(a.events.greetings.length, call)
      }
      a.events.judge = async () => null
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => peer.greetings.length === 1, 'it is answered')
      assert.deepEqual(refusals(peer), ['hello'])
    }))

  const start = [0, 'raft-sidecar', protocolVersion, 'test', 'b', 'a', null, null] as const
  const garbage: readonly (readonly [name: string, fields: readonly (string | number | boolean | null)[]])[] = [
    ['an unknown channel', ['bulk', 'b-1', 1, 'run', null, 1, 1]],
    ['a channel that is no text', [1, 'b-1', 1, 'run', null, 1, 1]],
    ['no incarnation', ['consensus', null, 1, 'run', null, 1, 1]],
    ['an endless incarnation', ['consensus', 'b'.repeat(65), 1, 'run', null, 1, 1]],
    ['no run', ['consensus', 'b-1', 1, '', null, 1, 1]],
    ['an endless run', ['consensus', 'b-1', 1, 'r'.repeat(65), null, 1, 1]],
    ['a run that has no number', ['consensus', 'b-1', 'run', null, 1, 1]],
    ['a run before the first', ['consensus', 'b-1', 0, 'run', null, 1, 1]],
    ['more former runs than there were', ['consensus', 'b-1', 2, 'run', 'r0 r1', 1, 1]],
    ['more former runs than are kept', ['consensus', 'b-1', 999, 'run', Array(128).fill('r').join(' '), 1, 1]],
    ['a former run without an id', ['consensus', 'b-1', 3, 'run', 'r1 ', 1, 1]],
    ['an endless former run', ['consensus', 'b-1', 3, 'run', `r1 ${'r'.repeat(65)}`, 1, 1]],
    ['a term below zero', ['consensus', 'b-1', 1, 'run', null, -1, 1]],
    ['a term with a fraction', ['consensus', 'b-1', 1, 'run', null, 1.5, 1]],
    ['a term past all numbers', ['consensus', 'b-1', 1, 'run', null, 2 ** 53, 1]],
    ['a term that is a text', ['consensus', 'b-1', 1, 'run', null, '1', 1]],
    ['an index that is none', ['consensus', 'b-1', 1, 'run', null, 1, true]],
    ['no index', ['consensus', 'b-1', 1, 'run', null, 1]],
    ['one field more', ['consensus', 'b-1', 1, 'run', null, 1, 1, 1]],
  ]

  test('of its runs comes through whole, however many there were', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const former = Array.from({ length: 127 }, (_, at) => String(at).padStart(64, 'r'))
      for (const shown of [run('b1'), run('b2', 'b1'), { number: 4000, id: 'i'.repeat(64), former }]) {
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(identity('b'), 'a', { standing: standing('b', { run: shown }) })
        await until(() => peer.greetings.length === 1, 'a answers')
        assert.deepEqual(a.events.greetings.at(-1)?.standing.run, shown)
      }
    }))

  for (const [name, fields] of garbage) {
    test(`with ${name} is no greeting`, () =>
      withBench(async (bench) => {
        const a = await listener(bench)
        const peer = new HandPeer(await bench.dial(a.address))
        peer.say(frame(packHeader([...start, ...fields])))
        await until(() => peer.ended, 'it is closed')
        assert.deepEqual([peer.greetings, a.events.greetings], [[], []])
      }))
  }
})

describe('a judgement that is not there yet', () => {
  function held(): { readonly events: Recorder; readonly decide: ((sentence: string | null) => void)[] } {
    const events = new Recorder(standing('a'))
    const decide: ((sentence: string | null) => void)[] = []
    events.judge = () => new Promise((resolve) => decide.push(resolve))
    return { events, decide }
  }

  test('holds back the answer, and ends the link of a member that does not wait for it', () =>
    withBench(async (bench) => {
      const { events, decide } = held()
      const a = await listener(bench, events)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => decide.length === 1, 'it is asked for')
      peer.say(encodeMessage(numbered(1, 'b', 'a')))
      await until(() => peer.ended, 'its link is closed')
      decide[0]?.(null)
      const next = new HandPeer(await bench.dial(a.address))
      next.hello(identity('b'), 'a')
      await until(() => next.greetings.length === 1, 'the next link is taken')
      assert.deepEqual([peer.greetings, events.messages], [[], []])
      assert.ok(
        a.lines.some((line) => line === 'Closed a connection from b: more than a greeting came before it was answered'),
      )
    }))

  test('also of the one who answered: a message in the same breath is not received', () =>
    withBench(async (bench) => {
      let calls = 0
      const address = await bench.server((socket) => {
        calls++
        const answer = [frameBytes(encodeHello(hello('b', 'a'))), frameBytes(encodeMessage(numbered(1, 'b', 'a')))]
        socket.once('data', () => socket.write(Buffer.concat(answer)))
      })
      const { events, decide } = held()
      const a = await bench.node('a', {}, events)
      a.transport.setMembers(members({ a: a.address, b: address }))
      await until(() => calls === 2, 'it calls again')
      decide[0]?.(null)
      assert.deepEqual([events.ups, events.messages], [[], []])
    }))

  test('and never comes costs the link, calling and answering', () =>
    withBench(async (bench) => {
      const { events, decide } = held()
      const answers: HandPeer[] = []
      const address = await bench.server((socket) => {
        const peer = new HandPeer(socket)
        answers.push(peer)
        peer.answer(identity('b'), 'a', { standing: standing('b', { run: run('another') }) })
      })
      const a = await bench.node('a', { rpcTimeoutMs: 60 }, events)
      a.transport.setMembers(members({ a: a.address, b: address }))
      const caller = new HandPeer(await bench.dial(a.address))
      caller.hello(identity('b'), 'a')
      await until(() => caller.ended && answers.length >= 2 && answers[0]?.ended === true, 'both links are closed')
      assert.deepEqual([caller.greetings, events.ups, connected(a, 'b')], [[], [], false])
      for (const one of decide) one(null)
    }))

  test('and comes when the link has gone does nothing, and holds for the next link of that process', () =>
    withBench(async (bench) => {
      const { events, decide } = held()
      const a = await listener(bench, events)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => decide.length === 1, 'it is asked for')
      peer.socket.destroy()
      const next = new HandPeer(await bench.dial(a.address))
      next.hello(identity('b'), 'a')
      next.socket.resume()
      decide[0]?.(null)
      await until(() => next.greetings.length === 1, 'the next link is taken')
      next.say(encodeMessage(numbered(3, 'b', 'a')))
      await until(() => events.messages.length === 1, 'a message arrives')
      assert.deepEqual([numbers(events.messages), events.greetings.length], [[3], 1])
    }))

  test('and fails ends the link, and is asked for again', () =>
    withBench(async (bench) => {
      const events = new Recorder(standing('a'))
      events.judge = () => Promise.reject(new Error('the disk is gone'))
      const a = await listener(bench, events)
      for (let call = 1; call <= 2; call++) {
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(identity('b'), 'a')
        await until(() => peer.ended, 'its link is closed')
        assert.deepEqual([peer.greetings, events.greetings.length], [[], call])
      }
      const b = await bench.node('b')
      b.transport.setMembers(members({ a: a.address, b: b.address }))
      a.transport.setMembers(members({ a: a.address, b: b.address }))
      await until(() => a.lines.some((line) => line.includes('the disk is gone')), 'what it called itself is logged')
      assert.deepEqual([events.ups, a.transport.peers()[0]?.refusal], [[], null])
    }))

  test('does not keep a transport from closing, nor does what it would have been', () =>
    withBench(async (bench) => {
      for (const sentence of [null, 'it forgot']) {
        const { events, decide } = held()
        const a = await listener(bench, events)
        const peer = new HandPeer(await bench.dial(a.address))
        peer.hello(identity('b'), 'a')
        await until(() => decide.length === 1, 'it is asked for')
        const lines = a.lines.length
        await a.transport.close()
        decide[0]?.(sentence)
        await until(() => peer.ended, 'the link is closed')
        assert.deepEqual([peer.greetings, a.lines.slice(lines)], [[], []])
      }
    }))

  test('is of no use to one that has ceased to be a member meanwhile', () =>
    withBench(async (bench) => {
      const { events, decide } = held()
      const a = await listener(bench, events)
      const peer = new HandPeer(await bench.dial(a.address))
      peer.hello(identity('b'), 'a')
      await until(() => decide.length === 1, 'it is asked for')
      a.transport.setMembers(members({ a: a.address }))
      decide[0]?.(null)
      await until(() => peer.ended, 'the link is closed')
      assert.deepEqual(refusals(peer), ['not-a-member'])
    }))
})

describe('what a former process of a member left behind', () => {
  test('is not read any more once its successor is taken, on whatever link that called', () =>
    withBench(async (bench) => {
      const a = await listener(bench)
      const former = new HandPeer(await bench.dial(a.address))
      former.hello(identity('b'), 'a', { standing: standing('b', { run: run('first') }) })
      await until(() => former.greetings.length === 1, 'the former one is taken')
      const successor = new HandPeer(await bench.dial(a.address))
      const second = standing('b', { run: run('second', 'first') })
      successor.hello(identity('b'), 'a', { standing: second, channel: 'snapshots' })
      await until(() => successor.greetings.length === 1 && former.ended, 'its successor is taken')
      assert.equal(successor.ended, false)
    }))

  test('is not touched by one that is refused', () =>
    withBench(async (bench) => {
      const a = await listener(bench, acquainted(known))
      const whole = new HandPeer(await bench.dial(a.address))
      whole.hello(identity('b'), 'a', { standing: known })
      await until(() => whole.greetings.length === 1, 'it is taken')
      const impostor = new HandPeer(await bench.dial(a.address))
      impostor.hello(identity('b'), 'a', { standing: standing('b', { incarnation: 'b-2' }) })
      await until(() => impostor.ended, 'the other one is refused')
      whole.say(encodeMessage(numbered(4, 'b', 'a')))
      await until(() => a.events.messages.length === 1, 'it goes on')
      assert.deepEqual(numbers(a.events.messages), [4])
    }))
})
