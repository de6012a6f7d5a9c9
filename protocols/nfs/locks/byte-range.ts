/** The last byte that a lock can cover: offsets are unsigned 64-bit numbers, and a lock "to the end" covers all of them. */
export const LAST_BYTE = 0xffff_ffff_ffff_ffffn

/** Bytes `start` to `end`, inclusive. */
export interface ByteRange {
  readonly start: bigint
  readonly end: bigint
}

export const EVERYTHING: ByteRange = { start: 0n, end: LAST_BYTE }

/** The range of `length` bytes from `offset`, with 0 for "to the end"; undefined if it exceeds the last byte. */
export function byteRange(offset: bigint, length: bigint): ByteRange | undefined {
  if (length === 0n) return { start: offset, end: LAST_BYTE }
  const end = offset + length - 1n
  return end > LAST_BYTE ? undefined : { start: offset, end }
}

/** The length on the wire: 0 for a range to the end. */
export function lengthOf({ start, end }: ByteRange): bigint {
  return end === LAST_BYTE ? 0n : end - start + 1n
}

export function overlap(a: ByteRange, b: ByteRange): boolean {
  return a.start <= b.end && b.start <= a.end
}
