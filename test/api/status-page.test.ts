// The status page: what the browser is told to run, and what the page then shows.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { type TestContext, test } from 'node:test'
import { runInNewContext } from 'node:vm'
import type { ApiOptions } from '../../src/api/options.ts'
import type { NodeStatus } from '../../src/node/contract.ts'
import { FakeDocument, type FakeElement } from './fake-document.ts'
import { type RunningApi, startApi, until } from './running-api.ts'

interface Page extends RunningApi {
  readonly document: FakeDocument
  readonly at: (id: string) => FakeElement
  /** As the browser does after the interval. */
  readonly tick: () => void
}

const checks = [{ name: 'leader', ok: true, why: '' }]

/** Serves the page, and runs its script against the API that served it. */
async function open(t: TestContext, overrides: Partial<ApiOptions> = {}, token: string | null = null): Promise<Page> {
  const running = await startApi(t, { readyChecks: () => checks, ...overrides })
  const html = (await running.send('GET', '/')).text
  const document = new FakeDocument([...html.matchAll(/ id="([a-z]+)"/g)].map(([, id = '']) => id))
  const stored = new Map(token === null ? [] : [['token', token]])
  const ticking: (() => void)[] = []
  const abort = new AbortController()
  t.after(() => abort.abort())
  runInNewContext(inline(html, 'script'), {
    document,
    fetch: (path: string, init: RequestInit) =>
      fetch(`http://127.0.0.1:${running.port}${path}`, { ...init, signal: abort.signal }),
    sessionStorage: {
      getItem: (name: string) => stored.get(name) ?? null,
      setItem: (name: string, value: string) => stored.set(name, value),
    },
    setInterval: (tick: () => void) => ticking.push(tick),
    // What would be tried again later is not, in a test.
    setTimeout: () => {},
  })
  const at = (id: string) => document.getElementById(id) ?? assert.fail(`The page has no ${id}`)
  return { ...running, document, at, tick: () => ticking.map((tick) => tick()) }
}

function inline(html: string, name: string): string {
  return new RegExp(`<${name}>(.*?)</${name}>`, 's').exec(html)?.[1] ?? assert.fail(`The page has no ${name}`)
}

test('the page loads nothing, and the browser is told to run nothing but what it holds', async (t) => {
  const { send } = await startApi(t, { token: 'a-long-enough-token' })
  const { status, headers, text } = await send('GET', '/')
  assert.equal(status, 200)
  assert.equal(headers['content-type'], 'text/html; charset=utf-8')
  assert.doesNotMatch(text, /https?:|\/\/[a-z]|@import|url\(/i)
  const resources = [...text.matchAll(/ (?:src|href)="([^"]*)"/g)].map(([, target]) => target)
  assert.deepEqual(resources, ['data:,', '/readyz?verbose', '/openapi.json'])
  const hash = (name: string) => createHash('sha256').update(inline(text, name)).digest('base64')
  const policy = String(headers['content-security-policy']).split('; ')
  assert.deepEqual(policy, [
    "default-src 'none'",
    `script-src 'sha256-${hash('script')}'`,
    `style-src 'sha256-${hash('style')}'`,
    "connect-src 'self'",
    'img-src data:',
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ])
  // An inline style or handler would be refused by this policy; markup out of data, by nobody.
  assert.doesNotMatch(text, / style=| on[a-z]+=|innerHTML|outerHTML|insertAdjacent|document\.write|eval\(/)
  assert.equal((await send('POST', '/')).headers.allow, 'GET, HEAD')
})

test('it shows the members, the indexes, the checks, and that all is well', async (t) => {
  const { document, at } = await open(t)
  await until(() => at('content').all('li').length > 0, 'the status is shown')
  assert.equal(document.title, 'n1 of orders')
  assert.equal(at('role').textContent, 'leader')
  assert.equal(at('diagnosis').textContent, 'All is well: the only member leads.')
  assert.equal(at('diagnosis').className, 'good')
  const [member, check] = at('content').all('li')
  assert.equal(member?.textContent, 'n1 leader, this node127.0.0.1:4000holds entry 43, lag 0')
  assert.equal(check?.textContent, 'ok leader')
  const facts = at('content')
    .all('div')
    .map((fact) => [fact.all('dt')[0]?.textContent, fact.all('dd')[0]?.textContent])
  assert.deepEqual(facts, [
    ['Leader', 'n1'],
    ['Term', '3'],
    ['Committed', '41'],
    ['Applied', '41'],
    ['To be applied', '0'],
    ['Durable', '42'],
    ['Log', '1 to 43'],
    ['Snapshot', 'through 40'],
    ['Proposals waiting', '0'],
    ['Version', '1.2.3'],
  ])
  assert.equal(at('token').hidden, true)
})

test('it says in one sentence what is wrong, and follows the events', async (t) => {
  const { document, node, at } = await open(t)
  await until(() => at('diagnosis').className === 'good' && node.subscribers.size === 1, 'all is well at first')
  node.leaderView = null
  node.role = 'candidate'
  node.tell({ type: 'leader', leader: null, term: 4 })
  await until(() => at('diagnosis').className === 'bad', 'the event is followed')
  assert.match(at('diagnosis').textContent, /^No leader: 1 of 1 member reachable/)
  assert.equal(document.title, '(!) n1 of orders')
})

test('what comes from elsewhere is text, and every state of a member has a word', async (t) => {
  const running = await open(t)
  const { node, at, tick } = running
  const before = node.status()
  const [self] = before.members
  assert(self !== undefined)
  const other = { ...self, self: false, leader: false, matchIndex: null, lag: null }
  const markup = '<img src=x onerror=alert(1)>'
  const members: NodeStatus['members'] = [
    self,
    { ...other, id: 'n2' },
    { ...other, id: 'n3', reachable: false, role: 'learner' },
    { ...other, id: 'n4', reachable: false, refusal: markup },
  ]
  node.status = () => ({ ...before, members })
  tick()
  await until(() => at('content').all('li').length === 5, 'all members are shown')
  assert.deepEqual(
    at('content')
      .all('li')
      .slice(1, 4)
      .map((item) => item.textContent),
    [
      'n2 voter, reachable127.0.0.1:4000',
      'n3 learner, not reachable127.0.0.1:4000',
      `n4 voter, refused127.0.0.1:4000${markup}`,
    ],
  )
})

test('with an API_TOKEN it asks for it, and keeps it for the calls that follow', async (t) => {
  const { at } = await open(t, { token: 'a-long-enough-token' })
  await until(() => at('diagnosis').className === 'bad', 'the token is missed')
  assert.equal(at('diagnosis').textContent, 'This sidecar wants its API_TOKEN.')
  assert.equal(at('token').hidden, false)
  at('secret').value = 'a-long-enough-token'
  at('token').listeners.get('submit')?.({ preventDefault() {} })
  await until(() => at('diagnosis').className === 'good', 'the status is shown')
  assert.equal(at('token').hidden, true)
})

test('a sidecar that is gone is said to be', async (t) => {
  const { api, at, tick } = await open(t)
  await until(() => at('diagnosis').className === 'good', 'all is well at first')
  await api.close()
  tick()
  await until(() => at('diagnosis').className === 'bad', 'it is noticed')
  assert.equal(at('diagnosis').textContent, 'The sidecar does not answer: is its process running?')
})
