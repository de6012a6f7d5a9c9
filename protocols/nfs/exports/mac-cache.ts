const WORDS = 4
/** view (high, low) · generation · four words of the MAC. */
const ENTRY_WORDS = 3 + WORDS

/**
 * A cache of recent MACs by view, key and generation: a direct-mapped table in flat memory, which takes a
 * fixed number of bytes whatever clients do, and nothing per object. On a collision the MAC is computed again.
 */
export class MacCache {
  readonly #mask: number
  /** -1 for a free slot. */
  readonly #keys: Float64Array
  readonly #words: Uint32Array

  /** `places` is the number of slots of 36 bytes each, a power of two. */
  constructor(places: number) {
    if (places < 1 || (places & (places - 1)) !== 0) throw new RangeError('the number of slots must be a power of two')
    this.#mask = places - 1
    this.#keys = new Float64Array(places).fill(-1)
    this.#words = new Uint32Array(places * ENTRY_WORDS)
  }

  /** Whether the MAC of this handle is cached; if so, it is written `into` four words. */
  get(viewHi: number, view: number, key: number, generation: number, into: Uint32Array): boolean {
    const place = this.#placeOf(view, key)
    const words = this.#words
    const at = place * ENTRY_WORDS
    if (this.#keys[place] !== key || words[at] !== viewHi >>> 0 || words[at + 1] !== view >>> 0) return false
    if (words[at + 2] !== generation >>> 0) return false
    for (let i = 0; i < WORDS; i++) into[i] = words[at + 3 + i]!
    return true
  }

  set(viewHi: number, view: number, key: number, generation: number, mac: Uint32Array): void {
    const place = this.#placeOf(view, key)
    const at = place * ENTRY_WORDS
    this.#keys[place] = key
    this.#words[at] = viewHi
    this.#words[at + 1] = view
    this.#words[at + 2] = generation
    this.#words.set(mac, at + 3)
  }

  #placeOf(view: number, key: number): number {
    const mixed = Math.imul((key >>> 0) ^ Math.imul(Math.floor(key / 0x1_0000_0000), 0x85ebca6b) ^ view, 0x9e3779b1)
    return (mixed ^ (mixed >>> 15)) & this.#mask
  }
}
