// A task queue without a database: its state is in memory, in order and safe on every node because the sidecar beside it keeps the log.
// node --import tsx main.ts --name a1 --port 8080 --sidecar http://127.0.0.1:4001 --folder . [--workers 4] [--lease-ms 5000]

import { parseArgs } from 'node:util'
import { createClient } from '../../../src/client/client.ts'
import { createService } from './service.ts'
import { work } from './worker.ts'

const option = (value: string) => ({ type: 'string', default: value }) as const
const place = { name: option('app'), port: option('8080'), sidecar: option('http://127.0.0.1:4001') }
const labour = { folder: option('.'), workers: option('4'), 'lease-ms': option('5000') }
const { values } = parseArgs({ options: { ...place, ...labour } })

const stop = new AbortController()
process.once('SIGTERM', () => stop.abort())
const sidecar = createClient({ url: values.sidecar, retryUnreachable: false })
const { http, queue } = createService(sidecar, process.env.APP_SECRET)
await http.listen({ host: '127.0.0.1', port: Number(values.port), signal: stop.signal })
for (let number = 1; number <= Number(values.workers); number++) {
  const worker = { name: `${values.name}.${number}`, folder: values.folder, leaseMs: Number(values['lease-ms']) }
  void work(worker, queue, sidecar, stop.signal)
}
