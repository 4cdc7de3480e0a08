// npm run sim: the production code under seeded histories of faults. See test/sim/.

import { main } from './sim/cli.ts'

process.exitCode = await main(process.argv.slice(2))
