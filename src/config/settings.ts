// Every variable that this version reads, with its default and, in `description`, what would do: the sentence that a bad value is answered
// with. `.env.example` is held against this list by a test.

import { type Static, Type } from 'typebox'

const size = '^[1-9][0-9]{0,11}(B|KiB|MiB|GiB)?$'

/** 24 to 64 bytes, the last group filled up. */
const secret = 'whsec_(?:(?:[A-Za-z0-9+/]{4}){8,21}(?:[A-Za-z0-9+/]{2}==)?|(?:[A-Za-z0-9+/]{4}){8,20}[A-Za-z0-9+/]{3}=)'

function milliseconds(minimum: number, maximum: number, byDefault: number) {
  return Type.Integer({
    minimum,
    maximum,
    default: byDefault,
    description: `a whole number of ms from ${minimum} to ${maximum}`,
  })
}

function count(minimum: number, maximum: number, byDefault: number) {
  return Type.Integer({
    minimum,
    maximum,
    default: byDefault,
    description: `a whole number from ${minimum} to ${maximum}`,
  })
}

function sizeBytes(byDefault: string) {
  return Type.String({ pattern: size, default: byDefault, description: 'a size such as 65536, 64KiB, 16MiB or 1GiB' })
}

function choice<const T extends string>(values: readonly T[], byDefault: NoInfer<T>) {
  return Type.Unsafe<T>({
    type: 'string',
    enum: values,
    default: byDefault,
    description: `one of ${values.join(', ')}`,
  })
}

function text(description: string) {
  return Type.Optional(Type.String({ minLength: 1, maxLength: 4096, description }))
}

export const settings = Type.Object({
  NODE_ID: Type.String({
    pattern: '^[A-Za-z0-9._-]{1,64}$',
    description: 'the id of this node: 1 to 64 letters, digits, dots, underscores or hyphens',
  }),
  CLUSTER: Type.String({
    pattern: '^[A-Za-z0-9._-]{1,64}$',
    default: 'default',
    description: '1 to 64 letters, digits, dots, underscores or hyphens',
  }),
  MEMBERS: text('the members, such as n1=10.0.0.1:4000,n2=10.0.0.2:4000,n3=10.0.0.3:4000'),
  PEER_LISTEN: text('an address such as 0.0.0.0:4000 or [::]:4000'),
  DATA_DIR: text('the path of a directory'),
  API_LISTEN: Type.String({
    minLength: 1,
    maxLength: 4096,
    default: '127.0.0.1:4001',
    description: 'an address such as 127.0.0.1:4001, or unix:/path/of/socket',
  }),
  API_TOKEN: Type.Optional(
    Type.String({
      pattern: '^[\\x21-\\x7e]{16,512}$',
      description: '16 to 512 visible ASCII characters without spaces',
    }),
  ),
  STATUS_LISTEN: text('an address such as 0.0.0.0:4002'),
  APP_URL: text('a URL such as http://127.0.0.1:8080/raft'),
  APP_SECRET: Type.Optional(
    Type.String({
      maxLength: 4096,
      pattern: `^${secret}(?:[ ,]+${secret})?$`,
      description:
        'whsec_ and the base64 of 24 to 64 bytes; two of them, separated by a space, while one takes the place of the other',
    }),
  ),
  APP_HEALTH: Type.Optional(
    Type.String({
      maxLength: 4096,
      pattern: "^/(?!/)[A-Za-z0-9/._~!$&'()*+,;=:@%?-]*$",
      description: 'a path on the application of APP_URL, such as /healthz',
    }),
  ),
  ADVERTISE_APP_URL: text('a URL such as http://10.0.0.1:8080'),
  STATE_MACHINE: choice(['kv', 'app'], 'kv'),
  ELECTION_TIMEOUT_MIN_MS: milliseconds(20, 600_000, 1000),
  ELECTION_TIMEOUT_MAX_MS: milliseconds(20, 600_000, 2000),
  HEARTBEAT_INTERVAL_MS: milliseconds(5, 300_000, 300),
  LEASE_READS: choice(['true', 'false'], 'false'),
  MAX_CLOCK_DRIFT_PPM: count(1, 100_000, 500),
  RPC_TIMEOUT_MS: milliseconds(10, 600_000, 5000),
  SEGMENT_BYTES: sizeBytes('16MiB'),
  SNAPSHOT_THRESHOLD: count(1, 1_000_000_000, 5000),
  MAX_LOG_ENTRIES: count(0, 1_000_000_000, 10_000),
  SNAPSHOT_SEND_RATE: sizeBytes('64MiB'),
  DISK_RESERVE_BYTES: Type.String({
    pattern: `^0$|${size}`,
    default: '64MiB',
    description: 'a size such as 64MiB, or 0 for none',
  }),
  MAX_COMMAND_BYTES: sizeBytes('1MiB'),
  MAX_PENDING_PROPOSALS: count(1, 1_000_000, 20_000),
  MAX_PENDING_BYTES: sizeBytes('64MiB'),
  MAX_IDEMPOTENCY_KEYS: count(1, 10_000_000, 250_000),
  APPLY_BATCH_COMMANDS: count(1, 100_000, 1000),
  APPLY_BATCH_BYTES: sizeBytes('1MiB'),
  MAX_INFLIGHT_APPENDS: count(1, 256, 1),
  APP_TIMEOUT_MS: milliseconds(10, 3_600_000, 30_000),
  LOG_LEVEL: choice(['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'], 'info'),
})

export type Settings = Static<typeof settings>
export type SettingName = keyof Settings

/** What would do, to end a message with. */
export function wanted(name: string): string {
  const properties: Readonly<Record<string, object>> = settings.properties
  const property = properties[name] ?? {}
  return `give ${'description' in property ? property.description : 'another value'}`
}

/** May also be given as NAME_FILE, or be found as a file of that name under $CREDENTIALS_DIRECTORY; never printed. */
export const secretNames: readonly SettingName[] = ['API_TOKEN', 'APP_SECRET']

/**
 * Named in the contract, but not offered by this version. Whoever sets one counts on what it does (encryption, signatures, a bounded
 * disk), so it is refused instead of ignored.
 */
export const laterNames: readonly string[] = ['TLS_CERT', 'TLS_KEY', 'TLS_CA']
