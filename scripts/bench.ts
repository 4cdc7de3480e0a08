// `npm run bench [-- --part throughput|log|snapshots|fail-over] [--clients 1,64,256 --seconds 4 --rounds 3]`: figures of this machine. Compare ratios of
// one run: absolute figures drift with the machine.

import { execFile } from 'node:child_process'
import { parseArgs, promisify } from 'node:util'
import { measureFailOver } from './bench/fail-over.ts'
import { measureLog } from './bench/log.ts'
import { measureSnapshots } from './bench/snapshots.ts'
import { measureThroughput } from './bench/throughput.ts'

const { values } = parseArgs({
  options: {
    part: { type: 'string' },
    clients: { type: 'string', default: '1,64,256' },
    seconds: { type: 'string', default: '4' },
    rounds: { type: 'string', default: '3' },
    entries: { type: 'string', default: '1000000' },
    'fail-overs': { type: 'string', default: '10' },
    megabytes: { type: 'string', default: '1024' },
  },
})

const throughput = {
  clients: values.clients.split(',').map(Number),
  seconds: Number(values.seconds),
  rounds: Number(values.rounds),
}
const parts: Readonly<Record<string, () => Promise<void>>> = {
  throughput: () => measureThroughput(throughput),
  log: () => measureLog(Number(values.entries)),
  snapshots: () => measureSnapshots(Number(values.megabytes)),
  'fail-over': () => measureFailOver(Number(values['fail-overs'])),
}
const names = values.part === undefined ? Object.keys(parts) : values.part.split(',')
for (const name of names) {
  if (parts[name] !== undefined) continue
  console.error(`There is no part ${name}: give one of ${Object.keys(parts).join(', ')}`)
  process.exit(64)
}
// What is measured is what is shipped: tsx wraps every function that it loads, which costs.
await promisify(execFile)('npm', ['run', '--silent', 'build'])
for (const name of names) await parts[name]?.()
