// What a process holds in memory, as the system counts it.

import { readFileSync } from 'node:fs'

export function residentMiB(pid: number | undefined): number {
  return kibibytes(pid, 'VmRSS')
}

/** The most that it ever held. */
export function peakMiB(pid: number | undefined): number {
  return kibibytes(pid, 'VmHWM')
}

function kibibytes(pid: number | undefined, field: 'VmRSS' | 'VmHWM'): number {
  const [, amount] = new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Math.round(Number(amount ?? 0) / 1024)
}
