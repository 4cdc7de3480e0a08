import assert from 'node:assert/strict'
import { test } from 'node:test'
import { InvalidSnapshotError } from '../../src/errors.ts'
import { createKvMachine, type KvMachine } from '../../src/machine/kv.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { collect, entry, jsonEntry, promptClock, setEntry } from './fixtures.ts'

function apply(kv: KvMachine, after: number, ...commands: Entry[]): readonly unknown[] {
  const outcome = kv.apply(after, commands)
  assert.equal(outcome.type, 'applied')
  return outcome.type === 'applied' ? outcome.results : []
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes
}

test('set answers where a key was created and modified, and get shows it', () => {
  const kv = createKvMachine(promptClock)
  assert.deepEqual(apply(kv, 0, setEntry(2, 'a', { x: 1 }), setEntry(3, 'a', 'y')), [
    { ok: true, createdIndex: 2, modifiedIndex: 2 },
    { ok: true, createdIndex: 2, modifiedIndex: 3 },
  ])
  assert.deepEqual(kv.get('a'), { key: 'a', value: 'y', createdIndex: 2, modifiedIndex: 3 })
  assert.equal(kv.get('b'), null)
  assert.equal(kv.size, 1)
})

test('delete says whether the key was there, and a key set anew is created anew', () => {
  const kv = createKvMachine(promptClock)
  const del = (index: number) => jsonEntry(index, { op: 'delete', key: 'a' })
  assert.deepEqual(apply(kv, 0, del(1), setEntry(2, 'a', 0), del(3), setEntry(4, 'a', 0)), [
    { ok: true, existed: false },
    { ok: true, createdIndex: 2, modifiedIndex: 2 },
    { ok: true, existed: true },
    { ok: true, createdIndex: 4, modifiedIndex: 4 },
  ])
})

test('custom changes nothing', () => {
  const kv = createKvMachine(promptClock)
  assert.deepEqual(apply(kv, 0, jsonEntry(1, { op: 'custom', name: 'n', payload: [] })), [{ ok: true }])
  assert.equal(kv.size, 0)
})

test('what is no command yields a result and changes nothing, and the next one is applied', () => {
  const kv = createKvMachine(promptClock)
  const results = apply(kv, 0, entry(1, 'json', '{'), entry(2, 'bytes', '{"op":"set"}'), setEntry(3, 'k', 1))
  assert.match(JSON.stringify(results[0]), /"ok":false.*not valid JSON/)
  assert.match(JSON.stringify(results[1]), /"ok":false.*opaque bytes/)
  assert.match(JSON.stringify(results[2]), /"ok":true/)
  assert.equal(kv.size, 1)
})

test('compare-and-set goes by the index of the last modification, 0 meaning that there is no such key', () => {
  const kv = createKvMachine(promptClock)
  const set = (index: number, ifModifiedIndex: number) =>
    jsonEntry(index, { op: 'set', key: 'k', value: index, ifModifiedIndex })
  const results = apply(kv, 0, set(1, 5), set(2, 0), set(3, 0), set(4, 2), set(5, 2))
  assert.deepEqual(
    results.map((result) => (result as { ok: boolean }).ok),
    [false, true, false, true, false],
  )
  assert.match(JSON.stringify(results[4]), /"condition-failed".*"modifiedIndex":4/)
  assert.equal(kv.get('k')?.value, 4)
  const del = (index: number, ifModifiedIndex: number) => jsonEntry(index, { op: 'delete', key: 'k', ifModifiedIndex })
  assert.match(JSON.stringify(apply(kv, 5, del(6, 2), del(7, 4))), /"condition-failed".*"existed":true/)
})

test('a value comes back as it was written where no parser needs it', () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, entry(1, 'json', '{"op":"set","key":"\\"","value": [1e400, 12345678901234567890 ] }'))
  assert.equal(
    kv.getJson('"'),
    '{"key":"\\"","value":[1e400, 12345678901234567890 ],"createdIndex":1,"modifiedIndex":1}',
  )
  assert.equal(kv.getJson('b'), null)
})

