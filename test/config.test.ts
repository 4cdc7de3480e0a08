// The environment as people get it wrong: each bad variable has its exact line, and .env.example is held against the schema.

import assert from 'node:assert/strict'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { parseEnv } from 'node:util'
import { settings } from '../src/config/settings.ts'
import { loadClientConfig, loadConfig } from '../src/config.ts'
import { exitCodes, FatalError } from '../src/errors.ts'

type Variables = Readonly<Record<string, string | undefined>>

const good: Variables = { NODE_ID: 'n1', MEMBERS: 'n1=10.0.0.1:4000,n2=10.0.0.2:4000,n3=[fd00::3]:4000' }
const token = '0123456789abcdef'
const secret = `whsec_${Buffer.alloc(24, 'a').toString('base64')}`
const longSecret = `whsec_${Buffer.alloc(64, 'b').toString('base64')}`
let workingDirectory = ''

before(async () => {
  workingDirectory = await mkdtemp(join(tmpdir(), 'raft-sidecar-config-'))
})

after(async () => {
  await rm(workingDirectory, { recursive: true })
})

function load(variables: Variables) {
  return loadConfig({ ...good, ...variables }, { workingDirectory })
}

function refusal(attempt: () => unknown): string {
  try {
    attempt()
  } catch (error) {
    assert.ok(error instanceof FatalError, `not a FatalError: ${error}`)
    assert.equal(error.exitCode, exitCodes.configuration)
    assert.ok(!error.message.includes('\n'), 'the message takes one line')
    return error.message
  }
  assert.fail('nothing was refused')
}

async function inDirectory<T>(run: (directory: string) => Promise<T> | T): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-sidecar-config-'))
  try {
    return await run(directory)
  } finally {
    await rm(directory, { recursive: true })
  }
}

