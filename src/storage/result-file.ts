// What the application answered, kept over restarts in a few files beside the log (see result-record.ts): appended to the newest, given up from
// the oldest on. Whatever the disk does, the node goes on: what cannot be written is lost, and what cannot be read is not known.

import assert from 'node:assert/strict'
import type { KeptResult, ResultStore } from '../node/ports.ts'
import type { Disk, DiskFile } from './disk.ts'
import type { Identity } from './metafile.ts'
import type { ReadResults } from './result-record.ts'
import { encodeResult, encodeResultHeader, readResults, resultsName, resultsNumber } from './result-record.ts'
import { logIdentity } from './segment.ts'
import { SteadyWriter } from './steady-writer.ts'

export interface ResultFileOptions {
  /** Whose directory it is. */
  readonly identity: Pick<Identity, 'cluster' | 'incarnation'>
  /** At the start: what stands behind the damage is not known any more. Once a file. */
  readonly onDamage: (damage: ResultDamage) => void
  /** Something could not be written, and is lost; told once until the next snapshot, which makes up for it. */
  readonly onLost: (reason: string) => void
  /** The room that is left on the disk is for what cannot be done without: nothing is written now. */
  readonly isFull: () => boolean
  /** Of one file, at most; 16 MiB by default. */
  readonly fileBytes?: number
}

export interface ResultDamage {
  readonly file: string
  readonly offset: number
  /** From there to the file's end. */
  readonly bytes: number
  readonly problem: string
}

/** With them all, 64 MiB on the disk and at the start in memory; the newest count. */
const maxFiles = 4
const defaultFileBytes = 16 * 1024 * 1024
/** Of a file: as much waits for a disk that hangs. */
const pendingShare = 1 / 2
/** Of a file: as much is taken for one write. */
const writeShare = 1 / 16

/** Of the commands whose answers a file holds. */
interface Span {
  lowest: number
  highest: number
}

interface Generation extends Span {
  readonly number: number
  sizeBytes: number
  /** Nothing is appended to it any more. */
  isEnded: boolean
}

interface OpenFile {
  readonly generation: Generation
  readonly file: DiskFile
  readonly writer: SteadyWriter
}

export class ResultFile implements ResultStore {
  readonly #disk: Disk
  readonly #directory: string
  readonly #options: ResultFileOptions
  readonly #header: Buffer
  readonly #fileBytes: number
  /** Null: it was handed over. */
  #found: KeptResult[] | null = []
  /** In rising order; only the last one may be open. */
  #generations: Generation[] = []
  #open: OpenFile | null = null
  #lastNumber = 0
  #pending: { readonly index: number; readonly record: Buffer }[] = []
  #pendingBytes = 0
  #through = 0
  #isForgetting = false
  #isLossTold = false
  #isWorking = false
  #work: Promise<void> = Promise.resolve()
  #isClosed = false

  private constructor(disk: Disk, directory: string, options: ResultFileOptions) {
    const { cluster, incarnation } = options.identity
    this.#disk = disk
    this.#directory = directory
    this.#options = options
    this.#header = encodeResultHeader(logIdentity(cluster, incarnation))
    this.#fileBytes = options.fileBytes ?? defaultFileBytes
  }

  /** Never rejects. `disk` is for work that may take its time. */
  static async open(disk: Disk, directory: string, options: ResultFileOptions): Promise<ResultFile> {
    const results = new ResultFile(disk, directory, options)
    await results.#find()
    return results
  }

  /** Once: it is not held on to. */
  load(): readonly KeptResult[] {
    const found = this.#found
    assert(found !== null, 'what earlier processes kept was handed over before')
    this.#found = null
    return found
  }

