// A process of an application whose state survives it, for the tests with real processes.
// node --import tsx main.ts --name n1 --port 8080 --sidecar http://127.0.0.1:4001 --journal FILE [--apply-delay-ms 0]

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import { parseArgs } from 'node:util'
import { type Answer, type Delivery, Hooks, type LeadershipEvent } from './hooks.ts'
import { type Effect, Journal, type Write } from './journal.ts'
import { Writes } from './writes.ts'

/** GET /state */
export interface ApplicationState {
  readonly position: number
  readonly effects: readonly Effect[]
  readonly deliveries: readonly Delivery[]
  readonly leadership: readonly LeadershipEvent[]
  readonly fencingTokens: readonly number[]
  readonly restores: number
}

const { values } = parseArgs({
  options: {
    name: { type: 'string', default: 'app' },
    port: { type: 'string', default: '8080' },
    sidecar: { type: 'string', default: 'http://127.0.0.1:4001' },
    journal: { type: 'string', default: 'journal' },
    'apply-delay-ms': { type: 'string', default: '0' },
  },
})
const journal = new Journal(values.journal)
const hooks = new Hooks(journal, Number(values['apply-delay-ms']))
const writes = new Writes(values.name, values.sidecar)

async function answer(request: IncomingMessage): Promise<Answer> {
  const chunks: Buffer[] = []
  for await (const chunk of request) chunks.push(chunk as Buffer)
  const body = Buffer.concat(chunks)
  const key = request.headers['idempotency-key']
  switch (`${request.method} ${request.url}`) {
    case 'GET /state': {
      const { position, restores, effects } = journal
      const { deliveries, leadership } = hooks
      const { fencingTokens } = writes
      const state: ApplicationState = { position, effects, deliveries, leadership, fencingTokens, restores }
      return { status: 200, body: state }
    }
    case 'POST /writes':
      return await writes.propose(String(key), JSON.parse(body.toString()) as Write)
    case 'POST /routed-writes':
      return await writes.route(String(key), JSON.parse(body.toString()) as Write, 'passed-on' in request.headers)
    default:
      return await hooks.answer(request, body)
  }
}

function send(response: ServerResponse, { status, body, headers }: Answer): void {
  response.writeHead(status, { 'content-type': 'application/json', ...headers })
  response.end(body === undefined ? '' : JSON.stringify(body))
}

createServer((request, response) => {
  answer(request).then(
    (given) => send(response, given),
    (error) => send(response, { status: 500, body: { detail: String(error) } }),
  )
}).listen(Number(values.port), '127.0.0.1')