describe('a bad variable stops with a line that names it, its value and what would do', () => {
  const cases: readonly (readonly [Variables, string])[] = [
    [
      { NODE_ID: undefined },
      'NODE_ID is not set: give the id of this node: 1 to 64 letters, digits, dots, underscores or hyphens',
    ],
    [
      { NODE_ID: '' },
      'NODE_ID is not set: give the id of this node: 1 to 64 letters, digits, dots, underscores or hyphens',
    ],
    [
      { NODE_ID: 'n 1' },
      'NODE_ID="n 1" does not fit: give the id of this node: 1 to 64 letters, digits, dots, underscores or hyphens',
    ],
    [{ CLUSTER: 'a/b' }, 'CLUSTER="a/b" does not fit: give 1 to 64 letters, digits, dots, underscores or hyphens'],
    [{ MEMBERS: 'n1' }, 'MEMBERS="n1" holds "n1": write each member as id=host:port'],
    [{ MEMBERS: 'n1=10.0.0.1:4000,' }, 'MEMBERS="n1=10.0.0.1:4000," holds "": write each member as id=host:port'],
    [
      { MEMBERS: 'n1=10.0.0.1' },
      'MEMBERS="n1=10.0.0.1" gives n1 no usable address: write host:port, with IPv6 in brackets',
    ],
    [
      { MEMBERS: 'n1=fd00::1:4000' },
      'MEMBERS="n1=fd00::1:4000" gives n1 no usable address: write host:port, with IPv6 in brackets',
    ],
    [{ MEMBERS: 'n1=h:0' }, 'MEMBERS="n1=h:0" gives n1 no usable address: write host:port, with IPv6 in brackets'],
    [{ MEMBERS: 'n1=a:1,n1=b:1' }, 'MEMBERS="n1=a:1,n1=b:1" names n1 twice: give each member an id of its own'],
    [{ MEMBERS: 'n1=a:1,n2=a:1' }, 'MEMBERS="n1=a:1,n2=a:1" gives a:1 to two members: give each an address of its own'],
    [{ MEMBERS: 'n2=a:1' }, 'MEMBERS="n2=a:1" does not name this node: add n1, or correct NODE_ID'],
    [
      { MEMBERS: [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `n${n}=h${n}:1`).join() },
      'MEMBERS="n1=h1:1,n2=h2:1,n3=h3:1,n4=h4:1,n5=h5:1,n6=h6:1,n7=h7:1,n8=h8:1" names 8 members: give at most 7',
    ],
    [
      { MEMBERS: undefined },
      'PEER_LISTEN is not set, nor is MEMBERS that it would be taken from: give an address such as 0.0.0.0:4000 or [::]:4000',
    ],
    [{ PEER_LISTEN: '4000' }, 'PEER_LISTEN="4000" does not fit: give an address such as 0.0.0.0:4000 or [::]:4000'],
    [
      { PEER_LISTEN: '10.0.0.256:4000' },
      'PEER_LISTEN="10.0.0.256:4000" does not fit: give an address such as 0.0.0.0:4000 or [::]:4000',
    ],
    [
      { PEER_LISTEN: 'h:65536' },
      'PEER_LISTEN="h:65536" does not fit: give an address such as 0.0.0.0:4000 or [::]:4000',
    ],
    [
      { API_LISTEN: 'unix:relative' },
      'API_LISTEN="unix:relative" does not fit: give an address such as 127.0.0.1:4001, or unix:/path/of/socket',
    ],
    [
      { API_LISTEN: '0.0.0.0:4001' },
      'API_LISTEN="0.0.0.0:4001" is open to other machines: set API_TOKEN, or listen on 127.0.0.1',
    ],
    [
      { API_LISTEN: '[fd00::1]:4001' },
      'API_LISTEN="[fd00::1]:4001" is open to other machines: set API_TOKEN, or listen on 127.0.0.1',
    ],
    [
      { API_TOKEN: 'short' },
      'API_TOKEN (value not shown) does not fit: give 16 to 512 visible ASCII characters without spaces',
    ],
    [{ SNAPSHOT_THRESHOLD: '0' }, 'SNAPSHOT_THRESHOLD="0" does not fit: give a whole number from 1 to 1000000000'],
    [{ MAX_LOG_ENTRIES: '-1' }, 'MAX_LOG_ENTRIES="-1" does not fit: give a whole number from 0 to 1000000000'],
    [{ SNAPSHOT_SEND_RATE: '1KiB' }, 'SNAPSHOT_SEND_RATE="1KiB" does not fit: give a size from 64KiB to 64GiB'],
    [
      { DISK_RESERVE_BYTES: 'some' },
      'DISK_RESERVE_BYTES="some" does not fit: give a size such as 64MiB, or 0 for none',
    ],
    [{ STATUS_LISTEN: 'all' }, 'STATUS_LISTEN="all" does not fit: give an address such as 0.0.0.0:4002'],
    [{ APP_URL: 'ftp://h/x' }, 'APP_URL="ftp://h/x" does not fit: give a URL such as http://127.0.0.1:8080/raft'],
    [
      { APP_URL: 'http://me:secret@h/x' },
      'APP_URL="http://***@h/x" does not fit: give a URL such as http://127.0.0.1:8080/raft',
    ],
    ...[
      'plain',
      'whsec_',
      `whsec_${'A'.repeat(28)}`,
      `whsec_${'A'.repeat(92)}`,
      'whsec_AAAA',
      `${secret} ${secret} ${secret}`,
    ].map(
      (APP_SECRET) =>
        [
          { APP_SECRET },
          'APP_SECRET (value not shown) does not fit: give whsec_ and the base64 of 24 to 64 bytes; two of them, separated by a space, while one takes the place of the other',
        ] as const,
    ),
    ...['healthz', 'http://127.0.0.1/healthz', '//elsewhere/healthz', '/a b', '/a#b'].map(
      (APP_HEALTH) =>
        [
          { APP_URL: 'http://127.0.0.1:8080', APP_HEALTH },
          `APP_HEALTH="${APP_HEALTH}" does not fit: give a path on the application of APP_URL, such as /healthz`,
        ] as const,
    ),
    [{ APP_HEALTH: '/healthz' }, 'APP_HEALTH="/healthz" has no application to ask: set APP_URL, or unset it'],
    [
      { ADVERTISE_APP_URL: 'h:8080\nx' },
      'ADVERTISE_APP_URL="h:8080\\nx" does not fit: give a URL such as http://10.0.0.1:8080',
    ],
    [{ STATE_MACHINE: 'sql' }, 'STATE_MACHINE="sql" does not fit: give one of kv, app'],
    [{ STATE_MACHINE: 'app' }, 'STATE_MACHINE="app" has no application to feed: set APP_URL, or STATE_MACHINE=kv'],
    [
      { ELECTION_TIMEOUT_MIN_MS: '1s' },
      'ELECTION_TIMEOUT_MIN_MS="1s" does not fit: give a whole number of ms from 20 to 600000',
    ],
    [
      { ELECTION_TIMEOUT_MAX_MS: '1000' },
      'ELECTION_TIMEOUT_MAX_MS="1000" is not above ELECTION_TIMEOUT_MIN_MS=1000: give about twice as much',
    ],
    [
      { HEARTBEAT_INTERVAL_MS: '501' },
      'HEARTBEAT_INTERVAL_MS="501" is over half of ELECTION_TIMEOUT_MIN_MS=1000, so that one late heartbeat would start an election: give at most 500',
    ],
    [{ LEASE_READS: 'yes' }, 'LEASE_READS="yes" does not fit: give one of true, false'],
    [{ MAX_CLOCK_DRIFT_PPM: '0' }, 'MAX_CLOCK_DRIFT_PPM="0" does not fit: give a whole number from 1 to 100000'],
    [{ RPC_TIMEOUT_MS: '0' }, 'RPC_TIMEOUT_MS="0" does not fit: give a whole number of ms from 10 to 600000'],
    [{ SEGMENT_BYTES: '16MB' }, 'SEGMENT_BYTES="16MB" does not fit: give a size such as 65536, 64KiB, 16MiB or 1GiB'],
    [{ SEGMENT_BYTES: '4KiB' }, 'SEGMENT_BYTES="4KiB" does not fit: give a size from 64KiB to 1GiB'],
    [{ SEGMENT_BYTES: '1MiB' }, 'MAX_COMMAND_BYTES="1MiB" is over half of SEGMENT_BYTES=1MiB: give at most 512KiB'],
    [{ MAX_COMMAND_BYTES: '1GiB' }, 'MAX_COMMAND_BYTES="1GiB" does not fit: give a size from 128 to 16MiB'],
    [
      { MAX_PENDING_BYTES: '512KiB' },
      'MAX_PENDING_BYTES="512KiB" has no room for one command of MAX_COMMAND_BYTES=1MiB: give at least that',
    ],
    [{ MAX_PENDING_PROPOSALS: '-1' }, 'MAX_PENDING_PROPOSALS="-1" does not fit: give a whole number from 1 to 1000000'],
    [{ APPLY_BATCH_COMMANDS: '1.5' }, 'APPLY_BATCH_COMMANDS="1.5" does not fit: give a whole number from 1 to 100000'],
    [{ APPLY_BATCH_BYTES: '1GiB' }, 'APPLY_BATCH_BYTES="1GiB" does not fit: give a size from 1KiB to 64MiB'],
    [{ MAX_INFLIGHT_APPENDS: '257' }, 'MAX_INFLIGHT_APPENDS="257" does not fit: give a whole number from 1 to 256'],
    [{ APP_TIMEOUT_MS: 'never' }, 'APP_TIMEOUT_MS="never" does not fit: give a whole number of ms from 10 to 3600000'],
    [
      { LOG_LEVEL: 'verbose' },
      'LOG_LEVEL="verbose" does not fit: give one of trace, debug, info, warn, error, fatal, silent',
    ],
    [
      { NOTIFY_SOCKET: '/run/systemd/notify', WATCHDOG_USEC: '2000000' },
      'WATCHDOG_USEC="2000000" does not fit: set WatchdogSec= to 10s or more, or remove it',
    ],
    ...['TLS_CERT', 'TLS_KEY', 'TLS_KEY_FILE', 'TLS_CA'].map(
      (name) => [{ [name]: 'x' }, `${name} is set, but this version does not offer it: unset it`] as const,
    ),
  ]
  for (const [variables, line] of cases) {
    it(line, () => {
      assert.equal(
        refusal(() => load(variables)),
        line,
      )
    })
  }

  it('several bad variables share the line', () => {
    assert.equal(
      refusal(() => load({ LOG_LEVEL: 'x', STATE_MACHINE: 'y' })),
      'STATE_MACHINE="y" does not fit: give one of kv, app; LOG_LEVEL="x" does not fit: give one of trace, debug, info, warn, error, fatal, silent',
    )
  })

  it('a long value is cut short', () => {
    assert.match(
      refusal(() => load({ CLUSTER: 'x'.repeat(5000) })),
      /^CLUSTER="x{120}…" does not fit/,
    )
  })
})

