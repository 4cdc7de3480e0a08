// The commonest command in its commonest form, `{"op":"set","key":"k","value":"v"}` in printable ASCII without escapes or spaces, recognised byte by
// byte: a quarter of the time that a JSON parser takes, on every node for every command. Anything else is null and goes the general way, which
// must come to the same result for these, too.

export interface PlainSet {
  readonly key: string
  readonly valueJson: string
}

const head = Buffer.from('{"op":"set","key":"')
const middle = Buffer.from('","value":"')
const quote = 0x22
const backslash = 0x5c
const space = 0x20
const tilde = 0x7e
const closeBrace = 0x7d

/** The key is not empty and has at most `maxKeyBytes`. */
export function parsePlainSet(bytes: Buffer, maxKeyBytes: number): PlainSet | null {
  const last = bytes.length - 1
  if (last < head.length + middle.length || bytes[last] !== closeBrace || bytes[last - 1] !== quote) return null
  if (!standsAt(bytes, 0, head)) return null
  const keyEnd = plainEnd(bytes, head.length)
  if (keyEnd === head.length || keyEnd - head.length > maxKeyBytes || !standsAt(bytes, keyEnd, middle)) return null
  const valueStart = keyEnd + middle.length
  if (plainEnd(bytes, valueStart) !== last - 1) return null
  return {
    key: bytes.toString('latin1', head.length, keyEnd),
    valueJson: bytes.toString('latin1', valueStart - 1, last),
  }
}

/** Where the first byte stands that ends a string or needs a closer look. */
function plainEnd(bytes: Buffer, from: number): number {
  let at = from
  for (; at < bytes.length; at++) {
    const byte = bytes[at] as number
    if (byte === quote || byte === backslash || byte < space || byte > tilde) break
  }
  return at
}

function standsAt(bytes: Buffer, offset: number, text: Buffer): boolean {
  if (offset + text.length > bytes.length) return false
  for (let i = 0; i < text.length; i++) if (bytes[offset + i] !== text[i]) return false
  return true
}
