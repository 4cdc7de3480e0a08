// A backup of a running cluster, and a new cluster from it: what was in the one is in the other, and their nodes never mix.

import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { rename } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, test } from 'node:test'
import type { StatusResponse } from '../../src/api/schemas.ts'
import { ClusterProcesses, type SidecarProcess, until } from './processes.ts'

let cluster: ClusterProcesses

afterEach(() => cluster.close())

function command(
  sidecar: SidecarProcess,
  ...args: string[]
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve) => {
    const options = { env: { ...sidecar.env }, timeout: 60_000 }
    execFile(process.execPath, ['--import', 'tsx', 'src/main.ts', ...args], options, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr })
    })
  })
}

async function status(id: string): Promise<StatusResponse | null> {
  return (await cluster.status(id)) as StatusResponse | null
}

async function set({ apiUrl }: SidecarProcess, key: string, value: unknown): Promise<void> {
  const response = await fetch(`${apiUrl}/v1/kv/${key}`, {
    method: 'PUT',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(value),
  })
  assert.equal(response.status, 200, await response.text())
}

async function get({ apiUrl }: SidecarProcess, key: string): Promise<unknown> {
  const response = await fetch(`${apiUrl}/v1/kv/${key}?timeout=20s`)
  const body = (await response.json()) as { value?: unknown; code?: string }
  return response.status === 200 ? body.value : body.code
}

test('a backup from any node makes a new cluster, which those of the old one cannot get into', async () => {
  cluster = await ClusterProcesses.start({ size: 3 })
  const leader = await cluster.leader()
  for (let key = 1; key <= 20; key++) await set(leader, `k${key}`, key)
  const [n1, n2, n3] = cluster.sidecars as [SidecarProcess, SidecarProcess, SidecarProcess]
  // Linearizable, so that this node holds it all before it is backed up.
  assert.equal(await get(n3, 'k20'), 20)
  const file = join(cluster.directory, 'backup')
  const saved = await command(n3, 'snapshot', file, '--json')
  assert.equal(saved.code, 0, saved.stderr)
  const { index } = JSON.parse(saved.stdout)
  await set(leader, 'after', true)

  const looked = await command(n3, 'log', 'verify', n3.dataDir, '--json')
  assert.equal(looked.code, 0, looked.stdout)
  const { heldBy, snapshots } = JSON.parse(looked.stdout)
  assert.deepEqual([heldBy, snapshots.at(-1).index], [n3.child?.pid, index])
  const refused = await command(n3, 'restore', file)
  assert.equal(refused.code, 65, refused.stderr)

  for (const sidecar of [n2, n3]) {
    await cluster.kill(sidecar.id)
    await rename(sidecar.dataDir, `${sidecar.dataDir}.old`)
    const restored = await command(sidecar, 'restore', file)
    assert.equal(restored.code, 0, restored.stderr)
    cluster.start(sidecar.id)
  }
  const isToldApart = async (id: string, other: string) => {
    const member = (await status(id))?.members.find((each) => each.id === other)
    return member?.refusal?.includes('another backup') ? true : null
  }
  await until('n2 leads or follows in the new cluster', 30_000, async () => {
    const leading = (await status('n2'))?.leader?.id
    return leading === 'n2' || leading === 'n3' ? true : null
  })
  await until('the new cluster tells the old node apart', 30_000, () => isToldApart('n2', 'n1'))
  for (const sidecar of [n2, n3]) {
    assert.equal(await get(sidecar, 'k20'), 20)
    assert.equal(await get(sidecar, 'after'), 'key-not-found')
  }
  assert.equal((await status('n1'))?.members.find(({ id }) => id === 'n2')?.reachable, false)

  await cluster.kill('n1')
  await rename(n1.dataDir, `${n1.dataDir}.old`)
  assert.equal((await command(n1, 'restore', file)).code, 0)
  cluster.start('n1')
  await until('all three of the new cluster know each other', 30_000, async () => {
    const members = (await status('n1'))?.members ?? []
    return members.length === 3 && members.every(({ self, reachable }) => self || reachable) ? true : null
  })
  await set(n1, 'new', 1)
  assert.deepEqual([await get(n1, 'k1'), await get(n1, 'after'), await get(n2, 'new')], [1, 'key-not-found', 1])
})
