// What holds for every state machine, held against each of them: the embedded one, and an application behind its webhook.

import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { createAppMachine } from '../../src/machine/app.ts'
import { createKvMachine } from '../../src/machine/kv.ts'
import type { StateMachine } from '../../src/machine/state-machine.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { collect, entry, jsonEntry, promptClock, setEntry } from './fixtures.ts'
import { startKvApp } from './kv-app.ts'
import { realClock } from './test-server.ts'

interface Subject {
  readonly machine: StateMachine
  /** What the machine holds under the key, undefined for nothing. */
  read(key: string): unknown
  stop(): Promise<void>
}

const subjects: readonly [name: string, start: () => Promise<Subject>][] = [
  [
    'kv',
    async () => {
      const machine = createKvMachine(promptClock)
      return { machine, read: (key) => machine.get(key)?.value, stop: () => machine.close() }
    },
  ],
  [
    'app',
    async () => {
      const app = await startKvApp()
      const machine = createAppMachine({ url: app.url, cluster: 'c', node: 'n1', clock: realClock })
      return {
        machine,
        read: (key) => app.state.get(key),
        async stop() {
          await machine.close()
          await app.stop()
        },
      }
    },
  ],
]

for (const [name, start] of subjects) {
  describe(`the contract of a state machine: ${name}`, () => {
    function contractTest(sentence: string, run: (subject: Subject) => Promise<void>): void {
      test(sentence, async () => {
        const subject = await start()
        try {
          await run(subject)
        } finally {
          await subject.stop()
        }
      })
    }

    async function applied(machine: StateMachine, after: number, ...commands: Entry[]): Promise<readonly unknown[]> {
      const outcome = await machine.apply(after, commands)
      assert.ok(outcome.type === 'applied', JSON.stringify(outcome))
      return outcome.results
    }

    contractTest('it begins at 0, and is at the last command that it took', async ({ machine }) => {
      assert.equal(await machine.position(), 0)
      await applied(machine, 0, setEntry(2, 'a', 1), setEntry(5, 'b', 2))
      assert.equal(await machine.position(), 5)
    })

    contractTest('it applies in order and gives one result a command', async ({ machine, read }) => {
      const results = await applied(machine, 0, setEntry(1, 'a', 1), setEntry(2, 'a', { x: 'ü' }))
      assert.equal(results.length, 2)
      assert.deepEqual(read('a'), { x: 'ü' })
      await applied(machine, 2, jsonEntry(3, { op: 'delete', key: 'a' }))
      assert.equal(read('a'), undefined)
    })

    contractTest(
      'a batch that it has already, or that leaves a gap, is answered with its position',
      async (subject) => {
        const { machine, read } = subject
        await applied(machine, 0, setEntry(1, 'a', 1))
        assert.deepEqual(await machine.apply(0, [setEntry(1, 'a', 2)]), { type: 'elsewhere', position: 1 })
        assert.deepEqual(await machine.apply(2, [setEntry(3, 'a', 3)]), { type: 'elsewhere', position: 1 })
        assert.equal(read('a'), 1)
      },
    )

    contractTest('a command that means nothing to it does not stop the ones after it', async ({ machine, read }) => {
      const results = await applied(machine, 0, entry(1, 'bytes', Uint8Array.of(0, 255)), setEntry(2, 'a', 1))
      assert.equal((results[0] as { ok: boolean }).ok, false)
      assert.equal(read('a'), 1)
    })

    contractTest('a large batch arrives whole', async ({ machine, read }) => {
      const commands = Array.from({ length: 1000 }, (_, i) => setEntry(i + 1, `k${i}`, 'v'.repeat(900)))
      assert.equal((await applied(machine, 0, ...commands)).length, 1000)
      assert.equal(read('k999'), 'v'.repeat(900))
    })

    /** A picture read to its end, to be restored as often as wished. */
    async function pictureOf(machine: StateMachine): Promise<{ position: number; bytes: Buffer }> {
      const snapshot = await machine.snapshot()
      assert.ok(snapshot !== null)
      return { position: snapshot.position, bytes: await collect(snapshot.body) }
    }

    async function restored(machine: StateMachine, position: number, ...chunks: readonly Uint8Array[]): Promise<void> {
      const body = (async function* () {
        yield* chunks
      })()
      assert.deepEqual(await machine.restore({ position, body }), { type: 'restored' })
    }

    contractTest('a picture of its state brings it back to that, from before and from behind', async (subject) => {
      const { machine, read } = subject
      await applied(machine, 0, setEntry(2, 'a', { x: 'ü' }), setEntry(5, 'b', 2))
      const { position, bytes } = await pictureOf(machine)
      assert.equal(position, 5)
      await applied(
        machine,
        5,
        setEntry(6, 'a', 'later'),
        setEntry(7, 'c', 'later'),
        jsonEntry(8, { op: 'delete', key: 'b' }),
      )
      await restored(machine, 5, bytes)
      assert.deepEqual([read('a'), read('b'), read('c')], [{ x: 'ü' }, 2, undefined])
      assert.equal(await machine.position(), 5)
      await applied(machine, 5, setEntry(6, 'a', 'again'))
      assert.equal(read('a'), 'again')
    })

    contractTest('the picture of an empty state empties it', async ({ machine, read }) => {
      const { position, bytes } = await pictureOf(machine)
      assert.equal(position, 0)
      await applied(machine, 0, setEntry(1, 'a', 1))
      await restored(machine, 0, bytes)
      assert.equal(read('a'), undefined)
      assert.equal(await machine.position(), 0)
    })

    contractTest('a picture shows one moment, though applying goes on while it is read', async ({ machine, read }) => {
      const commands = Array.from({ length: 3000 }, (_, i) => setEntry(i + 1, `k${i}`, 'v'.repeat(900)))
      for (let i = 0; i < 3000; i += 1000) await applied(machine, i, ...commands.slice(i, i + 1000))
      const snapshot = await machine.snapshot()
      assert.ok(snapshot !== null)
      const chunks: Uint8Array[] = []
      let index = 3000
      for await (const chunk of snapshot.body) {
        chunks.push(Buffer.from(chunk))
        await applied(machine, index++, setEntry(index, `k${(index * 7919) % 3000}`, 'later'))
      }
      await restored(machine, 3000, ...chunks)
      for (let i = 0; i < 3000; i++) assert.equal(read(`k${i}`), 'v'.repeat(900))
    })

    contractTest('a picture that nobody reads is let go of, and another one may follow', async ({ machine }) => {
      await applied(machine, 0, ...Array.from({ length: 3000 }, (_, i) => setEntry(i + 1, `k${i}`, 'v'.repeat(300))))
      for (let i = 0; i < 3; i++) {
        const snapshot = await machine.snapshot()
        await snapshot?.body[Symbol.asyncIterator]().return?.()
      }
      assert.equal((await pictureOf(machine)).position, 3000)
      await applied(machine, 3000, setEntry(3001, 'a', 1))
    })

    contractTest('a body that breaks off is taken in no part, and why it broke off is told', async (subject) => {
      const { machine, read } = subject
      await applied(machine, 0, setEntry(1, 'a', 1))
      const { bytes } = await pictureOf(machine)
      await applied(machine, 1, setEntry(2, 'a', 2))
      const rot = new Error('bit rot')
      const body = (async function* () {
        yield bytes
        throw rot
      })()
      await assert.rejects(machine.restore({ position: 1, body }), rot)
      assert.equal(read('a'), 2)
      await applied(machine, 2, setEntry(3, 'b', 3))
    })
  })
}
