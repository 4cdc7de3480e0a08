// What this node remembers of every other one, so that a member which comes back with an empty or an older data directory is found out
// before anything that it says counts: it has forgotten votes and acknowledgements that others rest on.
//
// Held against a member is only what it can never lose again: the incarnation of its data directory; the newest run of its process that it
// showed, which is durable on both sides before it counts here, so that any later run of the same directory has it among those before it; terms
// that were durable before it showed them; and entries that it acknowledged and that are committed, or that it acknowledged in the very term
// that it shows (only the leader of a later term truncates them). The end of its log in a greeting is none of these: entries that are not
// committed may go. All of it rises only, so that a node whose own directory is an older one knows less, and accuses nobody falsely.
//
// What remains undetected: a member that this node never met (the first one to show itself under an id is believed); runs that were shown to
// others only; a copy of the directory that was made during or after the newest run that this node met, which it takes for the original unless the
// terms and the acknowledged entries tell, and these are what was shown or acknowledged to this node, but for the last seconds before it
// crashed; an older copy that was started more often than it keeps the ids of former runs; a process that was set back together with its
// memory, as a virtual machine can be; and all of it, once every member that knew it has lost its own knowledge, too: a majority that was
// emptied at one time is a new cluster to itself.

import { StorageFullError } from '../errors.ts'
import type { NodeId } from '../raft/entry.ts'
import type { AcquaintanceStore, Clock, Run, Standing } from './ports.ts'

export interface AcquaintancesOptions {
  readonly id: NodeId
  readonly store: AcquaintanceStore
  readonly after: Clock['after']
  /** The store failed, and so the disk: the process must stop. Called once. */
  readonly onFailure: (error: unknown) => void
}

/** More than a cluster has members: those that were not heard of for longest are forgotten past it. */
export const maxAcquaintances = 64

/** What a member shows again and again is saved no more often than this. Its incarnation and its runs are saved at once. */
const lazySaveMs = 5000
/** Where the disk had no room. */
const retryMs = 500

interface Known {
  readonly incarnation: string
  /** The newest one that it has shown. */
  run: Run
  /** Found whole by this process: what that run shows later may be older than what it has acknowledged meanwhile, and no process forgets. */
  isWhole: boolean
  /** Highest one that it has durably shown. */
  currentTerm: number
  /** Highest one that it has acknowledged and that is committed. */
  committedIndex: number
  /** What it acknowledged last to this process, committed or not: good while the term is that one. */
  acknowledged: { term: number; index: number }
  /** Resolves once its incarnation and its run are durable here: only then does it count. */
  durable: Promise<void>
}

export class Acquaintances {
  readonly #options: AcquaintancesOptions
  /** Those that were heard of last are last. */
  readonly #known = new Map<NodeId, Known>()
  /** The newest save that was asked for; once it rejects, all that follow do. */
  #saved: Promise<void> = Promise.resolve()
  /** The same while it waits for the one before it: it takes along what is learned until it begins. */
  #waiting: Promise<void> | null = null
  #cancelTimer: (() => void) | null = null
  /** Ends the pause before the next try. */
  #endPause: (() => void) | null = null
  #hasNews = false
  #hasFailed = false
  #closed = false

  constructor(options: AcquaintancesOptions) {
    this.#options = options
    for (const [id, { incarnation, run, currentTerm, lastIndex: committedIndex }] of options.store.load()) {
      const durable = Promise.resolve()
      const acknowledged = { term: 0, index: 0 }
      this.#known.set(id, { incarnation, run, isWhole: false, currentTerm, committedIndex, acknowledged, durable })
    }
  }

  /** See TransportEvents. Rejects when what must be remembered of a new one cannot be saved. */
  async greeted(id: NodeId, standing: Standing): Promise<string | null> {
    const forgotten = this.judge(id, standing)
    if (forgotten !== null) return forgotten
    const known = this.#known.get(id)
    await (known === undefined ? this.#meet(id, standing) : this.#meetAgain(id, known, standing)).durable
    return null
  }

  /** Null: nothing is known that it has forgotten. A sentence: it has. Learns nothing. */
  judge(id: NodeId, shown: Standing): string | null {
    const known = this.#known.get(id)
    if (known === undefined) return null
    const what = this.#otherDirectory(known, shown) ?? this.#lessThanBefore(known, shown)
    return what === null ? null : sentence(id, what)
  }

  /**
   * A message has come that its sender let go only when this was durable: its term; and, when it acknowledges entries to this node as the
   * leader of that very term, the log through `index`. Of everything else `index` is 0: an entry of another leader may not be the one that is
   * committed there. Called as the message arrives, so that no greeting of a later process is judged in between.
   */
  acknowledged(id: NodeId, term: number, index: number, commitIndex: number): void {
    const known = this.#known.get(id)
    if (known === undefined) return
    this.#raiseTerm(known, term)
    const committed = Math.min(index, commitIndex)
    if (committed > known.committedIndex) {
      known.committedIndex = committed
      this.#noteNews()
    }
    const { acknowledged } = known
    if (term > acknowledged.term) {
      acknowledged.term = term
      acknowledged.index = index
    } else if (term === acknowledged.term && index > acknowledged.index) acknowledged.index = index
  }

  /** Saves what is not saved yet, and is silent afterwards. */
  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTimer?.()
    this.#cancelTimer = null
    this.#endPause?.()
    if (this.#hasNews) void this.#save()
    await this.#saved.catch(() => {})
  }

  #otherDirectory({ incarnation, run }: Known, shown: Standing): string | null {
    const { id: own } = this.#options
    if (shown.incarnation !== incarnation)
      return `shows another data directory (${shown.incarnation}) than the one that ${own} knows it by (${incarnation})`
    const { number } = shown.run
    if (number < run.number)
      return `shows run ${number} of its data directory, but showed ${own} run ${run.number} before`
    const then = idOf(shown.run, run.number)
    if (then === null || then === run.id) return null
    return `shows run ${number} of a data directory whose run ${run.number} (${then}) is not the one that it showed ${own} before (${run.id})`
  }

