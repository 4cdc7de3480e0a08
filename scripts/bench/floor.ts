// What a machine and Node allow at best, to hold the sidecar against in the same run: POST → group commit on three disks → answer, with no Raft, no
// routing, no state machine. Run as: floor.ts leader API_PORT FOLLOWER_PORT... | floor.ts follower PORT, with the file to write to in FLOOR_FILE.
// One process a disk, one write in flight on each, everything that arrived meanwhile goes into the next.

import { closeSync, fdatasync, fdatasyncSync, openSync, writeSync } from 'node:fs'
import { createServer as createHttpServer, type ServerResponse } from 'node:http'
import { connect, createServer, type Socket } from 'node:net'

const [mode, ...rest] = process.argv.slice(2)
const ports = rest.map(Number)
const file = openSync(process.env.FLOOR_FILE ?? 'floor.log', 'w')
const preallocatedBytes = 64 * 1024 * 1024
for (let at = 0; at < preallocatedBytes; at += 1024 * 1024)
  writeSync(file, Buffer.alloc(1024 * 1024), 0, 1024 * 1024, at)
fdatasyncSync(file)
process.on('exit', () => closeSync(file))
let position = 0

function save(bytes: Buffer, done: () => void): void {
  if (position + bytes.length > preallocatedBytes) position = 0
  writeSync(file, bytes, 0, bytes.length, position)
  position += bytes.length
  fdatasync(file, (error) => {
    if (error) throw error
    done()
  })
}

/** Length-prefixed frames. */
function onFrames(socket: Socket, onFrame: (frame: Buffer) => void): void {
  let held: Buffer = Buffer.alloc(0)
  socket.setNoDelay(true)
  socket.on('data', (chunk: Buffer) => {
    held = held.length === 0 ? chunk : Buffer.concat([held, chunk])
    while (held.length >= 4 && held.length >= 4 + held.readUInt32BE(0)) {
      const end = 4 + held.readUInt32BE(0)
      onFrame(held.subarray(4, end))
      held = held.subarray(end)
    }
  })
}

function framed(bytes: Buffer): Buffer {
  const head = Buffer.alloc(4)
  head.writeUInt32BE(bytes.length)
  return Buffer.concat([head, bytes])
}

function follower(port: number): void {
  createServer((socket) => {
    onFrames(socket, (frame) => save(frame, () => socket.write(framed(Buffer.from([1])))))
  }).listen(port, '127.0.0.1')
}

function leader(apiPort: number, followerPorts: readonly number[]): void {
  interface Request {
    readonly body: Buffer
    readonly response: ServerResponse
  }
  let pending: Request[] = []
  let inFlight: Request[] = []
  let votes = 0
  let index = 0
  const sockets = followerPorts.map((port) => {
    const socket = connect(port, '127.0.0.1')
    onFrames(socket, vote)
    return socket
  })
  let outstanding = 0

  function vote(): void {
    votes += 1
    outstanding -= 1
    if (votes === 2) {
      for (const { response } of inFlight) {
        index += 1
        const body = `{"index":${index},"term":1,"result":{"ok":true}}`
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': body.length }).end(body)
      }
      inFlight = []
    }
    if (votes >= 2 && outstanding === 0) next()
  }

  function next(): void {
    if (inFlight.length > 0 || outstanding > 0 || pending.length === 0) return
    inFlight = pending
    pending = []
    votes = 0
    outstanding = 1 + sockets.length
    const bytes = Buffer.concat(inFlight.map(({ body }) => body))
    for (const socket of sockets) socket.write(framed(bytes))
    save(bytes, vote)
  }

  createHttpServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      pending.push({ body: chunks.length === 1 ? (chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(chunks), response })
      if (pending.length === 1) setImmediate(next)
    })
  }).listen(apiPort, '127.0.0.1')
}

if (mode === 'follower') follower(ports[0] ?? 0)
else leader(ports[0] ?? 0, ports.slice(1))