test('a batch that does not follow the state is not applied', async () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, setEntry(1, 'a', 1))
  assert.deepEqual(kv.apply(0, [setEntry(1, 'a', 2)]), { type: 'elsewhere', position: 1 })
  assert.deepEqual(kv.apply(2, [setEntry(3, 'a', 2)]), { type: 'elsewhere', position: 1 })
  assert.equal(kv.get('a')?.value, 1)
  assert.equal(await kv.position(), 1)
})

test('a snapshot restores to the same state, odd values and keys included', async () => {
  const kv = createKvMachine(promptClock)
  const commands = [
    entry(1, 'json', '{"op":"set","key":"line\\nbreak\\ttab","value":{\n"a": 1e400\r\n,"b":"\\n"}}'),
    setEntry(2, '__proto__', 'ünï \u2028'),
    setEntry(3, 'a', null),
    setEntry(4, 'a', 2),
    setEntry(5, 'say "ä\\",7,8]', 3),
    setEntry(6, '",1,1]', 4),
    setEntry(7, 'schlüssel', 5),
  ]
  apply(kv, 0, ...commands)
  const copy = createKvMachine(promptClock)
  await copy.restore(await kv.snapshot())
  assert.equal(await copy.position(), 7)
  assert.equal(copy.size, 6)
  for (const key of ['say "ä\\",7,8]', '",1,1]', 'schlüssel']) {
    assert.notEqual(kv.get(key), null)
    assert.deepEqual(copy.get(key), kv.get(key))
  }
  assert.deepEqual(copy.get('__proto__'), kv.get('__proto__'))
  assert.deepEqual(copy.get('a'), { key: 'a', value: 2, createdIndex: 3, modifiedIndex: 4 })
  assert.match(copy.getJson('line\nbreak\ttab') ?? '', /1e400/)
  assert.deepEqual(JSON.parse(copy.getJson('line\nbreak\ttab') ?? ''), kv.get('line\nbreak\ttab'))
})

test('a snapshot shows one moment, whatever is written while it is read', async () => {
  const kv = createKvMachine(promptClock)
  const count = 20_000
  const commands = Array.from({ length: count }, (_, i) => setEntry(i + 1, `k${i}`, i))
  apply(kv, 0, ...commands)
  const snapshot = await kv.snapshot()
  const chunks: Uint8Array[] = []
  let index = count
  for await (const chunk of snapshot.body) {
    chunks.push(chunk)
    // Replaces, deletes, recreates and adds, all over the map and beside the place where the walk is.
    for (let i = 0; i < 1000; i++) {
      const after = index++
      const key = `k${(after * 7919) % count}`
      if (after % 4 === 0) apply(kv, after, jsonEntry(index, { op: 'delete', key }))
      else apply(kv, after, setEntry(index, after % 4 === 1 ? `new${after}` : key, 'changed'))
    }
  }
  assert.ok(chunks.length > 5)
  const copy = createKvMachine(promptClock)
  await copy.restore({ position: count, body: once(Buffer.concat(chunks)) })
  assert.equal(copy.size, count)
  for (let i = 0; i < count; i++) {
    assert.deepEqual(copy.get(`k${i}`), { key: `k${i}`, value: i, createdIndex: i + 1, modifiedIndex: i + 1 })
  }
  const untouched = commands.filter((_, i) => kv.get(`k${i}`)?.value === i).length
  assert.ok(untouched < count - 1000, `only ${count - untouched} keys were changed meanwhile`)
})

test('two snapshots are read side by side, and one that is given up lets go of its picture', async () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, setEntry(1, 'a', 1))
  const first = await kv.snapshot()
  apply(kv, 1, setEntry(2, 'a', 2))
  const second = await kv.snapshot()
  const abandoned = await kv.snapshot()
  await abandoned.body[Symbol.asyncIterator]().return?.()
  apply(kv, 2, setEntry(3, 'a', 3))
  for (const [snapshot, value] of [
    [second, 2],
    [first, 1],
  ] as const) {
    const copy = createKvMachine(promptClock)
    await copy.restore(snapshot)
    assert.equal(copy.get('a')?.value, value)
  }
  assert.deepEqual(await collect(abandoned.body), Buffer.alloc(0))
})

