// The live view as text.

import type { MachineView } from './observer.ts'

export interface Progress {
  readonly tasks: number
  readonly acknowledged: number
  readonly done: number
}

const barWidth = 40

export function table(views: readonly MachineView[], progress: Progress): string[] {
  return [
    '',
    '       sidecar                             application',
    'node   role          term  commit applied    index  queued  leased    done',
    ...views.map(row),
    '',
    `${bar(progress)}  ${progress.acknowledged} acknowledged, ${progress.done} done of ${progress.tasks}`,
  ]
}

/** The same in one line. */
export function summary(views: readonly MachineView[], progress: Progress): string {
  const nodes = views.map(({ id, sidecar, application }) => {
    const role = sidecar === null ? 'no answer' : `${sidecar.role}, term ${sidecar.term}`
    return `${id} ${role}, index ${application?.position ?? '?'}`
  })
  return `${progress.acknowledged} acknowledged, ${progress.done} done of ${progress.tasks} | ${nodes.join(' | ')}`
}

function row({ id, sidecar, application }: MachineView): string {
  return [
    id.padEnd(6),
    (sidecar?.role ?? 'no answer').padEnd(12),
    cell(sidecar?.term, 5),
    cell(sidecar?.commitIndex, 7),
    cell(sidecar?.appliedIndex, 7),
    cell(application?.position, 8),
    cell(application?.queued, 7),
    cell(application?.leased, 7),
    cell(application?.done, 7),
  ].join(' ')
}

function cell(value: number | undefined, width: number): string {
  return (value === undefined ? '-' : String(value)).padStart(width)
}

/** `#` done, `+` acknowledged and still to be done. */
function bar({ tasks, acknowledged, done }: Progress): string {
  const doneWidth = Math.floor((barWidth * done) / tasks)
  const acknowledgedWidth = Math.max(doneWidth, Math.floor((barWidth * acknowledged) / tasks))
  return `[${'#'.repeat(doneWidth)}${'+'.repeat(acknowledgedWidth - doneWidth)}${' '.repeat(barWidth - acknowledgedWidth)}]`
}
