// The loader hook of plant.mjs. It stands nearest to the file system, so that tsx compiles what it returns.

import { readFile } from 'node:fs/promises'
import { fileURLToPath } from 'node:url'

/** @type {{ file: string, find: string, replace: string }[]} */
let patches = []

/** @param {typeof patches} data */
export function initialize(data) {
  patches = data
}

/**
 * @param {string} url
 * @param {object} context
 * @param {(url: string, context: object) => Promise<object>} nextLoad
 */
export async function load(url, context, nextLoad) {
  const mine = url.startsWith('file:') ? patches.filter(({ file }) => new URL(url).pathname.endsWith(`/${file}`)) : []
  if (mine.length === 0) return nextLoad(url, context)
  let source = await readFile(fileURLToPath(url), 'utf8')
  for (const { file, find, replace } of mine) {
    const parts = source.split(find)
    if (parts.length !== 2)
      throw new Error(`Cannot plant a bug in ${file}: its anchor is found ${parts.length - 1} times, not once: ${find}`)
    source = parts.join(replace)
  }
  return { format: 'module', source, shortCircuit: true }
}
