// Each command against a sidecar that answers as it is told: what it asks, what it prints, and its exit code.

import assert from 'node:assert/strict'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import type { CliEnvironment } from '../../src/cli/environment.ts'
import { exitCodes, FatalError } from '../../src/errors.ts'
import { type Outcome, runAt } from './command-line.ts'
import { type Answers, type Request, startFakeSidecar } from './fake-sidecar.ts'
import { statusOf } from './status-fixture.ts'

const place = { index: 42, term: 3, timestamp: '2026-11-23T05:00:00.123Z' }
const item = { key: 'k', value: { a: [1] }, createdIndex: 40, modifiedIndex: 41 }
const leader = { id: 'n2', term: 3, self: false, appUrl: null, fencingToken: 3 }
let directory = ''

before(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-cli-'))
  await writeFile(join(directory, 'token'), 'from-the-file\n')
  await writeFile(join(directory, 'command'), Buffer.from([0, 255, 10]))
})

after(async () => {
  await rm(directory, { recursive: true })
})

interface Answered extends Outcome {
  readonly requests: readonly Request[]
}

async function run(
  args: readonly string[],
  answers: Answers,
  overrides: Partial<CliEnvironment> = {},
  socketPath?: string,
): Promise<Answered> {
  const sidecar = await startFakeSidecar(answers, socketPath)
  try {
    const { requests, url } = sidecar
    return { ...(await runAt(url, args, overrides)), requests }
  } finally {
    await sidecar.close()
  }
}

function always(status: number, body: unknown): Answers {
  return () => ({ status, body })
}

function problem(status: number, code: string, detail: string, more: object = {}): Answers {
  return always(status, { type: 'about:blank', title: 'x', status, code, detail, ...more })
}

