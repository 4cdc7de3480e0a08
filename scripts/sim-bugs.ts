// npm run sim:bugs: planted bugs, and how many seeds the simulator needs to catch each. See test/sim/bugs/.

import { main } from './sim/bugs-cli.ts'

process.exitCode = await main(process.argv.slice(2))