  append(results: readonly KeptResult[]): void {
    if (this.#isClosed) return
    for (const result of results) {
      const record = encodeResult(this.#header, result)
      if (this.#pendingBytes + record.length > this.#fileBytes * pendingShare) {
        this.#lost('The disk does not keep up.')
        break
      }
      this.#pending.push({ index: result.index, record })
      this.#pendingBytes += record.length
    }
    this.#start()
  }

  forget(through: number): void {
    if (this.#isClosed || through <= this.#through) return
    this.#through = through
    this.#isForgetting = true
    this.#isLossTold = false
    this.#start()
  }

  /** Never rejects. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#work
    await this.#closeOpen()
  }

  async #find(): Promise<void> {
    const names = await this.#disk.list(this.#directory).catch((error: unknown) => {
      this.#options.onDamage({
        file: this.#directory,
        offset: 0,
        bytes: 0,
        problem: `It cannot be read: ${said(error)}.`,
      })
      return []
    })
    const numbers = names.map(resultsNumber).filter((number) => number !== null)
    this.#lastNumber = numbers.at(-1) ?? 0
    const superfluous = numbers.slice(0, -maxFiles)
    for (const number of superfluous) this.#generations.push(nothingIn(number))
    for (const number of numbers.slice(superfluous.length)) this.#generations.push(await this.#findIn(number))
    for (const older of this.#generations.slice(0, -1)) older.isEnded = true
    // Of those that hold nothing.
    this.#isForgetting = this.#generations.some(({ highest }) => highest === 0)
    if (this.#isForgetting) this.#start()
  }

  async #findIn(number: number): Promise<Generation> {
    const file = this.#path(number)
    try {
      const { sizeBytes, results, end, problem } = await this.#read(file)
      if (problem !== null) this.#options.onDamage({ file, offset: end, bytes: sizeBytes - end, problem })
      const generation: Generation = {
        ...nothingIn(number),
        sizeBytes,
        isEnded: problem !== null || results.length === 0,
      }
      for (const result of results) {
        this.#found?.push(result)
        widen(generation, result.index)
      }
      return generation
    } catch (error) {
      this.#options.onDamage({ file, offset: 0, bytes: 0, problem: `It cannot be read: ${said(error)}.` })
      return nothingIn(number)
    }
  }

  async #read(path: string): Promise<ReadResults & { readonly sizeBytes: number }> {
    const file = await this.#disk.open(path, 'read')
    try {
      const sizeBytes = await file.size()
      const buffer = Buffer.allocUnsafeSlow(Math.min(sizeBytes, this.#fileBytes))
      const count = await file.read(buffer, 0)
      const { results, end, problem } = readResults(buffer.subarray(0, count), this.#header)
      const isLonger = sizeBytes > this.#fileBytes
      return { sizeBytes, results, end, problem: isLonger ? 'It is longer than this program makes any.' : problem }
    } finally {
      await file.close()
    }
  }

  #start(): void {
    if (this.#isWorking) return
    this.#isWorking = true
    this.#work = this.#workAll()
  }

  /** Never rejects. Between the last look at what is to be done and `#isWorking` there is no turn of the loop. */
  async #workAll(): Promise<void> {
    while (this.#isForgetting || this.#pending.length > 0) {
      if (this.#isForgetting) await this.#giveUp()
      else await this.#writeSome()
    }
    this.#isWorking = false
  }

  async #giveUp(): Promise<void> {
    this.#isForgetting = false
    const newest = this.#generations.at(-1)
    // It would be kept for a long time otherwise, as long as something is added.
    if (newest !== undefined && newest.lowest <= this.#through) await this.#end(newest)
    for (const generation of [...this.#generations]) {
      if (generation.isEnded && generation.highest <= this.#through) await this.#remove(generation)
    }
  }

  async #writeSome(): Promise<void> {
    const span: Span = { lowest: Number.POSITIVE_INFINITY, highest: 0 }
    let count = 0
    let bytes = 0
    for (const { index, record } of this.#pending) {
      if (count > 0 && bytes + record.length > this.#fileBytes * writeShare) break
      widen(span, index)
      bytes += record.length
      count++
    }
    const records = this.#pending.splice(0, count).map(({ record }) => record)
    this.#pendingBytes -= bytes
    if (this.#options.isFull()) {
      this.#lost('The disk is full.')
      return
    }
    try {
      const { generation, writer } = await this.#fileFor(bytes)
      await writer.write(Buffer.concat(records, bytes))
      generation.sizeBytes += bytes
      widen(generation, span.lowest)
      widen(generation, span.highest)
    } catch (error) {
      this.#lost(`${said(error)}.`)
      // What is there of them may be torn, and nothing goes behind that.
      const newest = this.#generations.at(-1)
      if (newest !== undefined) await this.#end(newest)
      if (newest?.highest === 0) await this.#remove(newest)
    }
  }

  async #fileFor(bytes: number): Promise<OpenFile> {
    const newest = this.#generations.at(-1)
    if (newest !== undefined && !newest.isEnded && newest.sizeBytes + bytes <= this.#fileBytes) {
      this.#open ??= await this.#openAgain(newest)
      return this.#open
    }
    if (newest !== undefined) await this.#end(newest)
    for (const oldest of this.#generations.slice(0, 1 - maxFiles)) await this.#remove(oldest)
    return this.#begin()
  }

  async #openAgain(generation: Generation): Promise<OpenFile> {
    const file = await this.#disk.open(this.#path(generation.number), 'update')
    return { generation, file, writer: new SteadyWriter(file, generation.sizeBytes) }
  }

  async #begin(): Promise<OpenFile> {
    const number = this.#lastNumber + 1
    const file = await this.#disk.open(this.#path(number), 'create')
    this.#lastNumber = number
    const generation: Generation = { ...nothingIn(number), sizeBytes: this.#header.length, isEnded: false }
    this.#generations.push(generation)
    this.#open = { generation, file, writer: new SteadyWriter(file) }
    await this.#open.writer.write(this.#header)
    return this.#open
  }

  async #end(generation: Generation): Promise<void> {
    generation.isEnded = true
    if (this.#open?.generation === generation) await this.#closeOpen()
  }

  async #closeOpen(): Promise<void> {
    const open = this.#open
    this.#open = null
    await open?.file.close().catch(() => {})
  }

  /** One that cannot be removed now is tried again at the next opportunity. */
  async #remove(generation: Generation): Promise<void> {
    try {
      await this.#disk.remove(this.#path(generation.number))
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) return
    }
    this.#generations = this.#generations.filter((one) => one !== generation)
  }

  #lost(reason: string): void {
    if (this.#isLossTold) return
    this.#isLossTold = true
    this.#options.onLost(reason)
  }

  #path(number: number): string {
    return `${this.#directory}/${resultsName(number)}`
  }
}

function nothingIn(number: number): Generation {
  return { number, sizeBytes: 0, lowest: Number.POSITIVE_INFINITY, highest: 0, isEnded: true }
}

function widen(span: Span, index: number): void {
  span.lowest = Math.min(span.lowest, index)
  span.highest = Math.max(span.highest, index)
}

function said(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
