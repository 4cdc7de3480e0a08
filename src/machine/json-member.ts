// Finds the bytes of one member's value in a JSON object, so that a value is kept as it was written: numbers past 2^53, 1e400
// and spacing survive. Only for text that JSON.parse has accepted as an object; like it, the last of several members of a name wins.

const quote = 0x22
const backslash = 0x5c
const colon = 0x3a
const comma = 0x2c
const openBracket = 0x5b
const closeBracket = 0x5d
const openBrace = 0x7b
const closeBrace = 0x7d

export interface MemberSpan {
  /** Offsets of the value in bytes, without the space around it. */
  readonly start: number
  readonly end: number
  /** How many arrays and objects the value nests; 0 for a string, a number, a literal. */
  readonly depth: number
}

/** Null when no member has the name. */
export function findMember(json: Buffer, name: string): MemberSpan | null {
  let span: MemberSpan | null = null
  let depth = 0
  let deepest = 0
  let expectsName = true
  let matches = false
  let valueStart = 0
  for (let i = 0; i < json.length; i++) {
    switch (json[i]) {
      case quote: {
        const end = endOfString(json, i)
        if (depth === 1 && expectsName) matches = isName(json, i, end, name)
        i = end - 1
        break
      }
      case openBrace:
      case openBracket:
        depth++
        if (depth > deepest) deepest = depth
        break
      case colon:
        if (depth !== 1) break
        expectsName = false
        deepest = 1
        valueStart = i + 1
        break
      case comma:
        if (depth !== 1) break
        if (matches) span = trimmed(json, valueStart, i, deepest - 1)
        expectsName = true
        break
      case closeBrace:
      case closeBracket:
        depth--
        if (depth === 0 && !expectsName && matches) span = trimmed(json, valueStart, i, deepest - 1)
        break
    }
  }
  return span
}

/** The offset past the closing quote. */
function endOfString(json: Buffer, start: number): number {
  let i = start + 1
  while (i < json.length && json[i] !== quote) i += json[i] === backslash ? 2 : 1
  return i + 1
}

function isName(json: Buffer, start: number, end: number, name: string): boolean {
  const text = json.toString('utf8', start, end)
  return text.includes('\\') ? JSON.parse(text) === name : text.length === name.length + 2 && text.startsWith(name, 1)
}

function trimmed(json: Buffer, from: number, to: number, depth: number): MemberSpan {
  let start = from
  let end = to
  while (isSpace(json[start])) start++
  while (isSpace(json[end - 1])) end--
  return { start, end, depth }
}

function isSpace(byte: number | undefined): boolean {
  return byte === 0x20 || byte === 0x0a || byte === 0x0d || byte === 0x09
}
