// Commands that applications refuse for good: every node leaves them out, or none does.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { after, before, describe, it } from 'node:test'
import { command } from './command.ts'
import type { Refused } from './hooked-application.ts'
import { becomesNotReady, failureOf, HookedCluster, type HookedNode } from './hooked-cluster.ts'

const everyone: Refused = { refusedBy: ['n1', 'n2', 'n3'] }

const poisoned = /^\[-\]application failed: The application refuses the command at \d+ for good: "no such account"/

let cluster: HookedCluster

before(async () => {
  cluster = await HookedCluster.start()
})
after(() => cluster.close())

/** Where a command stands that is committed, and not applied here. */
async function committed({ client }: HookedNode, value: unknown): Promise<number> {
  return (await client.propose(value, { wait: 'committed' })).index
}

describe('a command that the applications refuse for good', () => {
  it('stops delivery on every node, while all commit; skipped by one command line, it is left out on all of them', async () => {
    const [n1, n2, n3] = cluster.nodes
    await n1.client.propose('before')
    const waiting = failureOf(n1.client.propose(everyone, { key: 'poison', timeoutMs: 60_000 }))
    const stopped = await Promise.all(cluster.nodes.map(({ sidecar }) => becomesNotReady(sidecar, poisoned)))
    const pending = await failureOf(n2.client.propose(everyone, { key: 'poison', timeoutMs: 300 }))
    assert.deepEqual([pending.code, pending.outcome, pending.status], ['apply-pending', 'committed', 504])
    const index = pending.committed?.index ?? 0
    for (const why of stopped) assert.ok(why.includes(`\`raft-sidecar skip ${index}\``), why)
    for (const node of cluster.nodes) await committed(node, `meanwhile at ${node.id}`)
    for (const { application } of cluster.nodes) assert.deepEqual(values(application.effects), ['before'])

    const other = await command(n3.sidecar, 'skip', String(index + 1), '--json')
    assert.equal(other.exitCode, 1, 'what is not poison is not left out')
    assert.match(other.error, /"not-poison"/)
    const { exitCode, error } = await command(n3.sidecar, 'skip', String(index))
    assert.equal(exitCode, 0, error)
    await cluster.isWhole()
    const kept = ['before', 'meanwhile at n1', 'meanwhile at n2', 'meanwhile at n3']
    assert.deepEqual(values(n1.application.effects), kept)

    assert.deepEqual(outcomeOf(await waiting), ['command-skipped', 'not_applied', 422])
    for (const { client, sidecar } of cluster.nodes) {
      const repeated = await failureOf(client.propose(everyone, { key: 'poison' }))
      assert.deepEqual(outcomeOf(repeated), ['command-skipped', 'not_applied', 422])
      const page = await fetch(`${sidecar.apiUrl}/v1/commands?after=${index - 1}&limit=2`)
      const { commands } = (await page.json()) as { commands: { index: number; command: unknown; skipped?: boolean }[] }
      assert.deepEqual(
        commands.map((logged) => [logged.command, logged.skipped]),
        [
          [everyone, true],
          ['meanwhile at n1', undefined],
        ],
      )
    }
  })

  it('stays left out where a sidecar is killed and its application is rebuilt, by a version of it that would take it now', async () => {
    const [n1, n2] = cluster.nodes
    const index = await committed(n1, everyone)
    await becomesNotReady(n1.sidecar, poisoned)
    // More than what is read of a log at once.
    for (let parts = 0; parts < 3; parts++) await committed(n1, 'x'.repeat(500_000))
    await n1.client.skip(index)
    await n1.client.propose('after the skip')
    n2.application.refusesAnything = false
    await cluster.processes.kill(n2.id)
    n2.application.forget()
    cluster.processes.start(n2.id)
    await cluster.isWhole()
    assert.equal(values(n2.application.effects).at(-1), 'after the skip')
    assert.ok(!n2.application.effects.some((effect) => effect.index === index))
    n2.application.refusesAnything = true
  })

  it('stops the sidecar whose application has taken it, with 65, and with what to do', async () => {
    const [leader, ...others] = await cluster.ranked()
    const [one, two] = others
    const refused: Refused = { refusedBy: [one.id, two.id] }
    const { index } = await leader.client.propose(refused)
    for (const { sidecar } of others) await becomesNotReady(sidecar, poisoned)
    const { child } = leader.sidecar
    assert(child !== null)
    const ended = once(child, 'close')
    const { exitCode, error } = await command(one.sidecar, 'skip', String(index), '--timeout', '30s')
    assert.equal(exitCode, 0, error)
    const [code] = await ended
    const log = leader.sidecar.log.join('')
    assert.equal(code, 65, log)
    assert.ok(log.includes(`The cluster leaves out the command at ${index} (\\"no such account\\")`), log)
    assert.ok(log.includes(`and the application of ${leader.id} has taken it`), log)
    assert.match(log, /Its state differs from that of the others: reset it, so that it is restored, and start again\./)

    await two.client.propose('the others go on')
    leader.application.forget()
    cluster.processes.start(leader.id)
    await cluster.isWhole()
    assert.equal(values(leader.application.effects).at(-1), 'the others go on')
  })
})

function values(effects: readonly { readonly command: unknown }[]): unknown[] {
  return effects.map(({ command: value }) => value)
}

function outcomeOf({ code, outcome, status }: Awaited<ReturnType<typeof failureOf>>): unknown[] {
  return [code, outcome, status]
}
