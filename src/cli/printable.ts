// Text that came over the network, made harmless for a terminal: no control characters but the line break.

export function printable(text: string): string {
  return text.replace(/[^\P{Cc}\n]/gu, '\u{fffd}')
}
