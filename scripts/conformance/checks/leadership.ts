// Who leads, told to the application: offered or not, never answered with anything that would be told again and again.

import type { Check } from '../check.ts'
import { Failure, Skip } from '../finding.ts'

const news = [
  { event: 'changed', leader: 'n2', term: 7, fencingToken: 7 },
  { event: 'acquired', leader: 'n1', term: 8, fencingToken: 8 },
  { event: 'lost', leader: null, term: 9, fencingToken: 9 },
  { event: 'changed', leader: 'n3', term: 9, fencingToken: 9 },
]

export const leadership: readonly Check[] = [
  {
    name: 'leadership',
    claim: 'it hears who leads, and when that is itself',
    async run({ subject }) {
      for (const message of news) {
        const { status } = await subject.hooks.leadership(message)
        if (status === 404 || status === 405 || status === 501) {
          throw new Skip('no leadership hook: it learns who leads by GET /v1/leader of its sidecar alone')
        }
        if (status < 200 || status > 299) {
          throw new Failure(
            `It answered ${status} to ${JSON.stringify(message)}: 204 would do, and 404 says that it does not want to know`,
          )
        }
      }
      return undefined
    },
  },
]
