// Node b in a process of its own, to be killed (`stay`) or to show that nothing keeps it alive after a close (`close`).

import { createTransport } from '../../src/peers/transport.ts'
import { decodeRecords } from '../../src/storage/record.ts'
import { identity, members, numbered, standing } from './peer-kit.ts'

const [mode, peerAddress = ''] = process.argv.slice(2)

const transport = createTransport({
  ...identity('b'),
  listen: { host: '127.0.0.1', port: 0 },
  decodeRecords,
  logger: { info: () => {}, warn: () => {} },
  random: () => 0.1,
})

await transport.start({
  standing: () => standing('b'),
  greeted: async () => null,
  disowned: () => {},
  received: () => {},
  peerUp: () => {
    transport.send(numbered(1, 'b', 'a'))
    if (mode === 'close') void transport.close()
  },
  peerDown: () => {},
})
// Nobody listens on port 1: there is always a peer that is being waited for.
transport.setMembers(members({ a: peerAddress, b: `127.0.0.1:${transport.port}`, c: '127.0.0.1:1' }))
console.log(`127.0.0.1:${transport.port}`)
