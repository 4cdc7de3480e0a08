// What can be said on the command line; anything else is answered with the usage.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { parseArgs } from 'node:util'

export interface Options {
  /** Absolute. */
  readonly folder: string
  readonly keep: boolean
  readonly tasks: number
  /** Tasks that arrive in a second. */
  readonly rate: number
}

const usage = `Usage: npm run demo -- [folder] [--keep] [--tasks 3000] [--rate 250]

  folder    whose files are hashed, one a task; several times over if it holds few (default: this project)
  --keep    leave the cluster up after the proof, with curl lines to try
  --tasks   how many tasks, 10 to 20000
  --rate    how many arrive in a second, 1 to 5000`

/** Ends the process on --help and on what it cannot read. */
export function readOptions(argv: readonly string[]): Options {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      allowPositionals: true,
      options: {
        keep: { type: 'boolean', default: false },
        tasks: { type: 'string', default: '3000' },
        rate: { type: 'string', default: '250' },
        help: { type: 'boolean', short: 'h', default: false },
      },
    })
    if (values.help) {
      console.log(usage)
      process.exit(0)
    }
    if (positionals.length > 1) throw new Error(`One folder at most, but there are ${positionals.length}`)
    return {
      folder: folder(positionals[0] ?? resolve(import.meta.dirname, '../..')),
      keep: values.keep,
      tasks: whole('--tasks', values.tasks, 10, 20_000),
      rate: whole('--rate', values.rate, 1, 5_000),
    }
  } catch (error) {
    console.error(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
    process.exit(64)
  }
}

function folder(path: string): string {
  const found = statSync(path, { throwIfNoEntry: false })
  if (!found?.isDirectory()) throw new Error(`${path} is no folder`)
  return resolve(path)
}

function whole(name: string, text: string, minimum: number, maximum: number): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= minimum && value <= maximum) return value
  throw new Error(`${name} is ${text}: give a whole number from ${minimum} to ${maximum}`)
}