test('a snapshot in pieces of any size is restored', async () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, setEntry(1, 'a', 'x'.repeat(50)), setEntry(2, 'b', 2))
  const bytes = await collect((await kv.snapshot()).body)
  for (const size of [1, 7, bytes.length]) {
    const copy = createKvMachine(promptClock)
    async function* pieces() {
      const reused = Buffer.alloc(size)
      for (let i = 0; i < bytes.length; i += size) {
        const length = bytes.copy(reused, 0, i, i + size)
        yield reused.subarray(0, length)
      }
    }
    await copy.restore({ position: 2, body: pieces() })
    assert.equal(copy.get('b')?.value, 2)
    assert.equal(copy.size, 2)
  }
})

test('a snapshot with any one byte flipped, or cut anywhere, is refused and the old state stays', async () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, setEntry(1, 'a', 'one'), setEntry(2, 'b', 2))
  const bytes = await collect((await kv.snapshot()).body)
  const victim = createKvMachine(promptClock)
  apply(victim, 0, setEntry(1, 'old', 1))
  const refuses = (body: Uint8Array) =>
    assert.rejects(victim.restore({ position: 2, body: once(body) }), InvalidSnapshotError)
  for (let i = 0; i < bytes.length; i++) {
    const damaged = Buffer.from(bytes)
    damaged[i] = (damaged[i] ?? 0) ^ 0x01
    await refuses(damaged)
    await refuses(bytes.subarray(0, i))
  }
  await refuses(Buffer.concat([bytes, bytes]))
  await refuses(Buffer.concat([bytes, Buffer.from('x')]))
  assert.deepEqual(victim.get('old'), { key: 'old', value: 1, createdIndex: 1, modifiedIndex: 1 })
  assert.equal(victim.size, 1)
  assert.equal(await victim.position(), 1)
})

test('a snapshot of another version or position is refused with a sentence that says so', async () => {
  const kv = createKvMachine(promptClock)
  const snapshot = (head: object) => ({ position: 5, body: once(Buffer.from(`${JSON.stringify(head)}\n`)) })
  const format = 'raft-sidecar-kv'
  await assert.rejects(kv.restore(snapshot({ format, version: 2, position: 5, count: 0 })), /version is 2 .* reads 1/)
  await assert.rejects(kv.restore(snapshot({ format, version: 1, position: 4, count: 0 })), /taken at 4 .* one of 5/)
  await assert.rejects(kv.restore(snapshot({})), /does not begin with the head/)
})

test('a snapshot gives the loop back before each chunk', async () => {
  let turns = 0
  const kv = createKvMachine({
    defer(run) {
      turns++
      setImmediate(run)
    },
  })
  apply(kv, 0, ...Array.from({ length: 10_000 }, (_, i) => setEntry(i + 1, `k${i}`, i)))
  let chunks = 0
  for await (const chunk of (await kv.snapshot()).body) {
    chunks++
    assert.ok(chunk.length < 128 * 1024)
  }
  assert.ok(chunks > 3)
  assert.ok(turns >= chunks)
})

/** As a page of a listing shows them: key and where it was modified. */
function page(kv: KvMachine, prefix: string, after: string | null, limit: number) {
  const { items, more } = kv.listJson(prefix, after, limit)
  const shown = items.map((text) => JSON.parse(text)).map(({ key, modifiedIndex }) => `${key}@${modifiedIndex}`)
  return [shown, more]
}

