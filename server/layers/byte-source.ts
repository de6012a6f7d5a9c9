/** Reads a stream of bytes in portions that its reader chooses. Holds one piece of the stream at a time. */
export class ByteSource {
  readonly #pieces: AsyncIterator<Uint8Array>
  #piece: Uint8Array = new Uint8Array(0)
  #at = 0

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]()
  }

  /** How many bytes of the present piece were taken. */
  get taken(): number {
    return this.#at
  }

  /** The next bytes, at least one and at most `most`; undefined at the end. */
  async some(most: number): Promise<Uint8Array | undefined> {
    while (this.#at === this.#piece.length) {
      const { value, done } = await this.#pieces.next()
      if (done) return undefined
      this.#piece = value
      this.#at = 0
    }
    const taken = this.#piece.subarray(this.#at, this.#at + most)
    this.#at += taken.length
    return taken
  }

  /** The next `length` bytes, which it owns; fewer at the end. */
  async exactly(length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(length)
    let at = 0
    while (at < length) {
      const some = await this.some(length - at)
      if (some === undefined) return bytes.subarray(0, at)
      bytes.set(some, at)
      at += some.length
    }
    return bytes
  }

  /** Passes over bytes. Returns whether there were as many. */
  async skip(length: number): Promise<boolean> {
    for (let left = length; left > 0; ) {
      const some = await this.some(left)
      if (some === undefined) return false
      left -= some.length
    }
    return true
  }

  /** Gives back bytes that were taken last, in front of the others. Only before anything else is taken. */
  unread(bytes: Uint8Array): void {
    this.#piece = Buffer.concat([bytes, this.#piece.subarray(this.#at)])
    this.#at = 0
  }

  /** What is left, as a stream. */
  async *rest(): AsyncGenerator<Uint8Array> {
    for (let some = await this.some(65_536); some !== undefined; some = await this.some(65_536)) yield some
  }

  /** Ends the stream early. */
  async end(): Promise<void> {
    await this.#pieces.return?.()
  }
}
