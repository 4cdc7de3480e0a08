// The last step of a linearizable read: the state machine itself has shown, since the read came, that it holds what it was given. An application that
// was restarted with an older state, or none, and that nothing was asked of since, would else be read as if it were up to date.

import { ReadError } from '../errors.ts'
import type { Applier, Clock } from './ports.ts'
import type { Reads } from './reads.ts'

export interface ConfirmedReadOptions {
  readonly applier: Pick<Applier, 'appliedIndex' | 'confirm' | 'blocked'>
  readonly reads: Reads
  readonly clock: Clock
  readonly deadlineMs: number
}

/** Resolves with the index that `reading` gave. Rejects with ReadError. */
export async function confirmRead(reading: Promise<number>, options: ConfirmedReadOptions): Promise<number> {
  const { applier, reads, clock, deadlineMs } = options
  const index = await reading
  const confirmation = applier.confirm()
  if (confirmation === null) return index
  await inTime(confirmation, options)
  if (applier.appliedIndex >= index) return index
  // It had lost some of it, and gets it again; what it acknowledges from here on it holds.
  const nowMs = clock.monotonicMs()
  return await reads.barrierAt(index, applier.appliedIndex, nowMs, Math.max(deadlineMs - nowMs, 0))
}

async function inTime(
  confirmation: Promise<void>,
  { applier, clock, deadlineMs }: ConfirmedReadOptions,
): Promise<void> {
  let cancel = () => {}
  const timeout = new Promise<never>((_resolve, reject) => {
    cancel = clock.after(Math.max(deadlineMs - clock.monotonicMs(), 0), () => {
      const why = applier.blocked ?? 'it did not say in time'
      reject(new ReadError('read-timeout', `Cannot read: whether the application holds its state is not known: ${why}`))
    })
  })
  try {
    await Promise.race([confirmation, timeout])
  } catch (error) {
    if (error instanceof ReadError) throw error
    throw new ReadError('shutting-down', 'Cannot read: this node is shutting down')
  } finally {
    cancel()
  }
}