describe('the defaults', () => {
  it('are those of the contract', () => {
    assert.deepEqual(load({}), {
      nodeId: 'n1',
      cluster: 'default',
      members: [
        { id: 'n1', peerAddress: '10.0.0.1:4000', role: 'voter' },
        { id: 'n2', peerAddress: '10.0.0.2:4000', role: 'voter' },
        { id: 'n3', peerAddress: '[fd00::3]:4000', role: 'voter' },
      ],
      peerListen: { host: '10.0.0.1', port: 4000 },
      dataDir: join(workingDirectory, 'data'),
      apiListen: { kind: 'tcp', host: '127.0.0.1', port: 4001 },
      apiToken: null,
      statusListen: null,
      appUrl: null,
      appSecrets: [],
      appHealth: null,
      advertiseAppUrl: null,
      stateMachine: 'kv',
      electionTimeoutMinMs: 1000,
      electionTimeoutMaxMs: 2000,
      heartbeatIntervalMs: 300,
      leaseReads: false,
      maxClockDriftPpm: 500,
      rpcTimeoutMs: 5000,
      segmentBytes: 16 * 1024 * 1024,
      snapshotThreshold: 5000,
      maxLogEntries: 10_000,
      snapshotSendBytesPerSecond: 64 * 1024 * 1024,
      diskReserveBytes: 64 * 1024 * 1024,
      maxCommandBytes: 1024 * 1024,
      maxPendingProposals: 20_000,
      maxPendingBytes: 64 * 1024 * 1024,
      maxIdempotencyKeys: 250_000,
      applyBatchCommands: 1000,
      applyBatchBytes: 1024 * 1024,
      maxInflightAppends: 1,
      appTimeoutMs: 30_000,
      logLevel: 'info',
      serviceManager: { notifySocket: null, watchdogMs: null },
    })
  })

  it('stand in .env.example, with every variable of the schema and nothing else', async () => {
    const example = parseEnv(await readFile(new URL('../.env.example', import.meta.url), 'utf8'))
    const expected = Object.entries<object>(settings.properties).map(([name, property]) => [
      name,
      'default' in property ? String(property.default) : '',
    ])
    assert.deepEqual({ ...example }, { ...Object.fromEntries(expected), API_TOKEN_FILE: '', APP_SECRET_FILE: '' })
  })

  it('are what a copied .env.example gives', async () => {
    const example = await readFile(new URL('../.env.example', import.meta.url), 'utf8')
    await inDirectory(async (directory) => {
      await writeFile(join(directory, '.env'), example)
      assert.deepEqual(
        loadConfig({ ...good, DATA_DIR: '/d' }, { workingDirectory: directory }),
        load({ DATA_DIR: '/d' }),
      )
    })
  })

  it('are frozen all the way down', () => {
    const config = load({})
    assert.ok(Object.isFrozen(config) && Object.isFrozen(config.apiListen) && Object.isFrozen(config.members?.[0]))
  })
})

