// Who may know whom: the table of the architecture as code. A room is a folder of src/, config.ts with its folder, errors.ts, or `main`:
// the files beside them, which put everything together and which nobody else imports.

import { posix } from 'node:path'
import { type Import, linesWith, readImports } from './source.ts'

export interface Violation {
  readonly file: string
  readonly line: number
  readonly rule: string
}

interface Room {
  /** Rooms, or single files of them, that it may use; its own always. */
  readonly values: readonly string[]
  /** Rooms, or single files of them, of which it may use the types alone. */
  readonly types: readonly string[]
}

/** What the commands need that work on files, without a sidecar. */
const offline = ['directory-lock', 'inspect-directory', 'node-disk', 'restore-directory', 'snapshot-file'].map(
  (name) => `storage/${name}.ts`,
)

const rooms: Readonly<Record<string, Room>> = {
  errors: { values: [], types: [] },
  raft: { values: [], types: [] },
  node: { values: ['raft', 'errors'], types: [] },
  storage: { values: ['errors'], types: ['raft', 'node/ports.ts'] },
  peers: { values: ['errors'], types: ['raft', 'node/ports.ts'] },
  machine: { values: ['errors'], types: ['raft', 'node/ports.ts'] },
  telemetry: { values: ['errors'], types: ['raft', 'node'] },
  config: { values: ['errors'], types: ['raft'] },
  api: { values: ['errors', 'telemetry'], types: ['node/contract.ts'] },
  client: { values: [], types: ['api', 'errors'] },
  cli: { values: ['client', 'config', 'errors', ...offline], types: ['api'] },
  main: { values: ['*'], types: [] },
}

/** Single values that cross where types alone may. */
const exceptions = [{ from: 'storage', to: 'src/raft/configuration.ts', names: ['decodeConfiguration'] }]

const filesWithFs = ['src/storage/node-disk.ts', 'src/storage/directory-lock.ts']

/** Imports the real world in order to bar it. */
const simulatorTrap = 'test/sim/world/trap.ts'

const impure =
  /(?<![.\w$])(?:Date|performance|setTimeout|setInterval|setImmediate|queueMicrotask|process|Promise|async|await|globalThis|console|crypto|fetch)\b(?!\??:)|\bMath\s*\.\s*random\b/g

/** `file` is the path from the root of the project, with slashes. */
export function checkFile(file: string, source: string): readonly Violation[] {
  const violations: Violation[] = []
  const add = (line: number, rule: string | null) => {
    if (rule !== null) violations.push({ file, line, rule })
  }
  for (const imported of readImports(source)) {
    const target = resolveTarget(file, imported.specifier)
    add(imported.line, checkEverywhere(file, imported, target))
    const room = roomOf(file)
    if (room !== null) add(imported.line, checkRoom(file, room, imported, target))
    if (file.startsWith('test/sim/') && file !== simulatorTrap) add(imported.line, checkSimulator(imported, target))
  }
  if (file.startsWith('src/raft/')) {
    for (const { line, text } of linesWith(source, impure))
      add(line, `raft/ is pure: ${text} is an input or work for others`)
  }
  if (file.startsWith('src/') && roomOf(file) !== 'config') {
    for (const { line } of linesWith(source, /\bprocess\s*\.\s*env\b/g)) add(line, 'config.ts alone reads process.env')
  }
  return violations
}

function checkEverywhere(file: string, { specifier }: Import, target: string | null): string | null {
  if (target === 'src/main.ts') return 'nobody imports main.ts'
  if (!file.startsWith('src/')) return null
  if (specifier === '?') return 'an import names its module by a literal'
  if (target !== null && !target.startsWith('src/')) return `src/ stands by itself: ${specifier} is outside of it`
  return null
}

function checkRoom(file: string, from: string, imported: Import, target: string | null): string | null {
  const { specifier, typeOnly, names } = imported
  if (target === null) {
    if (from === 'raft') return `raft/ is pure: it imports nothing from outside of it, such as ${specifier}`
    const fs = /^(?:node:)?fs(?:\/promises)?$/.test(specifier)
    if (from === 'storage' && fs && !filesWithFs.includes(file))
      return `storage/ reaches ${specifier} through Disk: ${filesWithFs.join(' and ')} alone import it`
    return null
  }
  const to = roomOf(target)
  if (to === null || to === from || target === 'src/main.ts') return null
  const room = rooms[from]
  if (room === undefined) return `${from} is no room of src/: add it to the table of scripts/check-imports/rules.ts`
  const covers = (each: string) => each === '*' || each === to || `src/${each}` === target
  if (room.values.some(covers)) return null
  const allowedAsType = room.types.some(covers)
  if (!allowedAsType) return `${from} may not import ${target.slice('src/'.length)}`
  if (typeOnly) return null
  const exception = exceptions.find((each) => each.from === from && each.to === target)
  if (exception !== undefined && names?.every((name) => exception.names.includes(name))) return null
  return `${from} may import only types from ${target.slice('src/'.length)}`
}

function checkSimulator({ specifier }: Import, target: string | null): string | null {
  const outside =
    /^(?:node:)?(?:fs|net|http|https|http2|tls|dgram|dns|child_process|worker_threads)(?:\/.*)?$|^undici$/.test(
      specifier,
    )
  if (outside || target === 'src/storage/node-disk.ts') return `test/sim supplies its own world: no ${specifier}`
  return null
}

/** The path from the root; null for packages and node: modules. */
function resolveTarget(file: string, specifier: string): string | null {
  return specifier.startsWith('.') ? posix.join(posix.dirname(file), specifier) : null
}

function roomOf(file: string): string | null {
  const [, folder, name] = /^src\/(?:([^/]+)\/.*|([^/]+)\.ts)$/.exec(file) ?? []
  if (name === undefined) return folder ?? null
  return name === 'config' || name === 'errors' ? name : 'main'
}
