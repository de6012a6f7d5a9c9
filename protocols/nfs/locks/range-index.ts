import { type ByteRange, overlap } from './byte-range.ts'

/** The number of items in a block, which are searched linearly. */
const BLOCK = 64
/** To remove more items than this, one pass goes over all items. */
const FEW = 32

interface Block<T> {
  /** By start. */
  items: T[]
  maxEnd: bigint
}

/** Ranges sorted by start, in blocks that record their largest end, so that finding overlaps does not visit all of them. */
export class RangeIndex<T extends ByteRange> {
  readonly #blocks: Block<T>[] = []
  #size = 0

  get size(): number {
    return this.#size
  }

  add(item: T): void {
    this.#size++
    const at = this.#blockFor(item.start)
    const block = this.#blocks[at]
    if (block === undefined) {
      this.#blocks.push({ items: [item], maxEnd: item.end })
      return
    }
    const { items } = block
    let place = items.length
    while (place > 0 && (items[place - 1] as T).start > item.start) place--
    items.splice(place, 0, item)
    if (item.end > block.maxEnd) block.maxEnd = item.end
    if (items.length > BLOCK) {
      const rest = items.splice(BLOCK / 2)
      block.maxEnd = endOf(items)
      this.#blocks.splice(at + 1, 0, { items: rest, maxEnd: endOf(rest) })
    }
  }

  /** Removes these items, which must be present. */
  remove(items: readonly T[]): void {
    if (items.length <= FEW) for (const item of items) this.#removeOne(item)
    else {
      const gone = new Set(items)
      this.keep((item) => !gone.has(item))
    }
  }

  /** Removes all items for which `wanted` is false. */
  keep(wanted: (item: T) => boolean): void {
    this.#size = 0
    let kept = 0
    for (const block of this.#blocks) {
      block.items = block.items.filter(wanted)
      if (block.items.length === 0) continue
      block.maxEnd = endOf(block.items)
      this.#size += block.items.length
      this.#blocks[kept++] = block
    }
    this.#blocks.length = kept
  }

  /** The items that overlap `range`, sorted by start. Do not add or remove items during the iteration. */
  *overlapping(range: ByteRange): Generator<T> {
    for (const { items, maxEnd } of this.#blocks) {
      if ((items[0] as T).start > range.end) return
      if (maxEnd < range.start) continue
      for (const item of items) if (overlap(item, range)) yield item
    }
  }

  *[Symbol.iterator](): Generator<T> {
    for (const { items } of this.#blocks) yield* items
  }

  /** The last block that starts at or before `start`; the first block if none does. */
  #blockFor(start: bigint): number {
    let low = 0
    let high = this.#blocks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (((this.#blocks[middle] as Block<T>).items[0] as T).start > start) high = middle
      else low = middle + 1
    }
    return Math.max(0, low - 1)
  }

  #removeOne(item: T): void {
    // Several items may have the same start and be in several blocks.
    for (let at = this.#blockFor(item.start); at >= 0; at--) {
      const block = this.#blocks[at] as Block<T>
      const place = block.items.indexOf(item)
      if (place < 0) continue
      this.#size--
      block.items.splice(place, 1)
      if (block.items.length === 0) this.#blocks.splice(at, 1)
      else if (item.end === block.maxEnd) block.maxEnd = endOf(block.items)
      return
    }
  }
}

function endOf(items: readonly ByteRange[]): bigint {
  let end = 0n
  for (const item of items) if (item.end > end) end = item.end
  return end
}
