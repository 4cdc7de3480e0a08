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
import { member, statusOf } from './status-fixture.ts'

const place = { index: 42, term: 3, timestamp: '2026-11-23T05:00:00.123Z' }
const item = { key: 'k', value: { a: [1] }, createdIndex: 40, modifiedIndex: 41 }
const leader = { id: 'n2', term: 3, self: false, appUrl: null, fencingToken: 3 }
const quick = ['--timeout', '200ms']
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
    [
      ['propose', '1', '--key', 'order-7'],
      always(200, { ...place, result: null, duplicate: true }),
      { path: '/v1/commands', body: '1' },
      'Applied at index 42, term 3, when it was proposed under this key before: null\n',
    ],
    [
      ['transfer', 'n2'],
      always(200, { leader }),
      { method: 'POST', path: '/v1/leader/transfer', body: '{"to":"n2"}', query: { timeout: '10000ms' } },
      'n2 leads in term 3\n',
    ],
    [
      ['transfer', '--timeout', '1s'],
      always(200, { leader: { ...leader, self: true } }),
      { path: '/v1/leader/transfer', body: '{}', query: { timeout: '1000ms' } },
      'n2 (this node) leads in term 3\n',
    ],
    [
      ['members'],
      always(200, { members: [member('n1'), member('n2', { matchIndex: 7, lag: 0 })] }),
      { method: 'GET', path: '/v1/members' },
      `MEMBER  ROLE    ADDRESS          REACHABLE  MATCH  LAG
n1      voter   n1.example:4000  this node  -      -
n2      leader  n2.example:4000  yes        7      0
`,
    ],
    [
      ['skip', '41'],
      always(200, place),
      { method: 'POST', path: '/v1/commands/41/skip' },
      'Every node leaves the command at index 41 out: committed at index 42, term 3\n',
    ],
    [
      ['list', 'a/'],
      always(200, { items: [item, { ...item, key: 'l', value: 'ü' }], next: null }),
      { method: 'GET', path: '/v1/kv', query: { prefix: 'a/', consistency: 'linearizable', timeout: '5000ms' } },
      'k  {"a":[1]}\nl  "ü"\n',
    ],
    [
      ['list', '--local'],
      always(200, { items: [], next: null }),
      { path: '/v1/kv', query: { consistency: 'local', timeout: '5000ms' } },
      '',
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

  it('conditions and keys go as headers', async () => {
    const set = await run(['set', 'k', '1', '--if-match', '41'], applied)
    const create = await run(['set', 'k', '1', '--if-none-match'], applied)
    const remove = await run(['delete', 'k', '--if-match', '41'], applied)
    const keyed = await run(['propose', '1', '--key', 'order-7'], applied)
    const headers = [set, create, remove, keyed].map(({ exitCode, requests }) => {
      const [{ headers } = assert.fail()] = requests
      return [exitCode, headers['if-match'], headers['if-none-match'], headers['idempotency-key']?.length]
    })
    assert.deepEqual(headers, [
      [0, '"41"', undefined, 36],
      [0, undefined, '*', 36],
      [0, '"41"', undefined, 36],
      [0, undefined, undefined, 7],
    ])
  })

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

describe('watch', () => {
  const timestamp = place.timestamp
  const commands = [
    { index: 42, term: 3, timestamp, key: 'k', command: { a: [1] } },
    { index: 44, term: 3, timestamp, bytes: 'AP8=', skipped: true },
  ]
  const sent = commands.map((command) => `id: ${command.index}\ndata: ${JSON.stringify(command)}\n\n`).join('')
  // What is printed is followed by what ends the watch.
  const answers: () => Answers = () => {
    let streams = 0
    return ({ path }) => {
      if (path === '/v1/status') return { status: 200, body: statusOf({ commitIndex: 41 }) }
      if (streams++ > 0) return { status: 410, body: { code: 'compacted', detail: 'Gone.', firstIndex: 100 } }
      return (response) => response.writeHead(200, { 'content-type': 'text/event-stream' }).end(sent)
    }
  }

  it('prints what is committed from now on, and over a break; what is gone from the log ends it', async () => {
    const { exitCode, stdout, stderr, requests } = await run(['watch'], answers())
    assert.equal(stdout, `42  3  ${timestamp}  {"a":[1]}\n44  3  ${timestamp}  (left out) bytes AP8=\n`)
    assert.deepEqual([exitCode, stderr], [1, 'raft-sidecar: Gone; --after 99 begins with what this node still holds\n'])
    assert.deepEqual(
      requests.map(({ path, query }) => [path, query.after]),
      [
        ['/v1/status', undefined],
        ['/v1/commands', '41'],
        ['/v1/commands', '44'],
      ],
    )
  })

  it('--after says where to begin, and --json prints one line for each', async () => {
    const { stdout, requests } = await run(['watch', '--after', '0', '--json'], answers())
    assert.equal(requests[0]?.query.after, '0')
    const lines = stdout.split('\n')
    assert.deepEqual(
      lines.slice(0, 2).map((line) => JSON.parse(line)),
      [
        { index: 42, term: 3, timestamp, key: 'k', traceparent: null, skipped: false, command: { a: [1] } },
        { index: 44, term: 3, timestamp, key: null, traceparent: null, skipped: true, bytes: 'AP8=' },
      ],
    )
    assert.equal(lines[2], '')
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
    [['skip', '41'], place],
  ]
  for (const [args, body] of cases) {
    it(args.join(' '), async () => {
      const { exitCode, stdout, stderr } = await run([...args, '--json'], always(200, body))
      assert.deepEqual([exitCode, stdout, stderr], [0, `${JSON.stringify(body)}\n`, ''])
    })
  }

  it('transfer names the leader, members are a list, and list has a line for each item', async () => {
    const members = await run(['members', '--json'], always(200, { members: [member('n1')] }))
    assert.equal(members.stdout, `${JSON.stringify([member('n1')])}\n`)
    const transfer = await run(['transfer', '--json'], always(200, { leader }))
    assert.equal(transfer.stdout, `${JSON.stringify(leader)}\n`)
    const list = await run(['list', '--json'], always(200, { items: [item, item], next: null }))
    assert.equal(list.stdout, `${JSON.stringify(item)}\n`.repeat(2))
  })

  it('and what went wrong on standard error', async () => {
    const answers = problem(504, 'apply-pending', 'It waits.', { outcome: 'committed', index: 42, term: 3 })
    const { exitCode, stdout, stderr } = await run(['set', 'k', '1', '--json', ...quick], answers)
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
  const here = { outcome: 'committed', index: 42, term: 3 }
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
      always(200, { ...place, result: { ok: false, code: 'no-set', error: 'The key must not be set' } }),
      1,
      'The key must not be set',
    ],
    [
      ['set', 'k', '1'],
      always(200, { ...place, result: { ok: false, code: 'condition-failed', error: 'The key must not exist' } }),
      7,
      'The key must not exist',
    ],
    [
      ['set', 'k', '1', '--if-match', '3'],
      problem(412, 'condition-failed', 'Its version is 4.', { ...here, modifiedIndex: 4 }),
      7,
      'Its version is 4',
    ],
    [
      ['propose', '1'],
      problem(422, 'command-skipped', 'It was left out.', here),
      1,
      'It was left out; it is committed at index 42, term 3',
    ],
    [
      ['propose', '1'],
      problem(504, 'result-unknown', 'Nobody knows.', here),
      6,
      'Nobody knows; it is committed at index 42, term 3',
    ],
    [['skip', '3'], problem(409, 'not-poison', 'It is no poison.', notApplied), 1, 'It is no poison'],
    [['transfer', 'n9'], problem(422, 'unknown-member', 'There is no n9.'), 1, 'There is no n9'],
    [
      ['propose', '1', ...quick],
      problem(504, 'commit-timeout', 'Not committed in 5 s.', { outcome: 'unknown' }),
      3,
      'Not committed in 5 s; the command may yet be committed',
    ],
    [['get', 'k'], problem(404, 'key-not-found', 'No key.'), 4, 'There is no key "k"'],
    [['get', 'k', ...quick], problem(504, 'read-timeout', 'No majority answered.'), 1, 'No majority answered'],
    [['delete', 'k'], always(200, { ...place, result: { ok: true, existed: false } }), 4, 'There is no key "k"'],
    [
      ['propose', '1', ...quick],
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
    for (const args of [
      ['status'],
      ['leader'],
      ['get', 'k'],
      ['set', 'k', '1'],
      ['watch'],
      ['watch', '--after', '0'],
    ]) {
      const { exitCode, stderr } = await runAt(url, args)
      assert.equal(exitCode, 5)
      assert.match(
        stderr,
        new RegExp(`^raft-sidecar: Cannot reach the sidecar at ${url}: .*ECONNREFUSED.*; is it running, .*\\n$`),
      )
    }
  })

  it('a connection that breaks: 3 for a proposal, 5 for a read', async () => {
    const proposal = await run(['propose', '1', ...quick], () => null)
    assert.equal(proposal.exitCode, 3)
    assert.match(proposal.stderr, /; the command may yet be committed\n$/)
    assert.equal((await run(['get', 'k', ...quick], () => null)).exitCode, 5)
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
    [['set', 'k', '1', '--if-match', '3', '--if-none-match'], /Give either --if-match or --if-none-match\n$/],
    [['set', 'k', '1', '--if-match', 'x'], /Give the index of an entry, from 1 on\./],
    [['skip', '0'], /Give the index of an entry, from 1 on\./],
    [['watch', '--after', '-1'], /Give the index of an entry, or 0\./],
    [['propose', '1', '--key', 'a b'], /Give 1 to 255 visible ASCII characters\./],
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
      'transfer',
      'members',
      'watch',
      'skip',
      'list',
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
