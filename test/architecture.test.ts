// The purity of the core and the directions of imports, on the tree as it is and on small examples that break each rule.

import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { checkFile } from '../scripts/check-imports/rules.ts'
import { readImports } from '../scripts/check-imports/source.ts'
import { checkTree, formatViolation } from '../scripts/check-imports.ts'

describe('the tree', () => {
  it('keeps the architecture', () => {
    assert.deepEqual(checkTree().map(formatViolation), [])
  })
})

describe('a violation', () => {
  const cases: readonly (readonly [file: string, source: string, violation: string])[] = [
    [
      'src/raft/a.ts',
      "import assert from 'node:assert'",
      'raft/ is pure: it imports nothing from outside of it, such as node:assert',
    ],
    [
      'src/raft/a.ts',
      "import { x } from 'msgpackr'",
      'raft/ is pure: it imports nothing from outside of it, such as msgpackr',
    ],
    ['src/raft/a.ts', "import type { Node } from '../node/contract.ts'", 'raft may not import node/contract.ts'],
    ['src/raft/a.ts', 'const now = Date.now()', 'raft/ is pure: Date is an input or work for others'],
    ['src/raft/a.ts', 'const x = Math.random()', 'raft/ is pure: Math.random is an input or work for others'],
    ['src/raft/a.ts', 'setTimeout(f, 1)', 'raft/ is pure: setTimeout is an input or work for others'],
    [
      'src/raft/a.ts',
      'const x = `$' + '{performance.now()}`',
      'raft/ is pure: performance is an input or work for others',
    ],
    ['src/raft/a.ts', 'export async function f() {}', 'raft/ is pure: async is an input or work for others'],
    ['src/raft/a.ts', 'process.exit(1)', 'raft/ is pure: process is an input or work for others'],
    ['src/node/a.ts', "import { x } from '../storage/log.ts'", 'node may not import storage/log.ts'],
    ['src/node/a.ts', "import type { X } from '../storage/log.ts'", 'node may not import storage/log.ts'],
    [
      'src/storage/a.ts',
      "import { isCommand } from '../raft/entry.ts'",
      'storage may import only types from raft/entry.ts',
    ],
    [
      'src/storage/a.ts',
      "import { type Entry } from '../raft/entry.ts'",
      'storage may import only types from raft/entry.ts',
    ],
    [
      'src/storage/a.ts',
      "import { decodeConfiguration, quorum } from '../raft/configuration.ts'",
      'storage may import only types from raft/configuration.ts',
    ],
    [
      'src/peers/a.ts',
      "import { decodeConfiguration } from '../raft/configuration.ts'",
      'peers may import only types from raft/configuration.ts',
    ],
    ['src/storage/a.ts', "import type { Frame } from '../peers/frames.ts'", 'storage may not import peers/frames.ts'],
    ['src/storage/a.ts', "import type { Node } from '../node/contract.ts'", 'storage may not import node/contract.ts'],
    ['src/machine/a.ts', "export * from '../storage/log.ts'", 'machine may not import storage/log.ts'],
    ['src/machine/a.ts', "const x = await import('../peers/frames.ts')", 'machine may not import peers/frames.ts'],
    [
      'src/storage/segment.ts',
      "import { open } from 'node:fs/promises'",
      'storage/ reaches node:fs/promises through Disk: src/storage/node-disk.ts and src/storage/directory-lock.ts alone import it',
    ],
    ['src/api/a.ts', "import type { Clock } from '../node/ports.ts'", 'api may not import node/ports.ts'],
    ['src/api/a.ts', "import { x } from '../node/contract.ts'", 'api may import only types from node/contract.ts'],
    ['src/cli/a.ts', "import { x } from '../api/schemas.ts'", 'cli may import only types from api/schemas.ts'],
    ['src/cli/a.ts', "import { x } from '../storage/log.ts'", 'cli may not import storage/log.ts'],
    ['src/cli/a.ts', "import type { X } from '../storage/storage.ts'", 'cli may not import storage/storage.ts'],
    ['src/client/a.ts', "import { x } from '../errors.ts'", 'client may import only types from errors.ts'],
    ['src/config/a.ts', "import '../telemetry/logger.ts'", 'config may not import telemetry/logger.ts'],
    ['src/errors.ts', "import type { X } from './config.ts'", 'errors may not import config.ts'],
    [
      'src/cellar/a.ts',
      "import '../errors.ts'",
      'cellar is no room of src/: add it to the table of scripts/check-imports/rules.ts',
    ],
    ['src/cli/a.ts', 'const { env } = process; process.env.HOME', 'config.ts alone reads process.env'],
    [
      'src/api/a.ts',
      "import { x } from '../../test/helper.ts'",
      'src/ stands by itself: ../../test/helper.ts is outside of it',
    ],
    ['src/main.ts', 'const x = await import(name)', 'an import names its module by a literal'],
    ['test/a.test.ts', "import '../src/main.ts'", 'nobody imports main.ts'],
    ['src/cli/a.ts', "import { x } from '../main.ts'", 'nobody imports main.ts'],
    ['src/wiring.ts', "import { x } from './main.ts'", 'nobody imports main.ts'],
    ['src/api/a.ts', "import { x } from '../wiring.ts'", 'api may not import wiring.ts'],
    ['test/sim/a.ts', "import { readFileSync } from 'node:fs'", 'test/sim supplies its own world: no node:fs'],
    ['test/sim/a.ts', "import { Client } from 'undici'", 'test/sim supplies its own world: no undici'],
    [
      'test/sim/deep/a.ts',
      "import { x } from '../../../src/storage/node-disk.ts'",
      'test/sim supplies its own world: no ../../../src/storage/node-disk.ts',
    ],
  ]
  for (const [file, source, rule] of cases) {
    it(`${source} in ${file}: ${rule}`, () => {
      assert.deepEqual(checkFile(file, `// first line\n${source}\n`), [{ file, line: 2, rule }])
    })
  }
})

