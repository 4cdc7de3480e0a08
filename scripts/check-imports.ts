// `node --import tsx scripts/check-imports.ts`: prints each import (or use of the outer world in the core) that the architecture does
// not allow, as file:line and the rule; exit code 1 when there is one.

import { readdirSync, readFileSync } from 'node:fs'
import { join, relative, sep } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { checkFile, type Violation } from './check-imports/rules.ts'

const root = fileURLToPath(new URL('..', import.meta.url))

export function checkTree(directory: string = root): readonly Violation[] {
  return ['src', 'test', 'scripts'].flatMap((folder) =>
    readdirSync(join(directory, folder), { recursive: true, withFileTypes: true })
      .filter((item) => item.isFile() && item.name.endsWith('.ts'))
      .map((item) => join(item.parentPath, item.name))
      .sort()
      .flatMap((path) => checkFile(relative(directory, path).split(sep).join('/'), readFileSync(path, 'utf8'))),
  )
}

export function formatViolation({ file, line, rule }: Violation): string {
  return `${file}:${line}: ${rule}`
}

if (process.argv[1] !== undefined && import.meta.url === pathToFileURL(process.argv[1]).href) {
  const violations = checkTree()
  for (const violation of violations) console.error(formatViolation(violation))
  process.exitCode = violations.length === 0 ? 0 : 1
}
