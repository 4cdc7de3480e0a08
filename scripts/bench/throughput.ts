// Throughput and latency of three real sidecars on this machine, taken turn by turn with a floor that does the same disk and network work
// without Raft, and the rate of bare synchronous writes.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, fdatasyncSync, openSync, rmSync, writeSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { connect } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ClusterProcesses, until } from '../../test/cluster/processes.ts'
import { residentMiB } from './resident.ts'

export interface ThroughputOptions {
  readonly clients: readonly number[]
  readonly seconds: number
  readonly rounds: number
}

interface Point {
  readonly perSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly failures: number
}

const run = promisify(execFile)

export async function measureThroughput({ clients, seconds, rounds }: ThroughputOptions): Promise<void> {
  const env = () => ({ LOG_LEVEL: 'warn' })
  const cluster = await ClusterProcesses.start({ size: 3, program: ['dist/main.js'], env })
  const compiled = join(cluster.directory, 'bench')
  const floor: ChildProcess[] = []
  try {
    await compile(compiled)
    const leader = await cluster.leader()
    console.log(`Idle memory (resident): ${memory(cluster)}; the leader is ${leader.id}`)
    const floorPort = await startFloor(cluster.directory, floor)
    // Code that has not run a few ten thousand times is not compiled yet, and a service is measured as it is after its first minute.
    for (const port of [leader.apiPort, floorPort]) await load(compiled, port, 64, 15)
    const measured = new Map<string, Point[]>()
    for (let round = 0; round < rounds; round++) {
      for (const count of clients) {
        for (const [name, port] of [
          ['raft-sidecar', leader.apiPort],
          ['floor', floorPort],
        ] as const) {
          const point = await load(compiled, port, count, seconds)
          if (point.failures > 0) throw new Error(`${name}: ${point.failures} requests failed at ${count} clients`)
          const key = `${name}/${count}`
          measured.set(key, [...(measured.get(key) ?? []), point])
        }
      }
    }
    for (const count of clients) {
      const ours = median(measured.get(`raft-sidecar/${count}`) ?? [])
      const theirs = median(measured.get(`floor/${count}`) ?? [])
      console.log(
        `${String(count).padStart(4)} clients  raft-sidecar ${show(ours)}  floor ${show(theirs)}  ratio ${(ours.perSecond / theirs.perSecond).toFixed(2)}`,
      )
    }
    console.log(`Memory after the load (resident): ${memory(cluster)}`)
    console.log(
      `A follower serves again ${(await restartMs(cluster)).toFixed(0)} ms after the start that follows its SIGKILL`,
    )
    const bareUs = bareSyncUs(join(cluster.directory, 'bare'))
    console.log(`Bare write + fdatasync of 128 bytes on a preallocated file: ${bareUs.toFixed(0)} µs (median)`)
  } finally {
    for (const child of floor) child.kill('SIGKILL')
    await cluster.close()
  }
}

function memory(cluster: ClusterProcesses): string {
  return cluster.sidecars.map(({ id, child }) => `${id} ${residentMiB(child?.pid)} MiB`).join(', ')
}

async function load(compiled: string, port: number, count: number, forSeconds: number): Promise<Point> {
  const { stdout } = await run(process.execPath, [join(compiled, 'load.js'), `${port}`, `${count}`, `${forSeconds}`])
  return JSON.parse(stdout) as Point
}

async function compile(compiled: string): Promise<void> {
  const options = [
    '--module',
    'nodenext',
    '--target',
    'es2023',
    '--types',
    'node',
    '--skipLibCheck',
    '--outDir',
    compiled,
  ]
  await run('npx', ['tsc', '--ignoreConfig', ...options, 'scripts/bench/load.ts', 'scripts/bench/floor.ts'])
  await writeFile(join(compiled, 'package.json'), '{ "type": "module" }')
}

async function startFloor(directory: string, floor: ChildProcess[]): Promise<number> {
  const base = 20_000 + Math.floor(Math.random() * 20_000)
  const start = (name: string, ...args: (string | number)[]) => {
    const env = { ...process.env, FLOOR_FILE: join(directory, `${name}.log`) }
    floor.push(
      spawn(process.execPath, ['--import', 'tsx', 'scripts/bench/floor.ts', ...args.map(String)], {
        env,
        stdio: 'inherit',
      }),
    )
  }
  start('f1', 'follower', base + 1)
  start('f2', 'follower', base + 2)
  await Promise.all([answers(base + 1), answers(base + 2)])
  start('leader', 'leader', base, base + 1, base + 2)
  await answers(base)
  return base
}

async function answers(port: number): Promise<void> {
  await until(`something to listen on port ${port}`, 20_000, async () => {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return true
    } catch {
      return null
    } finally {
      socket.destroy()
    }
  })
}

function median(points: readonly Point[]): Point {
  const sorted = [...points].sort((a, b) => a.perSecond - b.perSecond)
  const middle = sorted[Math.floor(sorted.length / 2)]
  if (middle === undefined) throw new Error('Nothing was measured')
  return middle
}

function show({ perSecond, p50Ms, p99Ms }: Point): string {
  return `${String(perSecond).padStart(6)}/s · p50 ${p50Ms.toFixed(2)} ms · p99 ${p99Ms.toFixed(2)} ms`
}

/** From the start of the process to its first answer, with the lock of the killed one in its way and the whole log to be read. */
async function restartMs(cluster: ClusterProcesses): Promise<number> {
  const leader = await cluster.leader()
  const follower = cluster.sidecars.find(({ id }) => id !== leader.id)
  if (follower === undefined) throw new Error('There is no follower')
  await cluster.kill(follower.id)
  const startedMs = performance.now()
  cluster.start(follower.id)
  await until('the follower to serve', 20_000, () => cluster.status(follower.id))
  return performance.now() - startedMs
}

export function bareSyncUs(path: string): number {
  const file = openSync(path, 'w')
  writeSync(file, Buffer.alloc(4 * 1024 * 1024))
  fdatasyncSync(file)
  const times: number[] = []
  for (let i = 0; i < 2000; i++) {
    const startedMs = performance.now()
    writeSync(file, Buffer.alloc(128), 0, 128, i * 128)
    fdatasyncSync(file)
    times.push((performance.now() - startedMs) * 1000)
  }
  closeSync(file)
  rmSync(path)
  return times.sort((a, b) => a - b)[times.length / 2] ?? 0
}
