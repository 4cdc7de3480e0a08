// What a source file imports, and its code without comments and text. A scanner of its own, because the compiler offers no stable one;
// it never takes what stands in a string or a comment for code.

export interface Import {
  readonly line: number
  readonly specifier: string
  /** Nothing of it is left at run time: `import type`, `export type`. */
  readonly typeOnly: boolean
  /** Names bound by value; null when it is all of the module, or its effects. */
  readonly names: readonly string[] | null
}

/** The source with comments blanked and, in `bare`, the inside of strings too. Same length and lines as the source. */
interface Blanked {
  readonly code: string
  readonly bare: string
}

const clause = String.raw`(?:\*(?:\s+as\s+[\w$]+)?|\{[^}]*\}|[\w$]+(?:\s*,\s*(?:\{[^}]*\}|\*\s+as\s+[\w$]+))?)`
const staticImport = new RegExp(
  String.raw`\b(?:import|export)(\s+type\b(?!\s*(?:,|from\b)))?\s*(${clause})\s*from\s*(['"])([^'"\n]+)\3`,
  'g',
)
const effectImport = /\bimport\s*(['"])([^'"\n]+)\1/g
const dynamicImport = /\bimport\s*\(\s*(?:(['"`])([^'"`\n$]+)\1)?/g

/** A dynamic import of something that is not a literal has the specifier `?`. */
export function readImports(source: string): readonly Import[] {
  const { code, bare } = blank(source)
  const found: { readonly at: number; readonly import: Import }[] = []
  const add = (at: number, rest: Omit<Import, 'line'>) => {
    // Blanked in `bare`: the keyword stands in a string.
    if (bare[at] !== ' ') found.push({ at, import: { line: lineAt(source, at), ...rest } })
  }
  for (const match of code.matchAll(staticImport)) {
    const [, type, bound = '', , specifier = ''] = match
    add(match.index, { specifier, typeOnly: type !== undefined, names: valueNames(bound) })
  }
  for (const match of code.matchAll(effectImport))
    add(match.index, { specifier: match[2] ?? '', typeOnly: false, names: null })
  for (const match of code.matchAll(dynamicImport))
    add(match.index, { specifier: match[2] ?? '?', typeOnly: false, names: null })
  return found.sort((a, b) => a.at - b.at).map((each) => each.import)
}

/** The lines on which the pattern (with the flag g) stands in code, not in comments or strings. */
export function linesWith(
  source: string,
  pattern: RegExp,
): readonly { readonly line: number; readonly text: string }[] {
  return [...blank(source).bare.matchAll(pattern)].map((match) => ({
    line: lineAt(source, match.index),
    text: match[0],
  }))
}

function valueNames(bound: string): readonly string[] | null {
  const named = /^\{([^}]*)\}$/.exec(bound)?.[1]
  if (named === undefined) return null
  const names = named.split(',').map((each) => each.trim())
  return names
    .filter((name) => name !== '' && !name.startsWith('type '))
    .map((name) => name.split(/\s+as\s+/)[0] ?? name)
}

function lineAt(source: string, at: number): number {
  return source.slice(0, at).split('\n').length
}

/** A slash begins a regular expression where no value can stand before it. */
const beforeRegex = /(?:^|[=(,:[!&|?{};+*%<>~^-]|\b(?:return|typeof|case|in|of))\s*$/
const regexLiteral = /\/(?![*/])(?:[^\\/[\n]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y
const stringLiteral = /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/y
const comment = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y

function blank(source: string): Blanked {
  let code = ''
  let bare = ''
  /** One number for each template literal that we are in: how many braces are open in its current `${}`; -1 in its text. */
  const templates: number[] = []
  let at = 0

  const take = (text: string, inCode: string, inBare: string) => {
    code += inCode
    bare += inBare
    at += text.length
  }
  const match = (pattern: RegExp): string | null => {
    pattern.lastIndex = at
    return pattern.exec(source)?.[0] ?? null
  }

  while (at < source.length) {
    const char = source.charAt(at)
    const depth = templates.at(-1) ?? 0
    if (depth === -1) {
      if (char === '\\') take(source.slice(at, at + 2), source.slice(at, at + 2), spaces(source.slice(at, at + 2)))
      else if (char === '`') {
        templates.pop()
        take(char, char, char)
      } else if (source.startsWith('${', at)) {
        templates[templates.length - 1] = 0
        take('${', '${', '${')
      } else take(char, char, spaces(char))
      continue
    }
    const skipped = match(comment)
    if (skipped !== null) {
      take(skipped, spaces(skipped), spaces(skipped))
      continue
    }
    const literal = match(stringLiteral) ?? (beforeRegex.test(bare.slice(-40)) ? match(regexLiteral) : null)
    if (literal !== null) {
      take(literal, literal, literal.charAt(0) + spaces(literal.slice(1, -1)) + literal.charAt(literal.length - 1))
      continue
    }
    if (char === '`') templates.push(-1)
    else if (templates.length > 0 && char === '{') templates[templates.length - 1] = depth + 1
    else if (templates.length > 0 && char === '}') templates[templates.length - 1] = depth - 1
    take(char, char, char)
  }
  return { code, bare }
}

function spaces(text: string): string {
  return text.replace(/[^\n]/g, ' ')
}
