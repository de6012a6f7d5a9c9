/** A part of a file: first and last byte, inclusive. */
export interface ByteRange {
  readonly first: number
  readonly last: number
}

/**
 * Parses a Range field (RFC 9110 section 14.2) for a file of `size` bytes.
 *
 * @returns the satisfiable ranges in the requested order; an empty list if there is none (416); undefined if the field must be
 * ignored: another unit, malformed, more than `maxRanges` ranges, or more bytes in total than the file has
 */
export function parseRange(field: string, size: number, maxRanges: number): ByteRange[] | undefined {
  const list = /^\s*bytes\s*=(.*)$/i.exec(field)?.[1]
  if (list === undefined) return undefined
  const specs = list.split(',', maxRanges * 2 + 1)
  const ranges: ByteRange[] = []
  let asked = 0
  let total = 0
  for (const spec of specs) {
    if (spec.trim() === '') continue
    asked++
    if (asked > maxRanges) return undefined
    const range = parseSpec(spec, size)
    if (range === undefined) return undefined
    if (range === 'unsatisfiable') continue
    ranges.push(range)
    total += range.last - range.first + 1
  }
  if (asked === 0 || total > size) return undefined
  return ranges
}

function parseSpec(spec: string, size: number): ByteRange | 'unsatisfiable' | undefined {
  const found = /^\s*(\d{0,15})-(\d{0,15})\s*$/.exec(spec)
  if (found === null || (found[1] === '' && found[2] === '')) return undefined
  if (found[1] === '') {
    const suffix = Math.min(Number(found[2]), size)
    return suffix === 0 ? 'unsatisfiable' : { first: size - suffix, last: size - 1 }
  }
  const first = Number(found[1])
  const last = found[2] === '' ? size - 1 : Number(found[2])
  if (found[2] !== '' && last < first) return undefined
  return first >= size ? 'unsatisfiable' : { first, last: Math.min(last, size - 1) }
}
