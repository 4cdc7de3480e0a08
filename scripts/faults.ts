// npm run test:faults [-- --kills 200 --seed N --clients 8]: exactly once under SIGKILL, with real processes. See test/cluster/exactly-once/.

import { execFile } from 'node:child_process'
import { parseArgs, promisify } from 'node:util'
import { describeReport } from '../test/cluster/exactly-once/report.ts'
import { soak } from '../test/cluster/exactly-once/soak.ts'

const usage = `Usage: npm run test:faults -- [options]
  --kills N    how many processes get SIGKILL (default 200)
  --seed N     whom, and when (default: drawn); how a run then unfolds is up to the system
  --clients N  how many write at a time (default 8)`

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '200' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000_000)) },
    clients: { type: 'string', default: '8' },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(usage)
  process.exit(0)
}
const [kills, seed, clients] = [values.kills, values.seed, values.clients].map(whole)
if (kills === undefined || seed === undefined || clients === undefined) throw new Error(usage)

// What it started ends with it.
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => process.exit(130))

console.log(`seed ${seed}: ${kills} SIGKILLs, ${clients} clients`)
// What is killed is what is shipped, and it starts in a third of the time.
await promisify(execFile)('npm', ['run', '--silent', 'build'])
const startedMs = performance.now()
const report = await soak({ seed, kills, clients, program: ['dist/main.js'], tell: (line) => console.log(line) })
console.log(`\nseed ${seed}, ${Math.round((performance.now() - startedMs) / 1000)} s\n${describeReport(report)}`)
if (report.faults.length > 0) {
  console.log(
    `\nFAILED:\n  ${report.faults.join('\n  ')}\nThe files and the last lines of the processes are in ${report.directory}`,
  )
  process.exit(1)
}
console.log('Exactly once: each acknowledged write has its effect once, on all three, in one order.')

function whole(text: string): number {
  if (/^[0-9]{1,9}$/.test(text)) return Number(text)
  console.error(`Not a whole number: ${text}\n${usage}`)
  process.exit(64)
}
