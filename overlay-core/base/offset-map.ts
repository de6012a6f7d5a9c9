/** Indexed by the upper eight bits of the hash. */
const PARTS = 256

/**
 * A hash table from keys (positive numbers) to offsets (positive numbers), each with a tag and a digest of 32 bits. Its parts grow at different times, so an
 * insertion never takes long, even with millions of entries.
 */
export class OffsetMap {
  /** Undefined until the first entry; parts without entries are missing. */
  #parts: (Part | undefined)[] | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The offset of `key`, or 0. */
  get(key: number): number {
    return this.#part(key)?.get(key) ?? 0
  }

  /** The tag of `key`, or 0. */
  tag(key: number): number {
    return this.#part(key)?.tag(key) ?? 0
  }

  /** The digest of `key`, or 0. */
  digest(key: number): number {
    return this.#part(key)?.digest(key) ?? 0
  }

  set(key: number, place: number, tag: number, digest = 0): void {
    const part = this.#part(key) ?? this.#newPart(key)
    this.#size -= part.size
    part.set(key, place, tag, digest)
    this.#size += part.size
  }

  delete(key: number): void {
    const part = this.#part(key)
    if (part === undefined) return
    this.#size -= part.size
    part.delete(key)
    this.#size += part.size
  }

  *keys(): IterableIterator<number> {
    for (const part of this.#parts ?? []) if (part !== undefined) yield* part.keys()
  }

  #part(key: number): Part | undefined {
    return this.#parts?.[hashOf(key) >>> 24]
  }

  #newPart(key: number): Part {
    const part = new Part()
    this.#parts ??= new Array(PARTS).fill(undefined)
    this.#parts[hashOf(key) >>> 24] = part
    return part
  }
}

/** A hash table with 24 bytes per slot, at most two thirds full. */
class Part {
  #keys = new Float64Array(16)
  #places = new Float64Array(16)
  #tags = new Uint32Array(16)
  #digests = new Uint32Array(16)
  #size = 0

  get size(): number {
    return this.#size
  }

  /** The offset of `key`, or 0. */
  get(key: number): number {
    return this.#places[this.#slot(key)] as number
  }

  tag(key: number): number {
    const slot = this.#slot(key)
    return this.#places[slot] === 0 ? 0 : (this.#tags[slot] as number)
  }

  digest(key: number): number {
    const slot = this.#slot(key)
    return this.#places[slot] === 0 ? 0 : (this.#digests[slot] as number)
  }

  set(key: number, place: number, tag: number, digest: number): void {
    const slot = this.#slot(key)
    if (this.#places[slot] === 0) this.#size++
    this.#keys[slot] = key
    this.#places[slot] = place
    this.#tags[slot] = tag
    this.#digests[slot] = digest
    if (this.#size * 3 > this.#keys.length * 2) this.#grow()
  }

  delete(key: number): void {
    let hole = this.#slot(key)
    if (this.#places[hole] === 0) return
    this.#size--
    const mask = this.#keys.length - 1
    // Closes the gap, so that no search ends early (linear probing, deletion by shifting back).
    for (let at = (hole + 1) & mask; this.#places[at] !== 0; at = (at + 1) & mask) {
      const home = hashOf(this.#keys[at] as number) & mask
      if (((at - home) & mask) < ((at - hole) & mask)) continue
      this.#keys[hole] = this.#keys[at] as number
      this.#places[hole] = this.#places[at] as number
      this.#tags[hole] = this.#tags[at] as number
      this.#digests[hole] = this.#digests[at] as number
      hole = at
    }
    this.#places[hole] = 0
  }

  *keys(): IterableIterator<number> {
    for (let i = 0; i < this.#keys.length; i++) if (this.#places[i] !== 0) yield this.#keys[i] as number
  }

  #slot(key: number): number {
    const mask = this.#keys.length - 1
    let at = hashOf(key) & mask
    while (this.#places[at] !== 0 && this.#keys[at] !== key) at = (at + 1) & mask
    return at
  }

  #grow(): void {
    const keys = this.#keys
    const places = this.#places
    const tags = this.#tags
    const digests = this.#digests
    this.#keys = new Float64Array(keys.length * 2)
    this.#places = new Float64Array(keys.length * 2)
    this.#tags = new Uint32Array(keys.length * 2)
    this.#digests = new Uint32Array(keys.length * 2)
    for (let i = 0; i < keys.length; i++) {
      if (places[i] === 0) continue
      const slot = this.#slot(keys[i] as number)
      this.#keys[slot] = keys[i] as number
      this.#places[slot] = places[i] as number
      this.#tags[slot] = tags[i] as number
      this.#digests[slot] = digests[i] as number
    }
  }
}

function hashOf(key: number): number {
  const low = key >>> 0
  const high = Math.floor(key / 2 ** 32)
  let hash = Math.imul(low ^ Math.imul(high, 0x9e3779b1), 0x85ebca6b)
  hash ^= hash >>> 15
  return Math.imul(hash, 0xc2b2ae35) ^ (hash >>> 13)
}
