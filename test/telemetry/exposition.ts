// Reads the text that Prometheus scrapes, and finds what its conventions do not allow.

export interface Sample {
  readonly name: string
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface Family {
  readonly name: string
  readonly type: string
  readonly help: string
  readonly samples: readonly Sample[]
}

/** Throws on a line that is none, and on a sample without HELP and TYPE above it. */
export function parseExposition(text: string): readonly Family[] {
  const families: { name: string; type: string; help: string; samples: Sample[] }[] = []
  for (const line of text.split('\n').filter((each) => each !== '')) {
    const comment = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line)
    if (comment !== null) {
      const [, kind, name = '', rest = ''] = comment
      if (kind === 'HELP') families.push({ name, type: '', help: rest, samples: [] })
      const family = families.at(-1)
      if (kind === 'TYPE' && family?.name === name) family.type = rest
      else if (kind === 'TYPE') throw new Error(`TYPE without HELP: ${line}`)
      continue
    }
    const sample = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line)
    const family = families.at(-1)
    const [, name = '', labels = '', value = ''] = sample ?? []
    if (sample === null || family === undefined || !name.startsWith(family.name))
      throw new Error(`not a sample of its family: ${line}`)
    family.samples.push({
      name,
      labels: parseLabels(labels),
      value: value === '+Inf' ? Number.POSITIVE_INFINITY : Number(value),
    })
  }
  return families
}

/** What promtool would complain about, one sentence each. */
export function lint(families: readonly Family[]): readonly string[] {
  const complaints: string[] = []
  const names = new Set<string>()
  for (const { name, type, help, samples } of families) {
    if (names.has(name)) complaints.push(`${name} stands twice`)
    names.add(name)
    if (!/^[a-z][a-z0-9_]*$/.test(name)) complaints.push(`${name} is not in snake case`)
    if (help.trim() === '') complaints.push(`${name} has no help`)
    if (!['counter', 'gauge', 'histogram', 'summary'].includes(type)) complaints.push(`${name} has no type`)
    if ((type === 'counter') !== name.endsWith('_total'))
      complaints.push(`${name} is a ${type}: _total belongs to counters, and to all of them`)
    if (type === 'histogram' && !/_(seconds|bytes)$/.test(name)) complaints.push(`${name} ends with no base unit`)
    if (/_(ms|milliseconds|us|kb|mb|minutes)(_|$)/.test(name)) complaints.push(`${name} is not in a base unit`)
    if (/_(bucket|sum|count)$/.test(name)) complaints.push(`${name} ends as a part of a histogram does`)
    if (samples.some((sample) => Number.isNaN(sample.value))) complaints.push(`${name} has a value that is no number`)
    if (type === 'counter' && samples.some((sample) => sample.value < 0)) complaints.push(`${name} counts below zero`)
  }
  return complaints
}

function parseLabels(text: string): Record<string, string> {
  return Object.fromEntries(
    [...text.matchAll(/([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/g)].map(([, name = '', value = '']) => [
      name,
      value,
    ]),
  )
}
