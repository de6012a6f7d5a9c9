/** Up to this many entries are in one Map; more are split into parts. */
const WHOLE = 2048
/** A power of two. */
const PARTS = 128

/**
 * A Map for a hundred thousand entries and more. A growing V8 Map moves all its entries at once, which takes 25 ms for that many. This map consists
 * of 128 parts that grow separately. The entries are unordered.
 */
export class LargeMap<K extends string | number, V> {
  #whole = new Map<K, V>()
  #parts: readonly Map<K, V>[] | undefined
  #size = 0

  get size(): number {
    return this.#size
  }

  get(key: K): V | undefined {
    const parts = this.#parts
    return parts === undefined ? this.#whole.get(key) : this.#partOf(parts, key).get(key)
  }

  has(key: K): boolean {
    return this.#mapOf(key).has(key)
  }

  set(key: K, value: V): this {
    const map = this.#mapOf(key)
    const before = map.size
    map.set(key, value)
    if (map.size === before) return this
    this.#size++
    if (this.#size === WHOLE && this.#parts === undefined) this.#divide()
    return this
  }

  delete(key: K): boolean {
    const had = this.#mapOf(key).delete(key)
    if (had) this.#size--
    return had
  }

  clear(): void {
    this.#whole = new Map()
    this.#parts = undefined
    this.#size = 0
  }

  *keys(): Generator<K, undefined> {
    for (const map of this.#maps()) yield* map.keys()
  }

  *[Symbol.iterator](): Generator<[K, V], undefined> {
    for (const map of this.#maps()) yield* map
  }

  #maps(): readonly Map<K, V>[] {
    return this.#parts ?? [this.#whole]
  }

  #mapOf(key: K): Map<K, V> {
    const parts = this.#parts
    return parts === undefined ? this.#whole : this.#partOf(parts, key)
  }

  #partOf(parts: readonly Map<K, V>[], key: K): Map<K, V> {
    return parts[hash(key) & (PARTS - 1)] as Map<K, V>
  }

  #divide(): void {
    const parts = Array.from({ length: PARTS }, () => new Map<K, V>())
    for (const [key, value] of this.#whole) parts[hash(key) & (PARTS - 1)]?.set(key, value)
    this.#parts = parts
    this.#whole = new Map()
  }
}

/** A hash whose low bits are evenly distributed, whatever the keys have in common. */
function hash(key: string | number): number {
  if (typeof key === 'number') return Math.imul(key ^ (key / 2 ** 32), 0x9e3779b1) >>> 20
  let sum = key.length
  for (let i = 0; i < key.length; i++) sum = Math.imul(sum ^ key.charCodeAt(i), 0x01000193)
  return sum ^ (sum >>> 15)
}
