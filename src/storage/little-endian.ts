// Unsigned 32 and 48-bit little-endian numbers, read and written without the range checks and calls of Buffer's own
// methods, which cost several times as much on the hot path. 48 bits are exact in a JavaScript number.

export const maxU48 = 0xffff_ffff_ffff

export function isU48(value: number): boolean {
  return value >= 0 && value <= maxU48 && Math.floor(value) === value
}

export function writeU48(bytes: Uint8Array, offset: number, value: number): void {
  const low = value >>> 0
  const high = (value - low) / 0x1_0000_0000
  bytes[offset] = low
  bytes[offset + 1] = low >>> 8
  bytes[offset + 2] = low >>> 16
  bytes[offset + 3] = low >>> 24
  bytes[offset + 4] = high
  bytes[offset + 5] = high >>> 8
}

export function readU48(bytes: Uint8Array, offset: number): number {
  const high = byteAt(bytes, offset + 4) | (byteAt(bytes, offset + 5) << 8)
  return high * 0x1_0000_0000 + readU32(bytes, offset)
}

export function writeU32(bytes: Uint8Array, offset: number, value: number): void {
  bytes[offset] = value
  bytes[offset + 1] = value >>> 8
  bytes[offset + 2] = value >>> 16
  bytes[offset + 3] = value >>> 24
}

export function readU32(bytes: Uint8Array, offset: number): number {
  return (
    (byteAt(bytes, offset) |
      (byteAt(bytes, offset + 1) << 8) |
      (byteAt(bytes, offset + 2) << 16) |
      (byteAt(bytes, offset + 3) << 24)) >>>
    0
  )
}

// Callers have compared the length with what they read; past the end there is no byte, and 0 would hide that.
function byteAt(bytes: Uint8Array, offset: number): number {
  return bytes[offset] as number
}
