// What is wrong with the settings, gathered into the one line that the start stops with. A secret's value never gets in here.

import { exitCodes, FatalError } from '../errors.ts'
import { secretNames } from './settings.ts'

const maxShownLength = 120

export class Problems {
  readonly #byName = new Map<string, string>()

  /** `reason` says what is wrong and what would do. Only the first problem of a variable is kept. */
  add(name: string, value: unknown, reason: string): void {
    if (!this.#byName.has(name)) this.#byName.set(name, `${name}${show(name, value)} ${reason}`)
  }

  has(name: string): boolean {
    return this.#byName.has(name)
  }

  /** Throws FatalError `configuration` unless nothing was added. */
  throwIfAny(): void {
    if (this.#byName.size === 0) return
    throw new FatalError(exitCodes.configuration, [...this.#byName.values()].join('; '))
  }
}

/** The error for a single bad setting. */
export function badSetting(name: string, value: unknown, reason: string): FatalError {
  return new FatalError(exitCodes.configuration, `${name}${show(name, value)} ${reason}`)
}

function show(name: string, value: unknown): string {
  if (value === undefined) return ''
  if (secretNames.some((secret) => name === secret)) return ' (value not shown)'
  // A URL may carry a password; JSON keeps line breaks out of the line.
  const text = String(value).replace(/\/\/[^/@\s]*@/g, '//***@')
  return `=${JSON.stringify(text.length > maxShownLength ? `${text.slice(0, maxShownLength)}…` : text)}`
}
