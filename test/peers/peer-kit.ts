// What the tests of this room share: a transport that remembers what it reported, a hand-driven peer, bounded waiting.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import type { PeerMessage, Run, SnapshotChunk, Standing, Transport, TransportEvents } from '../../src/node/ports.ts'
import type { Channel } from '../../src/peers/channel.ts'
import { type Frame, FrameParser, frameBytes } from '../../src/peers/frames.ts'
import { decodeGreeting, encodeHello, type Greeting, type Hello, type Identity } from '../../src/peers/handshake.ts'
import { unpackHeader } from '../../src/peers/header.ts'
import type { TransportOptions } from '../../src/peers/settings.ts'
import { createTransport, type TcpTransport } from '../../src/peers/transport.ts'
import type { Member } from '../../src/raft/configuration.ts'
import type { Entry } from '../../src/raft/entry.ts'
import { decodeRecords, encodeEntry } from '../../src/storage/record.ts'

const mebibyte = 1024 * 1024

export async function until(condition: () => boolean, what: string, timeoutMs = 10_000): Promise<void> {
  const end = performance.now() + timeoutMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`Waited ${timeoutMs} ms in vain: ${what}`)
    await delay(2)
  }
}

export class Recorder implements TransportEvents {
  readonly messages: PeerMessage[] = []
  readonly ups: string[] = []
  readonly downs: string[] = []
  /** Who has shown what, in order. */
  readonly greetings: { readonly id: string; readonly standing: Standing }[] = []
  /** Who has said what of this node, and stands where. */
  readonly accusations: { readonly by: string; readonly standing: Standing; readonly sentence: string }[] = []
  /** What the node shows of itself; what it says of others. */
  shown: Standing
  judge: (id: string, standing: Standing) => Promise<string | null> = async () => null
  onReceived: (message: PeerMessage) => void = () => {}

  constructor(shown: Standing = standing('x')) {
    this.shown = shown
  }

  standing(): Standing {
    return this.shown
  }

  greeted(id: string, standing: Standing): Promise<string | null> {
    this.greetings.push({ id, standing })
    return this.judge(id, standing)
  }

  disowned(by: string, standing: Standing, sentence: string): void {
    this.accusations.push({ by, standing, sentence })
  }

  received(message: PeerMessage): void {
    this.messages.push(message)
    this.onReceived(message)
  }

  peerUp(id: string): void {
    this.ups.push(id)
  }

  peerDown(id: string): void {
    this.downs.push(id)
  }
}

export function identity(id: string, overrides: Partial<Identity> = {}): Identity {
  return { id, cluster: 'test', appUrl: null, foundingDigest: null, ...overrides }
}

export function standing(id: string, overrides: Partial<Standing> = {}): Standing {
  return { incarnation: `${id}-1`, run: run(`run-of-${id}`), currentTerm: 0, lastIndex: 0, ...overrides }
}

/** The first one, unless there were others before it. */
export function run(id: string, ...former: readonly string[]): Run {
  return { number: former.length + 1, id, former }
}

export function hello(id: string, to: string, overrides: Partial<Hello> = {}): Hello {
  return { ...identity(id), to, channel: 'consensus', standing: standing(id), ...overrides }
}

export interface TestNode {
  readonly transport: TcpTransport
  readonly events: Recorder
  /** What it logged. */
  readonly lines: string[]
  readonly address: string
}

/** Everything begun here ends with `close`. */
export class Bench {
  readonly #transports: TcpTransport[] = []
  readonly #servers: Server[] = []
  readonly #sockets: Socket[] = []

  unstarted(id: string, overrides: Partial<TransportOptions> = {}): Omit<TestNode, 'address'> {
    const lines: string[] = []
    const log = (_fields: object, sentence: string) => lines.push(sentence)
    const transport = createTransport({
      ...identity(id),
      listen: { host: '127.0.0.1', port: 0 },
      decodeRecords,
      logger: { info: log, warn: log },
      random: () => 0.1,
      ...overrides,
    })
    this.#transports.push(transport)
    return { transport, events: new Recorder(standing(id)), lines }
  }

  async node(id: string, overrides: Partial<TransportOptions> = {}, reports?: TransportEvents): Promise<TestNode> {
    const node = this.unstarted(id, overrides)
    await node.transport.start(reports ?? node.events)
    return { ...node, address: `127.0.0.1:${node.transport.port}` }
  }

  /** Two nodes that know each other, with both links up. */
  async pair(overrides: Partial<TransportOptions> = {}): Promise<[TestNode, TestNode]> {
    const a = await this.node('a', overrides)
    const b = await this.node('b', overrides)
    a.transport.setMembers(members({ a: a.address, b: b.address }))
    b.transport.setMembers(members({ a: a.address, b: b.address }))
    await until(() => connected(a, 'b') && connected(b, 'a'), 'two nodes connect')
    return [a, b]
  }

  /** Stands before a node: its connections can be held up and cut. */
  async proxy(address: string): Promise<LinkProxy> {
    const links: ProxiedLink[] = []
    const own = await this.server((caller) => {
      const [host = '', port] = address.split(':')
      const callee = connect(Number(port), host)
      this.#sockets.push(callee)
      links.push(new ProxiedLink(caller, callee))
    })
    return { address: own, links }
  }

  /** A server that does what the test says with each connection. */
  async server(onSocket: (socket: Socket) => void): Promise<string> {
    const server = createServer((socket) => {
      this.#sockets.push(socket)
      socket.on('error', () => {})
      onSocket(socket)
    })
    this.#servers.push(server)
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    if (address === null || typeof address === 'string') throw new Error('No port')
    return `127.0.0.1:${address.port}`
  }

