/** Bits per word of the state; JavaScript's bit operations work on 32 bits. */
const WORD_BITS = 32
/** No compared value is longer than a name of 255 bytes, so a pattern that requires more characters never matches. */
const MOST_CHARACTERS = 255

/**
 * Matches a LIKE pattern (RFC 5323 section 5.14: `%` any characters, `_` one, `\` escapes the next one). It tracks all positions of the pattern at once, 32 per
 * word, so that the cost per character does not depend on the pattern, which comes from a client.
 */
export class LikePattern {
  /** The number of words in the state, which is the cost per character of the text. */
  readonly words: number
  /** Bit i: the pattern matches up to its i-th character. */
  readonly #state: Int32Array
  /** Bit i: any number of characters may follow there (`%`). */
  readonly #stays: Int32Array
  /** Bit i: the i-th character matches any (`_`). */
  readonly #any: Int32Array
  /** By character: bit i says that the i-th pattern character matches it. */
  readonly #masks = new Map<string, Int32Array>()
  readonly #length: number
  readonly #impossible: boolean

  constructor(pattern: string) {
    const { characters, stays } = parse(pattern)
    this.#length = characters.length
    this.#impossible = characters.length > MOST_CHARACTERS
    this.words = this.#impossible ? 1 : Math.floor(characters.length / WORD_BITS) + 1
    this.#state = new Int32Array(this.words)
    this.#stays = new Int32Array(this.words)
    this.#any = new Int32Array(this.words)
    if (this.#impossible) return
    for (const at of stays) setBit(this.#stays, at)
    for (const [i, character] of characters.entries()) if (character === undefined) setBit(this.#any, i + 1)
    for (const [i, character] of characters.entries()) {
      if (character === undefined) continue
      const mask = this.#masks.get(character) ?? Int32Array.from(this.#any)
      this.#masks.set(character, mask)
      setBit(mask, i + 1)
    }
  }

  /** Whether the whole `text` matches the pattern. */
  matches(text: string): boolean {
    if (this.#impossible) return false
    const state = this.#state
    const stays = this.#stays
    state.fill(0)
    state[0] = 1
    for (const character of text) {
      const mask = this.#masks.get(character) ?? this.#any
      let carry = 0
      let alive = 0
      for (let word = 0; word < state.length; word++) {
        const before = state[word] as number
        const after = (((before << 1) | carry) & (mask[word] as number)) | (before & (stays[word] as number)) | 0
        carry = before >>> (WORD_BITS - 1)
        state[word] = after
        alive |= after
      }
      if (alive === 0) return false
    }
    return hasBit(state, this.#length)
  }
}

/** The characters of a pattern (undefined for any), and the positions of `%` among them. */
function parse(pattern: string): { characters: (string | undefined)[]; stays: Set<number> } {
  const characters: (string | undefined)[] = []
  const stays = new Set<number>()
  let escaped = false
  const given = [...pattern]
  for (const [i, character] of given.entries()) {
    if (!escaped && character === '\\' && i + 1 < given.length) escaped = true
    else {
      if (!escaped && character === '%') stays.add(characters.length)
      else characters.push(!escaped && character === '_' ? undefined : character)
      escaped = false
    }
  }
  return { characters, stays }
}

function setBit(words: Int32Array, at: number): void {
  const word = Math.floor(at / WORD_BITS)
  words[word] = (words[word] as number) | (1 << (at % WORD_BITS))
}

function hasBit(words: Int32Array, at: number): boolean {
  return (((words[Math.floor(at / WORD_BITS)] as number) >>> (at % WORD_BITS)) & 1) === 1
}
