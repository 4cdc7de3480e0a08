// How deep a JSON command may be nested. It goes to applications in any language, whose parsers give up at very different depths: one that passes
// here and breaks there would stop delivery to that application for ever.

export const maxDepth = 512

const quote = 0x22
const backslash = 0x5c

/** A sentence when arrays and objects stand deeper in one another than that; `json` is valid. */
export function whyTooDeep(json: Uint8Array): string | null {
  // Each level has two brackets.
  if (json.length < 2 * maxDepth) return null
  let depth = 0
  let isText = false
  for (let i = 0; i < json.length; i++) {
    const byte = json[i]
    if (isText) {
      if (byte === backslash) i++
      else if (byte === quote) isText = false
    } else if (byte === quote) isText = true
    else if (byte === 0x5b || byte === 0x7b) {
      if (++depth > maxDepth) return `The command holds arrays and objects nested more than ${maxDepth} deep.`
    } else if (byte === 0x5d || byte === 0x7d) depth--
  }
  return null
}