describe('what is taken', () => {
  it('leases, when they are asked for', () => {
    assert.deepEqual(
      ['true', 'false'].map((value) => load({ LEASE_READS: value }).leaseReads),
      [true, false],
    )
  })

  it('a data directory from systemd, unless one is set', () => {
    assert.equal(load({ STATE_DIRECTORY: '/var/lib/raft-sidecar/n1' }).dataDir, '/var/lib/raft-sidecar/n1')
    assert.equal(load({ STATE_DIRECTORY: '/var/lib/x', DATA_DIR: '/srv/raft' }).dataDir, '/srv/raft')
    assert.equal(load({ DATA_DIR: 'here' }).dataDir, join(workingDirectory, 'here'))
  })

  it('a later start without MEMBERS, when PEER_LISTEN is set', () => {
    const config = load({ MEMBERS: undefined, PEER_LISTEN: '[::]:4000' })
    assert.equal(config.members, null)
    assert.deepEqual(config.peerListen, { host: '::', port: 4000 })
  })

  it('an API on a socket, or open to others behind a token', () => {
    assert.deepEqual(load({ API_LISTEN: 'unix:/run/raft.sock' }).apiListen, { kind: 'unix', path: '/run/raft.sock' })
    const open = load({ API_LISTEN: '0.0.0.0:4001', API_TOKEN: token })
    assert.equal(open.apiToken, token)
    assert.deepEqual(open.apiListen, { kind: 'tcp', host: '0.0.0.0', port: 4001 })
    assert.deepEqual(load({ API_LISTEN: '[::1]:0' }).apiListen, { kind: 'tcp', host: '::1', port: 0 })
  })

  it('a URL with and without a slash at its end', () => {
    assert.equal(load({ APP_URL: 'http://127.0.0.1:8080/raft/' }).appUrl, 'http://127.0.0.1:8080/raft')
    assert.equal(load({ APP_URL: 'http://127.0.0.1:8080', STATE_MACHINE: 'app' }).appUrl, 'http://127.0.0.1:8080')
  })

  it('one secret for the application, or two while one takes the place of the other', () => {
    assert.deepEqual(load({ APP_SECRET: secret }).appSecrets, [secret])
    for (const between of [' ', ',', ', '])
      assert.deepEqual(load({ APP_SECRET: `${longSecret}${between}${secret}` }).appSecrets, [longSecret, secret])
    for (const bytes of [24, 25, 26, 27, 62, 63, 64]) {
      const each = `whsec_${Buffer.alloc(bytes, 'c').toString('base64')}`
      assert.deepEqual(load({ APP_SECRET: each }).appSecrets, [each])
    }
    for (const bytes of [18, 23, 65, 66, 67]) {
      const each = `whsec_${Buffer.alloc(bytes, 'c').toString('base64')}`
      assert.match(
        refusal(() => load({ APP_SECRET: each })),
        /^APP_SECRET \(value not shown\) does not fit/,
      )
    }
  })

  it('a path where the application says whether it is healthy', () => {
    const APP_URL = 'http://127.0.0.1:8080/raft'
    assert.equal(load({ APP_URL }).appHealth, null)
    for (const APP_HEALTH of ['/', '/healthz', '/health/ready?deep=1'])
      assert.equal(load({ APP_URL, APP_HEALTH }).appHealth, APP_HEALTH)
  })

  it('a watchdog of this process, and not of another', () => {
    const watched = { NOTIFY_SOCKET: '@notify', WATCHDOG_USEC: '30000000' }
    assert.deepEqual(load(watched).serviceManager, { notifySocket: '@notify', watchdogMs: 30_000 })
    assert.equal(load({ ...watched, WATCHDOG_PID: '1' }).serviceManager.watchdogMs, null)
    assert.equal(load({ ...watched, WATCHDOG_PID: String(process.pid) }).serviceManager.watchdogMs, 30_000)
  })

  it('a .env file, which the environment overrides', async () => {
    await inDirectory(async (directory) => {
      await writeFile(join(directory, '.env'), 'CLUSTER=orders\nLOG_LEVEL=debug\nNOTIFY_SOCKET=/not/from/here\n')
      const config = loadConfig({ ...good, LOG_LEVEL: 'warn' }, { workingDirectory: directory })
      assert.deepEqual([config.cluster, config.logLevel, config.serviceManager.notifySocket], ['orders', 'warn', null])
    })
  })
})