  /** Of the same directory, and of no older run. */
  #lessThanBefore(known: Known, shown: Standing): string | null {
    const { id: own } = this.#options
    if (known.isWhole && shown.run.number === known.run.number) return null
    if (shown.currentTerm < known.currentTerm)
      return `shows term ${shown.currentTerm}, but showed ${own} term ${known.currentTerm} before`
    const { acknowledged, committedIndex } = known
    const index =
      acknowledged.term === shown.currentTerm ? Math.max(acknowledged.index, committedIndex) : committedIndex
    if (shown.lastIndex < index)
      return `shows a log that ends at ${shown.lastIndex}, but acknowledged ${index} to ${own} before`
    return null
  }

  #meet(id: NodeId, { incarnation, run, currentTerm }: Standing): Known {
    if (this.#known.size === maxAcquaintances) {
      for (const oldest of this.#known.keys()) {
        this.#known.delete(oldest)
        break
      }
    }
    // The save takes in what stands in the map when it begins, which is not before this turn has ended.
    const durable = this.#save()
    const acknowledged = { term: 0, index: 0 }
    const known = { incarnation, run, isWhole: true, currentTerm, committedIndex: 0, acknowledged, durable }
    this.#known.set(id, known)
    return known
  }

  #meetAgain(id: NodeId, known: Known, { run, currentTerm }: Standing): Known {
    this.#known.delete(id)
    this.#known.set(id, known)
    this.#raiseTerm(known, currentTerm)
    known.isWhole = true
    if (run.number > known.run.number) {
      known.run = run
      known.durable = this.#save()
    }
    return known
  }

  #raiseTerm(known: Known, term: number): void {
    if (term <= known.currentTerm) return
    known.currentTerm = term
    this.#noteNews()
  }

  #noteNews(): void {
    this.#hasNews = true
    if (this.#cancelTimer !== null || this.#closed) return
    this.#cancelTimer = this.#options.after(lazySaveMs, () => {
      this.#cancelTimer = null
      if (this.#hasNews) void this.#save()
    })
  }

  /** Resolves when all that is known now is durable. */
  #save(): Promise<void> {
    if (this.#waiting !== null) return this.#waiting
    const saved = this.#saved.then(() => {
      this.#waiting = null
      this.#hasNews = false
      return this.#store()
    })
    this.#saved = saved
    this.#waiting = saved
    saved.catch((error: unknown) => this.#failed(error))
    return saved
  }

  /** Where there is no room, it takes until there is; a member that must be remembered first waits for it. */
  async #store(): Promise<void> {
    while (true) {
      try {
        await this.#options.store.save(this.#standings())
        return
      } catch (error) {
        if (!(error instanceof StorageFullError) || this.#closed) throw error
      }
      await new Promise<void>((resolve) => {
        const cancel = this.#options.after(retryMs, resolve)
        this.#endPause = () => {
          cancel()
          resolve()
        }
      })
      this.#endPause = null
    }
  }

  #failed(error: unknown): void {
    if (this.#hasFailed || error instanceof StorageFullError) return
    this.#hasFailed = true
    this.#options.onFailure(error)
  }

  #standings(): ReadonlyMap<NodeId, Standing> {
    const standings = new Map<NodeId, Standing>()
    for (const [id, { incarnation, run, currentTerm, committedIndex }] of this.#known)
      standings.set(id, { incarnation, run: { ...run, former: [] }, currentTerm, lastIndex: committedIndex })
    return standings
  }
}

/** Of the run of this number that came before, or is this one; null: it is not kept. */
function idOf({ number, id, former }: Run, wanted: number): string | null {
  return wanted === number ? id : (former[number - wanted - 1] ?? null)
}

function sentence(id: NodeId, what: string): string {
  const why = 'It has forgotten votes or acknowledgements that others rest on, and could undo what is committed.'
  const remedy = `Put back the data directory that it used last, or remove ${id} from the cluster and add it under a new id.`
  return `${id} ${what}. ${why} ${remedy}`
}
