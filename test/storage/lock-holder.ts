// A process of its own that locks the directory it is given, says how that went, and holds on until it is ended.

import { FatalError } from '../../src/errors.ts'
import { lockDirectory } from '../../src/storage/directory-lock.ts'

const directory = process.argv[2] as string
try {
  await lockDirectory(directory, () => process.stdout.write('compromised\n'))
  process.stdout.write('locked\n')
  setInterval(() => {}, 1_000_000)
} catch (error) {
  process.stdout.write(
    error instanceof FatalError ? `refused ${error.exitCode} ${error.message}\n` : `failed ${error}\n`,
  )
}