describe('a secret', () => {
  it('comes from a file, from a credential, or from the variable', async () => {
    await inDirectory(async (directory) => {
      await writeFile(join(directory, 'token'), `${token}\n`)
      await writeFile(join(directory, 'API_TOKEN'), `${token}-credential`)
      assert.equal(load({ API_TOKEN_FILE: join(directory, 'token') }).apiToken, token)
      assert.equal(load({ CREDENTIALS_DIRECTORY: directory }).apiToken, `${token}-credential`)
      assert.equal(load({ CREDENTIALS_DIRECTORY: directory, API_TOKEN: token }).apiToken, token)
      assert.equal(load({ CREDENTIALS_DIRECTORY: join(directory, 'none') }).apiToken, null)
      await writeFile(join(directory, 'APP_SECRET'), `${secret} ${longSecret}\n`)
      assert.deepEqual(load({ CREDENTIALS_DIRECTORY: directory }).appSecrets, [secret, longSecret])
      assert.deepEqual(load({ APP_SECRET_FILE: join(directory, 'APP_SECRET') }).appSecrets, [secret, longSecret])
    })
  })

  it('is refused when it is given twice, or its file is missing, empty or too large', async () => {
    await inDirectory(async (directory) => {
      const path = (name: string) => join(directory, name)
      await writeFile(path('empty'), '\n')
      await writeFile(path('large'), 'x'.repeat(70_000))
      const hint = 'give the path of a file that holds the secret and that this user may read'
      const line = (name: string) =>
        refusal(() => loadConfig({ ...good, API_TOKEN_FILE: name }, { workingDirectory: directory }))
      assert.equal(line('absent'), `API_TOKEN_FILE="absent" cannot be read (ENOENT): ${hint}`)
      assert.equal(line('empty'), `API_TOKEN_FILE="empty" is empty: ${hint}`)
      assert.equal(line('large'), `API_TOKEN_FILE="large" is larger than 64 KiB: ${hint}`)
      assert.equal(
        refusal(() => load({ API_TOKEN: token, API_TOKEN_FILE: 'f' })),
        'API_TOKEN_FILE="f" is set beside API_TOKEN: keep one of them',
      )
    })
  })

  it('that does not fit is not printed, wherever it came from', async () => {
    await inDirectory(async (directory) => {
      await writeFile(join(directory, 'API_TOKEN'), 'has spaces in its middle')
      const line = refusal(() => load({ CREDENTIALS_DIRECTORY: directory }))
      assert.match(line, /^API_TOKEN \(value not shown\) does not fit/)
      assert.ok(!line.includes('spaces in its'))
    })
  })
})

describe('the settings of the command line', () => {
  const cases: readonly (readonly [Variables, string])[] = [
    [{}, 'http://127.0.0.1:4001'],
    [{ API_LISTEN: '0.0.0.0:5000' }, 'http://127.0.0.1:5000'],
    [{ API_LISTEN: '[::]:5000' }, 'http://[::1]:5000'],
    [{ API_LISTEN: 'unix:/run/raft.sock' }, 'unix:/run/raft.sock'],
  ]
  for (const [variables, api] of cases) {
    it(`${JSON.stringify(variables)} leads to ${api}`, () => {
      assert.deepEqual(loadClientConfig(variables, { workingDirectory }), { api, apiToken: null })
    })
  }

  it('need no NODE_ID, and take the same secrets', () => {
    assert.equal(loadClientConfig({ API_TOKEN: token }, { workingDirectory }).apiToken, token)
    assert.match(
      refusal(() => loadClientConfig({ API_LISTEN: 'nowhere' }, { workingDirectory })),
      /^API_LISTEN="nowhere" does not fit/,
    )
  })
})