describe('a command asks the API', () => {
  const applied = always(200, { ...place, result: { ok: true, existed: true } })
  const cases: readonly (readonly [readonly string[], Answers, Partial<Request>, string])[] = [
    [['leader'], always(200, leader), { method: 'GET', path: '/v1/leader' }, 'n2 leads in term 3\n'],
    [
      ['leader'],
      always(200, { ...leader, self: true, appUrl: 'http://h:1' }),
      { method: 'GET', path: '/v1/leader' },
      'n2 (this node) leads in term 3, its application is at http://h:1\n',
    ],
    [
      ['propose', '{"a": [1, "ü"]}'],
      applied,
      {
        method: 'POST',
        path: '/v1/commands',
        contentType: 'application/json',
        body: Buffer.from('{"a":[1,"ü"]}').toString('latin1'),
      },
      'Applied at index 42, term 3: {"ok":true,"existed":true}\n',
    ],
    [
      ['propose', 'null', '--wait', 'committed', '--timeout', '500ms'],
      always(202, place),
      { path: '/v1/commands', query: { wait: 'committed', timeout: '500ms' }, body: 'null' },
      'Committed at index 42, term 3\n',
    ],
    [['get', 'a/b c'], always(200, item), { method: 'GET', path: '/v1/kv/a%2Fb%20c' }, '{"a":[1]}\n'],
    [['get', 'k', '--local'], always(200, item), { query: { consistency: 'local', timeout: '5000ms' } }, '{"a":[1]}\n'],
    [
      ['get', 'k', '--timeout', '2s'],
      always(200, item),
      { query: { consistency: 'linearizable', timeout: '2000ms' } },
      '{"a":[1]}\n',
    ],
    [['set', 'k', '5'], applied, { method: 'PUT', path: '/v1/kv/k', body: '5' }, 'Set k at index 42, term 3\n'],
    [['set', 'k', '-5'], applied, { body: '-5' }, 'Set k at index 42, term 3\n'],
    [['set', 'k', 'five'], applied, { body: '"five"' }, 'Set k at index 42, term 3\n'],
    [['set', 'k', '"5"'], applied, { body: '"5"' }, 'Set k at index 42, term 3\n'],
    [['set', 'k', 'null'], applied, { body: 'null' }, 'Set k at index 42, term 3\n'],
    [['delete', 'k'], applied, { method: 'DELETE', path: '/v1/kv/k' }, 'Deleted k at index 42, term 3\n'],
  ]
  for (const [args, answers, request, printed] of cases) {
    it(`${args.join(' ')} prints ${printed.trim()}`, async () => {
      const outcome = await run(args, answers)
      assert.deepEqual([outcome.exitCode, outcome.stdout, outcome.stderr], [0, printed, ''])
      assert.equal(outcome.requests.length, 1)
      assert.deepEqual({ ...outcome.requests[0], ...request }, outcome.requests[0])
    })
  }

  it('status prints a screen', async () => {
    const { exitCode, stdout, requests } = await run(['status'], always(200, statusOf({ leader: null })))
    assert.deepEqual([exitCode, requests[0]?.path], [0, '/v1/status'])
    assert.match(stdout, /^Node {6}n1 of cluster orders, follower/)
    assert.match(stdout, /\nNo leader: 3 of 3 members reachable, 2 are needed; an election is due\.\n$/)
  })

  it('propose --bytes-file sends a file, or standard input, as it is', async () => {
    const file = await run(['propose', '--bytes-file', join(directory, 'command')], applied)
    const stdin = (async function* () {
      yield Buffer.from([0, 255])
      yield Buffer.from([10])
    })()
    const input = await run(['propose', '--bytes-file', '-'], applied, { stdin })
    for (const { exitCode, requests } of [file, input]) {
      assert.deepEqual(
        [exitCode, requests[0]?.contentType, requests[0]?.body],
        [0, 'application/octet-stream', '\0\xff\n'],
      )
    }
  })

  it('over a unix socket, by --api or from the settings', async () => {
    const socketPath = join(directory, 'api.sock')
    assert.equal((await run(['leader'], always(200, leader), {}, socketPath)).exitCode, 0)
    const clientConfig = () => ({ api: 'http://127.0.0.1:1', apiToken: null })
    assert.equal(
      (await run(['leader', '--api', `unix:${socketPath}`], always(200, leader), { clientConfig }, socketPath))
        .exitCode,
      0,
    )
  })

  it('with the token of the settings, or of --token-file', async () => {
    const sidecar = await startFakeSidecar(always(200, leader))
    try {
      const clientConfig = () => ({ api: sidecar.url, apiToken: 'from-the-settings' })
      await runAt(sidecar.url, ['leader'], { clientConfig })
      await runAt(sidecar.url, ['leader', '--token-file', join(directory, 'token')], { clientConfig })
      await runAt(sidecar.url, ['leader', '--token-file', join(directory, 'token'), '--api', sidecar.url], {
        clientConfig: () => assert.fail('the settings are not needed'),
      })
      const sent = sidecar.requests.map((request) => request.authorization)
      assert.deepEqual(sent, ['Bearer from-the-settings', 'Bearer from-the-file', 'Bearer from-the-file'])
    } finally {
      await sidecar.close()
    }
  })
})

describe('--json prints the answer of the API on one line', () => {
  const applied = { ...place, result: { ok: true } }
  const cases: readonly (readonly [readonly string[], unknown])[] = [
    [['status'], statusOf()],
    [['leader'], leader],
    [['propose', '1'], applied],
    [['propose', '1', '--wait', 'committed'], place],
    [['get', 'k'], item],
    [['set', 'k', '1'], applied],
    [['delete', 'k'], applied],
  ]
  for (const [args, body] of cases) {
    it(args.join(' '), async () => {
      const { exitCode, stdout, stderr } = await run([...args, '--json'], always(200, body))
      assert.deepEqual([exitCode, stdout, stderr], [0, `${JSON.stringify(body)}\n`, ''])
    })
  }

  it('and what went wrong on standard error', async () => {
    const answers = problem(504, 'apply-pending', 'It waits.', { outcome: 'committed', index: 42, term: 3 })
    const { exitCode, stdout, stderr } = await run(['set', 'k', '1', '--json'], answers)
    assert.deepEqual([exitCode, stdout], [6, ''])
    assert.deepEqual(JSON.parse(stderr), {
      error: {
        code: 'apply-pending',
        message: 'It waits; it is committed at index 42, term 3, and will be applied',
        outcome: 'committed',
        index: 42,
        term: 3,
      },
    })
  })
})

