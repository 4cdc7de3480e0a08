// Sizes as people write them: 65536, 64KiB, 16MiB, 1GiB.

const units: Readonly<Record<string, number>> = { '': 1, B: 1, KiB: 1024, MiB: 1024 ** 2, GiB: 1024 ** 3 }

/** Null for what is no size. */
export function parseSizeBytes(text: string): number | null {
  const [, digits, unit] = /^([0-9]{1,12})([A-Za-z]*)$/.exec(text) ?? []
  const factor = unit === undefined ? undefined : units[unit]
  return digits === undefined || factor === undefined ? null : Number(digits) * factor
}

export function formatSize(sizeBytes: number): string {
  for (const unit of ['GiB', 'MiB', 'KiB']) {
    const factor = units[unit] ?? 1
    if (sizeBytes >= factor && sizeBytes % factor === 0) return `${sizeBytes / factor}${unit}`
  }
  return String(sizeBytes)
}