describe('what is allowed', () => {
  const cases: readonly (readonly [file: string, source: string])[] = [
    ['src/raft/a.ts', "import { quorum } from './configuration.ts'"],
    [
      'src/raft/a.ts',
      "// Date.now()\n/* import 'node:fs' */ const text = 'process' + `setTimeout`; x.process(); const y = { process: 1 }",
    ],
    [
      'src/node/a.ts',
      "import { Raft } from '../raft/raft.ts'\nimport { FatalError } from '../errors.ts'\nawait Promise.all([])",
    ],
    ['src/storage/a.ts', "import { decodeConfiguration, type Member } from '../raft/configuration.ts'"],
    [
      'src/storage/a.ts',
      "import type { Storage } from '../node/ports.ts'\nimport type { Entry } from '../raft/entry.ts'",
    ],
    ['src/storage/node-disk.ts', "import { open } from 'node:fs'"],
    ['src/machine/cursor.ts', "import { open } from 'node:fs/promises'"],
    ['src/cli/a.ts', "import { createClient } from '../client/client.ts'\nimport type { X } from '../api/schemas.ts'"],
    [
      'src/cli/a.ts',
      ['snapshot-file', 'inspect-directory', 'restore-directory', 'directory-lock', 'node-disk']
        .map((name) => `import { x } from '../storage/${name}.ts'`)
        .join('\n'),
    ],
    ['src/config/a.ts', 'const x = process.env'],
    ['src/main.ts', "import { x } from './storage/log.ts'\nimport { y } from './peers/frames.ts'"],
    ['src/main.ts', "import { x } from './wiring.ts'"],
    ['src/wiring.ts', "import { x } from './other-wiring.ts'\nimport { y } from './node/node.ts'"],
    ['src/config.ts', "import { x } from './config/address.ts'"],
    ['test/sim/a.ts', "import { x } from '../../src/storage/disk.ts'\nimport assert from 'node:assert/strict'"],
    ['test/sim/world/trap.ts', "import fs from 'node:fs'"],
    ['test/a.ts', "import { x } from '../src/storage/log.ts'\nprocess.env.HOME"],
  ]
  for (const [file, source] of cases) {
    it(`${source} in ${file}`, () => assert.deepEqual(checkFile(file, source), []))
  }
})

describe('the reading of imports', () => {
  const cases: readonly (readonly [source: string, read: string])[] = [
    ["import a from 'x'", 'x value *'],
    ["import * as a from 'x'", 'x value *'],
    ["import a, { b } from 'x'", 'x value *'],
    ["import { a, type B, c as d } from 'x'", 'x value a,c'],
    ["import {\n  a,\n  b,\n} from 'x'", 'x value a,b'],
    ["import type { A } from 'x'", 'x type A'],
    ["import type from 'x'", 'x value *'],
    ["import 'x'", 'x value *'],
    ["import('x')", 'x value *'],
    ["export { a } from 'x'", 'x value a'],
    ["export type { A } from 'x'", 'x type A'],
    ["export * from 'x'", 'x value *'],
    ['import { a } from "x"', 'x value a'],
    ["import { a /* from 'y' */ } from 'x'", 'x value a'],
    ["export interface A { b: string }\nimport { a } from 'x'", 'x value a'],
    ["const a = /['\"`]/\nimport { a } from 'x'", 'x value a'],
    ["const a = 1 / 2 // it's\nimport { a } from 'x'", 'x value a'],
    ["const a = `it's $" + '{b({ c: `$' + "{'}'}` })} `\nimport { a } from 'x'", 'x value a'],
    ['const a = "import { a } from \'x\'"', ''],
    ["// import { a } from 'x'", ''],
    ['const a = `import { b } from "x"`', ''],
    ['const a = import.meta.url', ''],
  ]
  for (const [source, read] of cases) {
    it(source, () => {
      const shown = readImports(source).map(
        (each) => `${each.specifier} ${each.typeOnly ? 'type' : 'value'} ${each.names?.join() ?? '*'}`,
      )
      assert.equal(shown.join('; '), read)
    })
  }
})
