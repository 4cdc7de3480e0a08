// The gateway: the environment, a `.env` file beneath it (the environment wins), secrets out of files, checked against the schema.
// An empty variable counts as one that is not set, as in a copied .env.example.

import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseEnv } from 'node:util'
import { envSchema } from 'env-schema'
import type { Static, TObject } from 'typebox'
import { exitCodes, FatalError } from '../errors.ts'
import { Problems } from './problems.ts'
import { laterNames, secretNames, wanted } from './settings.ts'

export type Environment = Readonly<Record<string, string | undefined>>

const maxFileBytes = 65_536

/** The variables that are set, those of `.env` included. Throws FatalError when that file is there but cannot be read. */
export function readEnvironment(env: Environment, workingDirectory: string): Environment {
  const merged: Environment = { ...readDotenv(join(workingDirectory, '.env')), ...env }
  return Object.fromEntries(Object.entries(merged).filter(([, value]) => value !== undefined && value !== ''))
}

/** Reads the settings that `schema` names, secrets included. Throws FatalError with every variable that is missing or does not fit. */
export function readSettings<const T extends TObject>(
  schema: T,
  given: Environment,
  workingDirectory: string,
): Static<T> {
  const problems = new Problems()
  const data: Record<string, string | undefined> = { ...given }
  for (const name of secretNames) {
    if (name in schema.properties) data[name] = readSecret(name, given, workingDirectory, problems)
  }
  problems.throwIfAny()
  try {
    // A copy: env-schema writes into the schema that it is given.
    return envSchema<Static<T>>({ schema: { ...schema }, env: false, data: withoutUndefined(data) })
  } catch (error) {
    for (const fault of faultsOf(error)) {
      const name = fault.params.missingProperty ?? fault.instancePath.slice(1)
      const missing = fault.keyword === 'required'
      const reason = `${missing ? 'is not set' : 'does not fit'}: ${wanted(name)}`
      problems.add(name, missing ? undefined : data[name], reason)
    }
    problems.throwIfAny()
    throw error
  }
}

/** Adds a problem for each variable that is set and that this version does not offer. */
export function refuseLater(given: Environment, problems: Problems): void {
  for (const name of laterNames) {
    for (const variant of [name, `${name}_FILE`]) {
      if (given[variant] !== undefined)
        problems.add(variant, undefined, 'is set, but this version does not offer it: unset it')
    }
  }
}

function readDotenv(path: string): Environment {
  try {
    return parseEnv(readFileSync(path, 'utf8'))
  } catch (error) {
    if (hasCode(error, 'ENOENT')) return {}
    const reason = error instanceof Error ? error.message : String(error)
    throw new FatalError(
      exitCodes.configuration,
      `Cannot read the settings in ${path}: ${reason}; make it readable or remove it`,
    )
  }
}

function readSecret(
  name: string,
  given: Environment,
  workingDirectory: string,
  problems: Problems,
): string | undefined {
  const fileVariable = `${name}_FILE`
  const path = given[fileVariable]
  if (given[name] !== undefined && path !== undefined) {
    problems.add(fileVariable, path, `is set beside ${name}: keep one of them`)
    return undefined
  }
  if (given[name] !== undefined) return given[name]
  if (path !== undefined) {
    const content = readSecretFile(resolve(workingDirectory, path))
    if (typeof content === 'string') return content
    problems.add(
      fileVariable,
      path,
      `${content.problem}: give the path of a file that holds the secret and that this user may read`,
    )
    return undefined
  }
  const directory = given.CREDENTIALS_DIRECTORY
  if (directory === undefined) return undefined
  const content = readSecretFile(join(directory, name))
  if (typeof content === 'string') return content
  if (!content.absent)
    problems.add('CREDENTIALS_DIRECTORY', directory, `holds ${name}, which ${content.problem}: correct the credential`)
  return undefined
}

function readSecretFile(path: string): string | { readonly problem: string; readonly absent: boolean } {
  let content: string
  try {
    content = readFileSync(path, 'utf8')
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : 'an unknown error'
    return { problem: `cannot be read (${code})`, absent: hasCode(error, 'ENOENT') }
  }
  // An editor's line end at the close of the file is no part of the secret.
  const secret = content.replace(/\r?\n$/, '')
  if (secret === '') return { problem: 'is empty', absent: false }
  return content.length > maxFileBytes ? { problem: 'is larger than 64 KiB', absent: false } : secret
}

interface SchemaFault {
  readonly keyword: string
  readonly instancePath: string
  readonly params: { readonly missingProperty?: string }
}

function faultsOf(error: unknown): readonly SchemaFault[] {
  return error instanceof Error && 'errors' in error && Array.isArray(error.errors) ? error.errors : []
}

function withoutUndefined(data: Record<string, string | undefined>): Record<string, string> {
  return Object.fromEntries(Object.entries(data).filter((pair): pair is [string, string] => pair[1] !== undefined))
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && 'code' in error && error.code === code
}
