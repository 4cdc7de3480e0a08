// A closed-loop load from one process: N keep-alive connections, each sends the next request when its answer has come.
// Run as: load.ts PORT CLIENTS SECONDS PATH. Prints one line of JSON. Plain sockets, so that the load costs less than what it measures.

import { connect, type Socket } from 'node:net'

const [port, clients, seconds, path] = [
  Number(process.argv[2]),
  Number(process.argv[3]),
  Number(process.argv[4]),
  process.argv[5] ?? '/v1/commands',
]
const commandBytes = 128

const latenciesMs: number[] = []
let measuring = false
let stopping = false
let failures = 0
let sent = 0

function request(): Buffer {
  sent += 1
  const head = `{"op":"set","key":"k${sent % 10_000}","value":"`
  const body = `${head}${'x'.repeat(commandBytes - head.length - 2)}"}`
  return Buffer.from(
    `POST ${path} HTTP/1.1\r\nhost: 127.0.0.1:${port}\r\ncontent-type: application/json\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
    'latin1',
  )
}

function client(): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, '127.0.0.1')
    let startedMs = 0
    let held: Buffer | null = null
    const send = () => {
      if (stopping) {
        socket.end()
        resolve()
        return
      }
      startedMs = performance.now()
      socket.write(request())
    }
    socket.setNoDelay(true)
    socket.once('connect', send)
    socket.on('error', reject)
    socket.on('data', (chunk: Buffer) => {
      const data: Buffer = held === null ? chunk : Buffer.concat([held, chunk])
      const headEnd = data.indexOf('\r\n\r\n')
      const lengthAt = headEnd < 0 ? -1 : data.indexOf('ontent-', 0, 'latin1')
      if (headEnd < 0 || lengthAt < 0) {
        held = data
        return
      }
      const head = data.toString('latin1', 0, headEnd)
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0)
      if (data.length < headEnd + 4 + length) {
        held = data
        return
      }
      held = null
      if (!head.startsWith('HTTP/1.1 200')) failures += 1
      else if (measuring) latenciesMs.push(performance.now() - startedMs)
      send()
    })
  })
}

const running = Promise.all(Array.from({ length: clients }, client))
// A fresh process is slow to accept connections and to compile: nothing of that belongs to the figures.
await pause(Math.max(1, seconds / 3))
measuring = true
const startedMs = performance.now()
await pause(seconds)
const elapsedMs = performance.now() - startedMs
measuring = false
stopping = true
await running
latenciesMs.sort((a, b) => a - b)
const at = (share: number) => latenciesMs[Math.min(latenciesMs.length - 1, Math.floor(latenciesMs.length * share))] ?? 0
console.log(
  JSON.stringify({
    perSecond: Math.round((latenciesMs.length / elapsedMs) * 1000),
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    failures,
  }),
)

function pause(s: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, s * 1000))
}
