// `npm test [-- PART ...]`: every test below test/, or those whose path holds one of the given parts. Fails when it ran no test: the
// runner, given a pattern that nothing matches, would exit 0.

import { spawnSync } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { availableParallelism } from 'node:os'

const parts = process.argv.slice(2)
const files = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((file) => file.endsWith('.test.ts'))
  .map((file) => `test/${file}`)
  .filter((file) => parts.length === 0 || parts.some((part) => file.includes(part)))
  .sort()

if (files.length === 0) {
  console.error(parts.length === 0 ? 'There is no test below test/' : `No test file's path holds ${parts.join(' or ')}`)
  process.exit(1)
}

const runner = ['--import', 'tsx', '--test', `--test-concurrency=${availableParallelism()}`, '--test-timeout=300000']
const { status, signal } = spawnSync(process.execPath, [...runner, ...files], { stdio: 'inherit' })
if (signal !== null) console.error(`The tests were ended by ${signal}`)
process.exit(status ?? 1)
