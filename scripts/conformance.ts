// npm run conformance -- http://127.0.0.1:8080/raft: is this application one that a sidecar can keep consistent? Usage: conformance/options.ts.

import { main } from './conformance/main.ts'

process.exitCode = await main(process.argv.slice(2))
