// What applications are told of who leads, while leadership moves from machine to machine.

import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { command } from './command.ts'
import type { News } from './hooked-application.ts'
import { HookedCluster, type HookedNode } from './hooked-cluster.ts'
import { until } from './processes.ts'

let cluster: HookedCluster

before(async () => {
  cluster = await HookedCluster.start()
})
after(() => cluster.close())

/** The first news of this kind that came after so many others. */
async function hears({ id, application }: HookedNode, since: number, event: News['event'], leader?: string) {
  const isIt = (news: News) => news.event === event && (leader === undefined || news.leader === leader)
  return await until(`the application of ${id} to hear ${event}, ${leader}`, 20_000, async () => {
    return application.news.slice(since).find(isIt) ?? null
  })
}

describe('the leadership hook', () => {
  it('says acquired to a slow application only when it holds all that was committed before, and lost and changed to the others', async () => {
    const [leader, next, third] = await cluster.ranked()
    const first = await hears(leader, 0, 'acquired', leader.id)
    await Promise.all([next, third].map((node) => hears(node, 0, 'changed', leader.id)))
    const release = next.application.hold()
    const committed = await Promise.all([1, 2, 3].map((number) => leader.client.propose({ number })))
    const last = Math.max(...committed.map(({ index }) => index))

    const since = cluster.nodes.map(({ application }) => application.news.length)
    const sinceOf = (node: HookedNode) => since[cluster.nodes.indexOf(node)] ?? 0
    const { exitCode, out, error } = await command(leader.sidecar, 'transfer', next.id)
    assert.equal(exitCode, 0, error)
    assert.match(out, new RegExp(`^${next.id} leads in term`))
    const lost = await hears(leader, sinceOf(leader), 'lost')
    await hears(third, sinceOf(third), 'changed', next.id)
    // It leads, commits, and says so; its application is not there yet.
    const { index } = await third.client.propose('under the next leader', { wait: 'committed' })
    await until(`${next.id} to commit under its own lead`, 10_000, async () => {
      const { role, holdsQuorum, commitIndex } = await next.client.status()
      return role === 'leader' && holdsQuorum && commitIndex >= index ? true : null
    })
    const told = () => next.application.news.slice(sinceOf(next)).map(({ event }) => event)
    assert.ok(next.application.position < last && !told().includes('acquired'), told().join())

    release()
    const acquired = await hears(next, sinceOf(next), 'acquired', next.id)
    assert.ok(acquired.position >= last, `it held ${acquired.position}, and ${last} was committed before`)
    assert.notEqual(lost.leader, leader.id)
    assert.deepEqual([acquired.fencingToken, first.fencingToken], [acquired.term, first.term])
    assert.ok(acquired.fencingToken > first.fencingToken)
  })

  it('goes on to the next one when the machine of the leader is killed, and tells the others when it is back or stops', async () => {
    const [killed, ...rest] = await cluster.ranked()
    await hears(killed, 0, 'acquired', killed.id)
    const since = new Map(cluster.nodes.map(({ id, application }) => [id, application.news.length]))
    await cluster.processes.kill(killed.id)
    const next = (await cluster.ranked())[0]
    const [third] = rest.filter((node) => node !== next)
    assert(third !== undefined)
    await hears(next, since.get(next.id) ?? 0, 'acquired', next.id)
    await hears(third, since.get(third.id) ?? 0, 'changed', next.id)
    cluster.processes.start(killed.id)
    await hears(killed, since.get(killed.id) ?? 0, 'changed', next.id)

    await cluster.processes.kill(next.id, 'SIGTERM')
    const told = next.application.news.map(({ event }) => event)
    assert.ok(told.lastIndexOf('lost') > told.lastIndexOf('acquired'), 'it took back what it said before it stopped')
    cluster.processes.start(next.id)
    await cluster.isWhole()
  })

  it('gives every leader a token of its own, which no application sees fall', () => {
    const tokens = new Map<number, string>()
    for (const { id, application } of cluster.nodes) {
      const seen = application.news.map(({ fencingToken }) => fencingToken)
      assert.deepEqual(
        seen,
        [...seen].sort((a, b) => a - b),
        `${id} saw a token fall`,
      )
      for (const { event, leader, fencingToken } of application.news) {
        if (event !== 'acquired') continue
        assert.equal(leader, id)
        assert.equal(tokens.get(fencingToken) ?? id, id, `two were given ${fencingToken}`)
        tokens.set(fencingToken, id)
      }
    }
    assert.ok(tokens.size >= 3)
  })
})
