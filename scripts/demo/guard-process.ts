// Outlives the demo by a moment. It is told on stdin what the demo started; when stdin ends, for whatever reason (the end, Ctrl-C, SIGKILL of
// the demo), it kills what is left and removes what is to be removed. It stands in a session of its own, so that Ctrl-C does not reach it.

import { rmSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { killGroup } from './process-group.ts'

const groups = new Set<number>()
const directories = new Set<string>()

for await (const line of createInterface({ input: process.stdin })) {
  const [verb, subject = ''] = line.split('\t')
  if (verb === 'watch') groups.add(Number(subject))
  else if (verb === 'forget') groups.delete(Number(subject))
  else if (verb === 'remove') directories.add(subject)
  else if (verb === 'keep') directories.delete(subject)
}

for (let left = 100; left > 0 && groups.size > 0; left--) {
  for (const pid of groups) if (!killGroup(pid)) groups.delete(pid)
  if (groups.size > 0) await sleep(20)
}
for (const directory of directories) rmSync(directory, { recursive: true, force: true, maxRetries: 5 })
