// The OpenAPI document: what a linter says of it, and that nothing of the API is left out. That answers fit it, `running-api.ts` checks for
// every answer of this folder.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { createConfig, lintFromString } from '@redocly/openapi-core'
import { operations } from '../../src/api/openapi/operations.ts'
import { assertFits, readDocument } from './described.ts'
import { startApi } from './running-api.ts'

test('the document passes the recommended rules of a linter', async () => {
  const config = await createConfig({ extends: ['recommended'] })
  const problems = await lintFromString({ source: JSON.stringify(await readDocument()), config })
  assert.deepEqual(
    problems.map(({ ruleId, message, location }) => `${ruleId} ${location[0]?.pointer}: ${message}`),
    [],
  )
})

test('every description is of a route, and every route of the document has one', async () => {
  const { paths } = await readDocument()
  const served = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method} ${path}`),
  )
  const described = Object.keys(operations).map((name) => {
    const [method = '', url = ''] = name.split(' ')
    return `${method.toLowerCase()} ${url.replace('*', '{key}').replace(/:([a-z]+)/, '{$1}')}`
  })
  const others = served.filter((each) => !described.includes(each))
  const health = ['leader', 'follower', 'learner']
  assert.deepEqual(
    described.filter((each) => !served.includes(each)),
    [],
  )
  assert.deepEqual(
    others.toSorted(),
    health.flatMap((role) => [`head /health/${role}`, `options /health/${role}`]).toSorted(),
  )
})

test('every parameter says what it is, every operation what may go wrong', async () => {
  const { paths } = await readDocument()
  for (const [path, methods] of Object.entries(paths)) {
    for (const [method, { parameters = [], responses }] of Object.entries(methods)) {
      for (const { name, description } of parameters) assert.ok(description, `${method} ${path}: ${name}`)
      assert.ok(
        Object.keys(responses).some((status) => status.startsWith('4')),
        `${method} ${path}`,
      )
    }
  }
})

test('every code of a problem is described somewhere', async () => {
  const { sentences } = await import('../../src/api/openapi/problems.ts')
  const described = new Set(Object.values(operations).flatMap(({ problems }) => problems))
  assert.deepEqual(
    Object.keys(sentences).filter((code) => !described.has(code as never)),
    [],
  )
})

test('under STATE_MACHINE=app the document has no key-value routes', async (t) => {
  const { send } = await startApi(t)
  const { paths } = (await send('GET', '/openapi.json')).json as { paths: object }
  assert.deepEqual(
    Object.keys(paths).filter((path) => path.startsWith('/v1/kv')),
    [],
  )
  assert.ok('/v1/commands' in paths)
})

test('it is served without a token, and the same each time', async (t) => {
  const { send } = await startApi(t, { token: 'a-long-enough-token' })
  const first = await send('GET', '/openapi.json')
  assert.equal(first.status, 200)
  assert.equal(first.headers['content-type'], 'application/json; charset=utf-8')
  assert.equal((await send('GET', '/openapi.json')).text, first.text)
})

test('what the check of answers lets through fits, and what does not fit it catches', async () => {
  const document = await readDocument()
  const schema = { $ref: '#/components/schemas/Command' }
  const answer = { index: 1, term: 1, timestamp: '2026-11-23T05:00:00.123Z', result: null }
  assertFits(document, schema, answer, 'an answer')
  for (const wrong of [
    { ...answer, index: '1' },
    { ...answer, more: 1 },
    { index: 1, term: 1, result: null },
  ]) {
    assert.throws(() => assertFits(document, schema, wrong, 'an answer'), /does not fit/)
  }
})
