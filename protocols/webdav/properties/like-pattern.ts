/** Bits of a word of the state; bit operations of JavaScript are on 32 of them. */
const WORD_BITS = 32
/** No value that a search compares is longer than a name of 255 bytes: a pattern that asks for more characters never holds. */
const MOST_CHARACTERS = 255

/**
 * A LIKE pattern (RFC 5323 section 5.14: `%` any characters, `_` one, `\` makes the next one plain) as a test. All positions of the pattern are followed at once, 32 to
 * a word, so that a character of the text costs the same few steps whatever the pattern: it comes from a client.
 */
export class LikePattern {
  /** How many words the state takes: what a character of the text costs. */
  readonly words: number
  /** Bit i: the pattern is fulfilled up to its i-th character. */
  readonly #state: Int32Array
  /** Bit i: any number of characters may follow there (`%`). */
  readonly #stays: Int32Array
  /** Bit i: the i-th character is any (`_`). */
  readonly #any: Int32Array
  /** By character: bit i says that it, or any, is the i-th. */
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

  /** Whether all of `text` fulfils the pattern. */
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

/** The characters that a text must have, undefined for any one, and after how many of them `%` stands. */
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