describe('what goes wrong has an exit code and one line', () => {
  const notApplied = { outcome: 'not_applied' }
  const cases: readonly (readonly [readonly string[], Answers, number, string])[] = [
    [['leader'], problem(503, 'no-leader', 'No leader.'), 1, 'No leader is known: `raft-sidecar status` says why'],
    [['set', 'k', '1'], problem(507, 'storage-full', 'The disk is full.', notApplied), 1, 'The disk is full'],
    [
      ['set', 'k', '1'],
      problem(401, 'unauthorized', 'Send the header.', notApplied),
      1,
      'Send the header; give the token by --token-file or API_TOKEN',
    ],
    [
      ['set', 'k', '1'],
      always(200, { ...place, result: { ok: false, code: 'condition-failed', error: 'The key must not exist' } }),
      1,
      'The key must not exist',
    ],
    [
      ['propose', '1'],
      problem(504, 'commit-timeout', 'Not committed in 5 s.', { outcome: 'unknown' }),
      3,
      'Not committed in 5 s; the command may yet be committed',
    ],
    [['get', 'k'], problem(404, 'key-not-found', 'No key.'), 4, 'There is no key "k"'],
    [['get', 'k'], problem(504, 'read-timeout', 'No majority answered.'), 1, 'No majority answered'],
    [['delete', 'k'], always(200, { ...place, result: { ok: true, existed: false } }), 4, 'There is no key "k"'],
    [
      ['propose', '1'],
      problem(504, 'apply-pending', 'It waits.', { outcome: 'committed', index: 42, term: 3 }),
      6,
      'It waits; it is committed at index 42, term 3, and will be applied',
    ],
  ]
  for (const [args, answers, exitCode, line] of cases) {
    it(`${args.join(' ')}: ${exitCode}, ${line}`, async () => {
      const outcome = await run(args, answers)
      assert.deepEqual([outcome.exitCode, outcome.stderr], [exitCode, `raft-sidecar: ${line}\n`])
    })
  }

  it('a sidecar that is not there: 5, whatever was asked', async () => {
    const { url, close } = await startFakeSidecar(() => null)
    await close()
    for (const args of [['status'], ['leader'], ['get', 'k'], ['set', 'k', '1']]) {
      const { exitCode, stderr } = await runAt(url, args)
      assert.equal(exitCode, 5)
      assert.match(
        stderr,
        new RegExp(`^raft-sidecar: Cannot reach the sidecar at ${url}: .*ECONNREFUSED.*; is it running, .*\\n$`),
      )
    }
  })

  it('a connection that breaks: 3 for a proposal, 5 for a read', async () => {
    const proposal = await run(['propose', '1'], () => null)
    assert.equal(proposal.exitCode, 3)
    assert.match(proposal.stderr, /; the command may yet be committed\n$/)
    assert.equal((await run(['get', 'k'], () => null)).exitCode, 5)
  })

  it('a setting that is wrong: 78', async () => {
    const clientConfig = () => {
      throw new FatalError(exitCodes.configuration, 'API_LISTEN="x" does not fit')
    }
    const { exitCode, stderr } = await runAt('', ['status'], { clientConfig })
    assert.deepEqual([exitCode, stderr], [78, 'raft-sidecar: API_LISTEN="x" does not fit\n'])
  })

  it('control characters in what the sidecar says do not reach the terminal', async () => {
    const { stderr } = await run(['set', 'k', '1'], problem(400, 'x', 'red \u001b[31m', notApplied))
    assert.equal(stderr, 'raft-sidecar: red \ufffd[31m\n')
  })
})