test('a listing goes through the keys of a prefix in order, page by page', () => {
  const kv = createKvMachine(promptClock)
  const names = ['b', 'a/2', 'a', 'a/10', 'a/', 'a/1', 'a0', 'ab']
  apply(kv, 0, ...names.map((name, i) => setEntry(i + 1, name, i)))
  assert.deepEqual(page(kv, '', null, 100), [['a@3', 'a/@5', 'a/1@6', 'a/10@4', 'a/2@2', 'a0@7', 'ab@8', 'b@1'], false])
  assert.deepEqual(page(kv, 'a/', null, 3), [['a/@5', 'a/1@6', 'a/10@4'], true])
  assert.deepEqual(page(kv, 'a/', 'a/10', 3), [['a/2@2'], false])
  assert.deepEqual(page(kv, 'a/', null, 4)[1], false)
  // Where a page begins need be no key, nor below the prefix.
  assert.deepEqual(page(kv, 'a/', 'a/11', 9), [['a/2@2'], false])
  assert.deepEqual(page(kv, 'a/', 'A', 1), [['a/@5'], true])
  assert.deepEqual(page(kv, 'a/', 'b', 9), [[], false])
  assert.deepEqual(page(kv, 'c', null, 9), [[], false])
})

test('a listing shows what was set and deleted last', () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, setEntry(1, 'a', 1), setEntry(2, 'b', 1), jsonEntry(3, { op: 'delete', key: 'a' }), setEntry(4, 'b', 2))
  assert.deepEqual(page(kv, '', null, 9), [['b@4'], false])
  apply(kv, 4, setEntry(5, 'a', 1))
  assert.deepEqual(page(kv, '', null, 9), [['a@5', 'b@4'], false])
})

test('a listed item is the text that a read of it gives, its value as it was sent', () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, entry(1, 'json', '{"op":"set","key":"\\"","value": [1e400, 12345678901234567890 ] }'))
  assert.deepEqual(kv.listJson('', null, 1), { items: [kv.getJson('"')], more: false })
})

test('keys are in the order of their code units', () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, ...['ﬀ', '🚣', 'z', 'Z', 'é', 'e\u0301'].map((name, i) => setEntry(i + 1, name, i)))
  assert.deepEqual(page(kv, '', null, 9)[0], ['Z@4', 'e\u0301@6', 'z@3', 'é@5', '🚣@2', 'ﬀ@1'])
})

test('a page ends early where values are large, and the next one goes on behind it', () => {
  const kv = createKvMachine(promptClock)
  apply(kv, 0, ...[1, 2, 3, 4, 5].map((i) => setEntry(i, `k${i}`, 'v'.repeat(400_000))))
  assert.deepEqual(page(kv, 'k', null, 5), [['k1@1', 'k2@2', 'k3@3'], true])
  assert.deepEqual(page(kv, 'k', 'k3', 5), [['k4@4', 'k5@5'], false])
})

test('a listing goes on while a picture is read, and after a restore shows what was restored', async () => {
  const kv = createKvMachine(promptClock)
  const count = 3000
  apply(kv, 0, ...Array.from({ length: count }, (_, i) => setEntry(i + 1, `k${i}`, i)))
  const { position, body } = await kv.snapshot()
  const chunks: Uint8Array[] = []
  let index = count
  for await (const chunk of body) {
    chunks.push(Buffer.from(chunk))
    apply(kv, index++, setEntry(index, `later${index}`, 0))
    apply(kv, index++, jsonEntry(index, { op: 'delete', key: `k${index}` }))
    assert.equal(kv.listJson('later', null, 9999).items.length, (index - count) / 2)
    assert.equal(kv.listJson(`k${index}`, null, 1).items.length, 0)
  }
  const rest = Array.from({ length: count }, (_, i) => `k${i}`).toSorted()
  for (const machine of [kv, createKvMachine(promptClock)]) {
    await machine.restore({
      position,
      body: (async function* () {
        yield* chunks
      })(),
    })
    const { items, more } = machine.listJson('', null, count)
    assert.deepEqual(
      items.map((text) => JSON.parse(text).key),
      rest,
    )
    assert.equal(more, false)
    apply(machine, count, setEntry(count + 1, 'k0a', 0), jsonEntry(count + 2, { op: 'delete', key: 'k0' }))
    assert.deepEqual(page(machine, '', null, 2), [['k0a@3001', 'k1@2'], true])
  }
})
