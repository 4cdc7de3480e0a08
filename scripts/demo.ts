// npm run demo: three sidecars, three applications, the leader killed halfway; exit code 0 only when it is proved that nothing was lost. Usage: demo/options.ts.

import { Ending } from './demo/ending.ts'
import { readOptions } from './demo/options.ts'
import { Screen } from './demo/screen.ts'
import { tellStory } from './demo/story.ts'

const options = readOptions(process.argv.slice(2))
const screen = new Screen(process.stdout)
const ending = await Ending.prepare(screen)

try {
  await ending.leave((await tellStory(options, screen, ending)) ? 0 : 1)
} catch (error) {
  screen.say(`The demo failed: ${error instanceof Error ? error.message : String(error)}`)
  await ending.leave(1)
}
