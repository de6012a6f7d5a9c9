import type { FileType, Name } from '../api/types.ts'

/** A merged directory read from the layers, with entries sorted by cookie. */
export interface Listing {
  readonly entries: ListEntry[]
}

/** What a listing counts for in the limit of entries. An empty one takes memory too. */
export function entriesOf({ entries }: Listing): number {
  return Math.max(1, entries.length)
}

/** A name of a merged directory. */
export interface ListEntry {
  readonly name: Name
  readonly cookie: number
  readonly type: FileType
  /** Undefined if only a lookup can tell, because the object may have come from another layer. */
  readonly fileIdHi: number | undefined
  readonly fileIdLo: number
}

/** The index of the first entry with a cookie above `cookie`. */
export function firstAfter(listing: Listing, cookie: number): number {
  let low = 0
  let high = listing.entries.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((listing.entries[middle] as ListEntry).cookie > cookie) high = middle
    else low = middle + 1
  }
  return low
}

/**
 * The cookie of a name: 52 bits of a hash with a seed that lasts, between 2 and 2^52. It does not depend on the other names in the directory, on the
 * order of changes, or on the process.
 */
export function cookieOf(seed: Uint8Array, name: Name): number {
  let a =
    0x9747b28c ^
    ((seed[0] as number) << 24) ^
    ((seed[1] as number) << 16) ^
    ((seed[2] as number) << 8) ^
    (seed[3] as number)
  let b =
    0x1b873593 ^
    ((seed[4] as number) << 24) ^
    ((seed[5] as number) << 16) ^
    ((seed[6] as number) << 8) ^
    (seed[7] as number)
  for (let i = 0; i < name.length; i++) {
    const unit = name.charCodeAt(i)
    a = Math.imul(a ^ unit, 0x85ebca6b)
    b = Math.imul(b ^ unit, 0xc2b2ae35)
    a ^= b >>> 15
    b ^= a >>> 13
  }
  a = Math.imul(a ^ (a >>> 16), 0x85ebca6b)
  b = Math.imul(b ^ (b >>> 13), 0xc2b2ae35)
  a ^= b >>> 16
  return (a >>> 0) * 2 ** 20 + ((b >>> 0) % 2 ** 20) + 2
}
