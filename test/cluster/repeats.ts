// What was acknowledged under idempotency keys, and what every node has to answer when it is proposed again.

import assert from 'node:assert/strict'
import type { Applied, Client } from '../../src/client/client.ts'

interface Acknowledged {
  readonly key: string
  readonly command: unknown
  readonly answer: Applied
}

export class KeyedProposals {
  readonly acknowledged: Acknowledged[] = []
  readonly #commandOf: (number: number) => unknown

  constructor(commandOf: (number: number) => unknown) {
    this.#commandOf = commandOf
  }

  /** So many more, by turns through these nodes. */
  async propose(count: number, clients: readonly Client[]): Promise<void> {
    const first = this.acknowledged.length
    const numbers = Array.from({ length: count }, (_, at) => first + at)
    this.acknowledged.push(
      ...(await Promise.all(
        numbers.map(async (number) => {
          const client = clients[number % clients.length]
          assert(client !== undefined)
          const [key, command] = [`key-${number}`, this.#commandOf(number)]
          const answer = await client.propose(command, { key })
          assert.equal(answer.duplicate, undefined, `${key} was new`)
          return { key, command, answer }
        }),
      )),
    )
  }

  /** Each node answers all of them as they were answered at first. */
  async areAnsweredBy(clients: readonly Client[]): Promise<void> {
    const wanted = this.acknowledged.map(({ key, answer }) => ({ key, ...answer, duplicate: true }))
    for (const client of clients) {
      const answers = await Promise.all(
        this.acknowledged.map(async ({ key, command }) => ({ key, ...(await client.propose(command, { key })) })),
      )
      assert.deepEqual(answers, wanted)
    }
  }
}
