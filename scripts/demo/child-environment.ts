// How a TypeScript process of this project is started, from any directory: nothing of the caller's settings reaches it by accident.

import { resolve } from 'node:path'

const project = resolve(import.meta.dirname, '../..')

/** `path` is relative to the project. */
export function nodeArguments(path: string, ...rest: readonly string[]): string[] {
  return ['--import', import.meta.resolve('tsx'), resolve(project, path), ...rest]
}

export function childEnvironment(own: Readonly<Record<string, string>>): Record<string, string> {
  const inherited: Record<string, string> = {}
  for (const name of ['PATH', 'HOME', 'TMPDIR', 'LANG', 'TZ']) {
    const value = process.env[name]
    if (value !== undefined) inherited[name] = value
  }
  return { ...inherited, ...own }
}
