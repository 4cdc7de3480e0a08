// The example for HAProxy as HAProxy reads it. That it does what it says is shown with a real cluster, in test/cluster/.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { exampleUrl, whyNoHaproxy } from '../cluster/haproxy.ts'

const run = promisify(execFile)
const missing = whyNoHaproxy()

async function check(text: string): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-haproxy-'))
  try {
    const file = join(directory, 'haproxy.cfg')
    await writeFile(file, text)
    const { stdout, stderr } = await run('haproxy', ['-c', '-f', file])
    return `${stdout}${stderr}`.trim()
  } finally {
    await rm(directory, { recursive: true })
  }
}

describe('the example for HAProxy', { skip: missing }, () => {
  it('is valid, without a warning', async () => {
    assert.equal(await check(await readFile(exampleUrl, 'utf8')), 'Configuration file is valid')
  })

  it('with a keyword that HAProxy does not know is found out by the same check', async () => {
    const text = (await readFile(exampleUrl, 'utf8')).replace('option redispatch', 'option redispach')
    await assert.rejects(check(text), /redispach/)
  })
})
