// A task queue without a database: its state is in memory, in order and safe on every node because the sidecar beside it keeps the log.
// node --import tsx main.ts --name a1 --port 8080 --sidecar http://127.0.0.1:4001 --folder . [--workers 4] [--lease-ms 5000]

import { parseArgs } from 'node:util'
import { Replica } from './replica.ts'
import { createServer } from './server.ts'
import { Sidecar } from './sidecar.ts'
import { work } from './worker.ts'

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'app' },
    port: { type: 'string', default: '8080' },
    sidecar: { type: 'string', default: 'http://127.0.0.1:4001' },
    folder: { type: 'string', default: '.' },
    workers: { type: 'string', default: '4' },
    'lease-ms': { type: 'string', default: '5000' },
  },
})
const replica = new Replica()
const sidecar = new Sidecar(values.sidecar)
const server = createServer(replica, sidecar)
await server.listen({ host: '127.0.0.1', port: Number(values.port) })

const stop = new AbortController()
process.once('SIGTERM', () => {
  stop.abort()
  void server.close()
})
for (let number = 1; number <= Number(values.workers); number++) {
  const worker = { name: `${values.name}.${number}`, folder: values.folder, leaseMs: Number(values['lease-ms']) }
  void work(worker, replica, sidecar, stop.signal)
}
