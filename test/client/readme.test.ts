// The first example of the README does what it says there: run as it stands, but for its addresses, beside a sidecar that delivers what it is given.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { freePorts } from '../../scripts/demo/ports.ts'

async function bodyOf(request: IncomingMessage): Promise<string> {
  let text = ''
  for await (const chunk of request) text += chunk
  return text
}

test('the example of the README proposes, is given its own command, and reads the outcome', async (t) => {
  const [appPort = 0] = await freePorts(1)
  const sidecar = createServer(async (request, response) => {
    response.setHeader('content-type', 'application/json')
    if (request.url?.startsWith('/v1/barrier')) {
      response.end('{"index":1}')
      return
    }
    const command: unknown = JSON.parse(await bodyOf(request))
    const place = { index: 1, term: 1, timestamp: '2026-11-25T00:00:00.000Z' }
    const body = JSON.stringify({ cluster: 'c', node: 'n1', after: 0, commands: [{ ...place, command }] })
    const headers = { 'content-type': 'application/json' }
    const taken = await fetch(`http://127.0.0.1:${appPort}/raft/apply`, { method: 'POST', headers, body })
    const { results } = (await taken.json()) as { readonly results: readonly unknown[] }
    response.end(JSON.stringify({ ...place, result: results[0] }))
  })
  await once(sidecar.listen(0, '127.0.0.1'), 'listening')
  t.after(() => {
    sidecar.close()
    sidecar.closeAllConnections()
  })
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-'))
  t.after(() => rm(directory, { recursive: true }))
  const [, example = ''] = /```ts\n(.*?)```/s.exec(await readFile('README.md', 'utf8')) ?? []
  const program = example
    .replace("'raft-sidecar/client'", JSON.stringify(pathToFileURL('src/client/client.ts').href))
    .replace('listen(8080', `listen(${appPort}`)
    .replace('127.0.0.1:4001', `127.0.0.1:${(sidecar.address() as AddressInfo).port}`)
  const file = join(directory, 'example.mts')
  await writeFile(file, `${program}\nconsole.log(result, counters.get('visits'))\nprocess.exit()\n`)
  const { stdout } = await promisify(execFile)(process.execPath, ['--import', 'tsx', file], { timeout: 60_000 })
  assert.equal(stdout, '1 1\n')
})