describe('a wrong command line ends with 2 and says what would do', () => {
  const cases: readonly (readonly [readonly string[], RegExp])[] = [
    [[], /^Usage: raft-sidecar/],
    [['sat'], /unknown command 'sat'/],
    [['get'], /missing required argument 'key'/],
    [['get', 'a', 'b'], /too many arguments/],
    [['get', 'a', '--timeout', '5'], /Give 100ms to 60s, such as 500ms or 5s\./],
    [['get', 'a', '--timeout', '90s'], /Give 100ms to 60s/],
    [['get', 'a', '--api', 'ftp://x'], /Give http:\/\/host:port or unix:\/path\./],
    [['get', 'a', '--api', 'http://x/path'], /Give http:\/\/host:port or unix:\/path\./],
    [['get', 'a', '--token-file', '/nowhere/token'], /^raft-sidecar: Cannot read \/nowhere\/token: ENOENT/],
    [['propose'], /^raft-sidecar: Give the command either as JSON or by --bytes-file\n$/],
    [['propose', '1', '--bytes-file', '-'], /^raft-sidecar: Give the command either as JSON or by --bytes-file\n$/],
    [
      ['propose', '{a:1}'],
      /^raft-sidecar: Not JSON: \{a:1\}; quote it for the shell, or send bytes by --bytes-file\n$/,
    ],
    [['propose', '1', '--wait', 'never'], /Allowed choices are applied, committed\./],
    [['propose', '--bytes-file', '/nowhere'], /^raft-sidecar: Cannot read \/nowhere: ENOENT/],
    [['propose', '--bytes-file', '/'], /^raft-sidecar: \/ is a directory: give a file\n$/],
    [
      ['set', 'k', '12345678901234567890'],
      /^raft-sidecar: The number 12345678901234567890 would be rounded on its way/,
    ],
    [['propose', '{"a":"1e999","b":1e999}'], /^raft-sidecar: The number 1e999 would be rounded/],
    [['run', 'now'], /too many arguments/],
  ]
  for (const [args, complaint] of cases) {
    it(`raft-sidecar ${args.join(' ')}`, async () => {
      const { exitCode, stdout, stderr } = await runAt('http://127.0.0.1:1', args)
      assert.deepEqual([exitCode, stdout], [2, ''])
      assert.match(stderr, complaint)
      assert.ok(!/\n\s+at /.test(stderr), 'no stack')
    })
  }
})

describe('run', () => {
  it('calls what it was given', async () => {
    let runs = 0
    const { exitCode } = await runAt('', ['run'], { run: async () => void runs++ })
    assert.deepEqual([exitCode, runs], [0, 1])
  })

  it('ends with the code of the failure', async () => {
    const failure = new FatalError(exitCodes.dataError, 'The log is damaged')
    const { exitCode, stderr } = await runAt('', ['run'], { run: () => Promise.reject(failure) })
    assert.deepEqual([exitCode, stderr], [65, 'raft-sidecar: The log is damaged\n'])
  })
})

describe('help and version', () => {
  it('lists the commands and the exit codes', async () => {
    const { exitCode, stdout, stderr } = await runAt('', ['--help'])
    assert.deepEqual([exitCode, stderr], [0, ''])
    for (const text of [
      'run',
      'status',
      'leader',
      'propose',
      'get',
      'set',
      'delete',
      'snapshot',
      'restore',
      'log',
      'Exit codes:',
      'damaged',
      'unknown outcome',
    ]) {
      assert.ok(stdout.includes(text), text)
    }
  })

  it('says how VALUE is taken', async () => {
    assert.match((await runAt('', ['set', '--help'])).stdout, /what is not JSON is taken as a string/)
  })

  it('prints the version', async () => {
    assert.equal((await runAt('', ['--version'])).stdout, '0.1.0\n')
  })
})
