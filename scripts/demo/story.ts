// The demo from its beginning to its proof.

import { setTimeout as sleep } from 'node:timers/promises'
import { Children } from './children.ts'
import { type Machine, planMachines, startAll } from './cluster.ts'
import type { Ending } from './ending.ts'
import { Enqueuer } from './enqueuer.ts'
import { digestsOf, testimonyOf } from './evidence.ts'
import { filesBelow, tasksOf } from './files.ts'
import { Observer } from './observer.ts'
import type { Options } from './options.ts'
import { judge } from './proofs.ts'
import type { Screen } from './screen.ts'
import { summary, table } from './table.ts'

const startTimeoutMs = 30_000
const workTimeoutMs = 60_000
/** The other tasks arrive only after the kill, so that there is something to acknowledge however fast the first ones were. */
const partBeforeKill = 0.6
const deadForMs = 2500

/** True when every proof holds. */
export async function tellStory(options: Options, screen: Screen, ending: Ending): Promise<boolean> {
  const files = await filesBelow(options.folder, options.tasks)
  if (files.length === 0) throw new Error(`There is no file to hash below ${options.folder}`)
  const tasks = tasksOf(files, options.tasks)
  const sinceMs = Date.now()
  screen.say(`raft-sidecar demo: ${tasks.length} tasks, the SHA-256 of ${files.length} files below ${options.folder}`)

  const directory = ending.temporaryDirectory()
  const machines = await planMachines(options.folder)
  const children = new Children(directory, ending)
  const enqueuer = new Enqueuer(machines.map(({ appUrl }) => appUrl))
  const observer: Observer = new Observer(machines, (views) => {
    const progress = { tasks: tasks.length, acknowledged: enqueuer.acknowledged.size, done: observer.done() }
    screen.show(table(views, progress), summary(views, progress))
  })

  startAll(machines, children)
  screen.event('three sidecars and three applications are starting')
  await observer.until('a leader, and an answer of every process', startTimeoutMs, () => {
    const answering = observer.views.every(({ sidecar, application }) => sidecar !== null && application !== null)
    return answering && observer.leader() !== null
  })
  screen.event(`${leaderOf(observer)}; tasks arrive, ${options.rate} a second`)

  const timeoutMs = workTimeoutMs + (tasks.length * 1000) / options.rate
  const before = Math.ceil(tasks.length * partBeforeKill)
  void enqueuer.run(tasks.slice(0, before), options.rate)
  await observer.until('half of the tasks', timeoutMs, () => observer.done() >= tasks.length / 2)
  const victim = machines.find(({ id }) => id === observer.leader()?.id)
  if (victim === undefined) throw new Error('There is no leader to kill: it was lost at this very moment')
  const killedMs = performance.now()
  await children.kill(victim.sidecar.name)
  screen.event(`half is done: the sidecar of ${victim.id}, the leader, was killed with SIGKILL`)
  void enqueuer.run(tasks.slice(before), options.rate)
  await outage(killedMs, observer, enqueuer, screen)
  await comeback(victim, children, observer, screen)

  await observer.until('every task to be done and the three applications to be at one index', timeoutMs, () => {
    if (enqueuer.acknowledged.size < tasks.length) return false
    const positions = new Set(observer.views.map(({ application }) => application?.position))
    return positions.size === 1 && observer.views.every(({ application }) => application?.done === tasks.length)
  })
  screen.event('everything is done, and the three applications are at one index')
  screen.say(
    `           ${enqueuer.repeated} tasks had to be sent again, and ${enqueuer.duplicates} of these had been enqueued the first time after all`,
  )
  screen.release()

  const verdicts = judge({
    acknowledged: new Set(enqueuer.acknowledged.keys()),
    testimonies: await Promise.all(machines.map(testimonyOf)),
    digests: await digestsOf(options.folder, files, sinceMs),
  })
  screen.say('')
  for (const { holds, sentence } of verdicts) screen.say(`${holds ? 'PROVED' : 'FAILED'}  ${sentence}`)
  const proved = verdicts.every(({ holds }) => holds)
  screen.say(
    `\n${proved ? 'All of it holds' : 'Not all of it holds'}, after ${(screen.elapsedMs / 1000).toFixed(1)} s.`,
  )
  if (options.keep) await keep(machines, directory, files.at(-1) ?? '', screen, ending)
  return proved
}

/** Sees the others elect a leader and go on, for a while. */
async function outage(killedMs: number, observer: Observer, enqueuer: Enqueuer, screen: Screen): Promise<void> {
  await observer.until('a command to be acknowledged again', workTimeoutMs, () => {
    return enqueuer.firstAcknowledgedAfter(killedMs) !== null && observer.leader() !== null
  })
  const lostMs = enqueuer.firstAcknowledgedAfter(killedMs) ?? 0
  screen.event(
    `the next command was acknowledged ${(lostMs / 1000).toFixed(2)} s after the kill; ${leaderOf(observer)}`,
  )
  await observer.until('the end of the outage', workTimeoutMs, () => performance.now() >= killedMs + deadForMs)
}

async function comeback(
  { id, sidecar }: Machine,
  children: Children,
  observer: Observer,
  screen: Screen,
): Promise<void> {
  const missed = observer.leader()?.sidecar?.commitIndex ?? 0
  children.start(sidecar)
  screen.event(`the sidecar of ${id} was started again`)
  await observer.until(`${id} to catch up`, startTimeoutMs, () => {
    const back = observer.views.find((view) => view.id === id)
    return back?.sidecar !== null && (back?.application?.position ?? 0) >= missed
  })
  screen.event(`${id} is back, and its application has what it missed`)
}

function leaderOf(observer: Observer): string {
  const leader = observer.leader()
  return leader === null ? 'nobody leads' : `${leader.id} leads in term ${leader.sidecar?.term}`
}

async function keep(
  machines: readonly Machine[],
  directory: string,
  path: string,
  screen: Screen,
  ending: Ending,
): Promise<never> {
  ending.keepDirectory(directory)
  const [one, two, three] = machines
  screen.say(`
The cluster stays up until Ctrl-C. Its data and logs are in ${directory} and stay there. Try:

  curl -s ${one?.apiUrl}/v1/status
  curl -s ${two?.apiUrl}/v1/leader
  curl -s ${three?.apiUrl}/v1/barrier
  curl -s ${one?.appUrl}/tasks -H 'content-type: application/json' -d '${JSON.stringify({ id: 'mine', path })}'
  curl -s ${two?.appUrl}/stats
  curl -s ${three?.appUrl}/tasks/mine
  curl -s ${one?.apiUrl}/metrics`)
  for (;;) await sleep(60_000)
}