  async dial(address: string): Promise<Socket> {
    const [host = '', port] = address.split(':')
    const socket = connect(Number(port), host)
    this.#sockets.push(socket)
    socket.on('error', () => {})
    await new Promise<void>((resolve) => socket.once('connect', resolve))
    return socket
  }

  async close(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    for (const server of this.#servers) server.close()
    await Promise.all(this.#transports.map((transport) => transport.close()))
  }
}

export async function withBench(run: (bench: Bench) => Promise<void>): Promise<void> {
  const bench = new Bench()
  try {
    await run(bench)
  } finally {
    await bench.close()
  }
}

export function connected(node: TestNode, id: string): boolean {
  return node.transport.peers().some((peer) => peer.id === id && peer.connected)
}

export function members(addresses: Readonly<Record<string, string>>): Member[] {
  return Object.entries(addresses).map(([id, peerAddress]) => ({ id, peerAddress, role: 'voter' }))
}

/** Speaks the protocol by hand: collects what comes, says what it is told. */
export class HandPeer {
  readonly socket: Socket
  readonly greetings: Greeting[] = []
  /** What came after the greeting. */
  readonly frames: { readonly type: number; readonly header: Uint8Array; readonly body: Uint8Array }[] = []
  ended = false

  constructor(socket: Socket) {
    this.socket = socket
    const parser = new FrameParser(128 * mebibyte, (header, body) => {
      const fields = unpackHeader(header)
      if (fields.type < 2) this.greetings.push(decodeGreeting(fields, body))
      else this.frames.push({ type: fields.type, header: Uint8Array.from(header), body })
    })
    socket.on('data', (chunk) => parser.push(chunk))
    socket.on('close', () => {
      this.ended = true
    })
  }

  say(frame: Frame): void {
    this.socket.write(frameBytes(frame))
  }

  /** Calls, or answers by the words of a test. */
  hello(own: Identity, to: string, overrides: Partial<Hello> = {}): void {
    this.say(encodeHello(hello(own.id, to, { ...own, ...overrides })))
  }

  /** Answers whatever call comes, for the channel that it names. */
  answer(own: Identity, to: string, overrides: Partial<Hello> = {}): void {
    this.socket.once('data', () => {
      const [greeting] = this.greetings
      if (greeting?.type === 'hello') this.hello(own, to, { channel: greeting.hello.channel, ...overrides })
    })
  }
}

export interface LinkProxy {
  readonly address: string
  readonly links: readonly ProxiedLink[]
}

export class ProxiedLink {
  /** Null until the caller has said it. */
  channel: Channel | null = null
  ended = false
  readonly #caller: Socket
  readonly #callee: Socket

  constructor(caller: Socket, callee: Socket) {
    this.#caller = caller
    this.#callee = callee
    const parser = new FrameParser(mebibyte, (header, body) => {
      const greeting = decodeGreeting(unpackHeader(header), body)
      if (greeting.type === 'hello') this.channel = greeting.hello.channel
      parser.stop()
    })
    caller.on('data', (chunk) => parser.push(chunk))
    for (const [from, to] of [
      [caller, callee],
      [callee, caller],
    ] as const) {
      from.pipe(to)
      from.on('error', () => {})
      from.on('close', () => this.cut())
    }
  }

  /** Takes no more from the caller, until `release`. */
  hold(): void {
    this.#caller.unpipe(this.#callee)
    this.#caller.pause()
  }

  release(): void {
    this.#caller.pipe(this.#callee)
  }

  cut(): void {
    this.ended = true
    this.#caller.destroy()
    this.#callee.destroy()
  }
}

export function entry(index: number, term: number, payload: Uint8Array = new Uint8Array(0)): Entry {
  return encodeEntry({
    term,
    index,
    kind: 'bytes',
    timestampMs: 1_700_000_000_000,
    origin: 7,
    sequence: index,
    key: null,
    traceparent: null,
    payload,
  })
}

/** A message that is told from others by its number. */
export function numbered(n: number, from = 'a', to = 'b'): PeerMessage {
  return { type: 'ReadIndexRequest', from, to, term: 1, readId: n }
}

/** A chunk that is told from others by its offset. */
export function chunk(offset: number, bytes: Uint8Array, from = 'a', to = 'b'): SnapshotChunk {
  return { type: 'SnapshotChunk', from, to, term: 1, lastIncluded: { term: 1, index: 9 }, offset, bytes }
}

export function chunks(messages: readonly PeerMessage[]): readonly SnapshotChunk[] {
  return messages.filter((message) => message.type === 'SnapshotChunk')
}

/** What is sent before the link for it is up is lost, and sent again by whoever needs it. Nothing is under way when it resolves. */
export async function chunksArrive(a: { readonly transport: Transport }, b: Recorder): Promise<void> {
  const before = chunks(b.messages).length
  let probes = 0
  await until(() => {
    const arrived = chunks(b.messages).length > before
    if (!arrived) a.transport.send(chunk(++probes, Uint8Array.of(1)))
    return arrived
  }, 'the link for snapshots is up')
  await until(() => chunks(b.messages).at(-1)?.offset === probes, 'the last probe has arrived')
}

export function numbers(messages: readonly PeerMessage[]): number[] {
  return messages.map((message) => (message.type === 'ReadIndexRequest' ? message.readId : -1))
}
