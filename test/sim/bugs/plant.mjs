// Given to `node --import`, before tsx: changes the source text of one production file as it is loaded, by the patches in PLANTED_BUG. The files
// themselves stay as they are. Plain JavaScript, since it runs before anything could strip types from it.

import { register } from 'node:module'

register('./plant-hooks.mjs', import.meta.url, { data: JSON.parse(process.env.PLANTED_BUG ?? '[]') })
