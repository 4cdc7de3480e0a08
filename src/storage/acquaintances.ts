// What this node knows of every other one, over its restarts: see node/acquaintances.ts. The value is JSON, for people with a pager; a few
// thousand bytes that are replaced as a whole, in room that was taken when the file was made.

import { type FatalError, StorageFullError } from '../errors.ts'
import type { AcquaintanceStore, Run, Standing } from '../node/ports.ts'
import type { NodeId } from '../raft/entry.ts'
import { diskFailure, misplaced } from './damage.ts'
import type { Disk, ReadOnlyDisk } from './disk.ts'
import { isOutOfRoom } from './disk.ts'
import type { SlotFormat } from './slot-file.ts'
import { readSlotValue, SlotFile } from './slot-file.ts'

export const acquaintancesName = 'acquaintances'

/** Room for 64 members with ids, incarnations and runs of 64 characters, whatever characters they are. */
const format: SlotFormat = { version: 1, slotBytes: 24 * 4096 }

export class AcquaintanceFile implements AcquaintanceStore {
  readonly #slots: SlotFile
  #known: ReadonlyMap<NodeId, Standing>
  #last: Promise<void> = Promise.resolve()
  #failure: FatalError | null = null

  private constructor(slots: SlotFile, known: ReadonlyMap<NodeId, Standing>) {
    this.#slots = slots
    this.#known = known
  }

  /** Rejects with FatalError: `dataError` when it cannot be trusted, `ioError` when the disk fails. */
  static async open(disk: Disk, directory: string): Promise<AcquaintanceFile> {
    try {
      const exists = (await disk.list(directory)).includes(acquaintancesName)
      const slots = exists
        ? await SlotFile.open(disk, directory, acquaintancesName, format)
        : await SlotFile.create(disk, directory, acquaintancesName, format, encode(new Map()))
      try {
        return new AcquaintanceFile(slots, decode(directory, slots.value))
      } catch (error) {
        await slots.close()
        throw error
      }
    } catch (error) {
      throw diskFailure(`open what is known of the peers in ${directory}`, error)
    }
  }

  load(): ReadonlyMap<NodeId, Standing> {
    return this.#known
  }

  /** Calls follow each other. After a failure every one rejects, with FatalError. */
  save(standings: ReadonlyMap<NodeId, Standing>): Promise<void> {
    const value = encode(standings)
    const known = new Map(standings)
    const saved = this.#last.then(async () => {
      if (this.#failure) throw this.#failure
      await this.#slots.write(value).catch((error: unknown) => {
        throw this.#reason(error)
      })
      this.#known = known
    })
    this.#last = saved.catch(() => {})
    return saved
  }

  #reason(error: unknown): Error {
    const attempt = 'save what is known of the peers'
    // The file has its room; one that is written to a new place may find none, and what stood in it stands.
    if (isOutOfRoom(error)) return new StorageFullError(`Cannot ${attempt}: the disk is full`, { cause: error })
    this.#failure = diskFailure(attempt, error)
    return this.#failure
  }

  async close(): Promise<void> {
    await this.#last
    await this.#slots.close()
  }
}

/** Rejects as `open` would, where that reads what is there. */
export async function checkAcquaintances(disk: ReadOnlyDisk, directory: string): Promise<void> {
  if (!(await disk.list(directory)).includes(acquaintancesName)) return
  decode(directory, await readSlotValue(disk, `${directory}/${acquaintancesName}`, format, () => {}))
}

interface Row extends Omit<Standing, 'run'> {
  readonly id: NodeId
  readonly run: Pick<Run, 'number' | 'id'>
}

/** In the order of the map, which is kept. */
function encode(standings: ReadonlyMap<NodeId, Standing>): Buffer {
  const rows = [...standings].map(([id, { incarnation, run, currentTerm, lastIndex }]): Row => {
    return { id, incarnation, run: { number: run.number, id: run.id }, currentTerm, lastIndex }
  })
  return Buffer.from(JSON.stringify(rows))
}

/** The checksum vouches for the values; this throws where something else wrote them. */
function decode(directory: string, value: Buffer): ReadonlyMap<NodeId, Standing> {
  const rows = parse(value)
  if (!Array.isArray(rows) || !rows.every(isRow)) {
    throw misplaced(`${directory}/${acquaintancesName}`, 'It does not hold what a node knows of its peers.')
  }
  return new Map(rows.map(({ id, run, ...rest }) => [id, { ...rest, run: { ...run, former: [] } }]))
}

function parse(value: Buffer): unknown {
  try {
    return JSON.parse(value.toString())
  } catch {
    return null
  }
}

function isRow(value: unknown): value is Row {
  if (typeof value !== 'object' || value === null) return false
  const row: Partial<Record<keyof Row, unknown>> = value
  return (
    typeof row.id === 'string' &&
    typeof row.incarnation === 'string' &&
    isRun(row.run) &&
    Number.isSafeInteger(row.currentTerm) &&
    Number.isSafeInteger(row.lastIndex)
  )
}

function isRun(value: unknown): value is Row['run'] {
  if (typeof value !== 'object' || value === null) return false
  const run: Partial<Record<keyof Run, unknown>> = value
  return Number.isSafeInteger(run.number) && typeof run.id === 'string'
}
