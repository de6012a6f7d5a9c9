import type { Attr, Inode } from '../../../overlay-core/index.ts'

interface Content {
  /** The attributes of the file when it was read: any change, by whichever protocol, replaces them. */
  readonly attr: Attr
  /** One character for each byte: the server sends such a string in one piece with the header. */
  readonly bytes: string
  /** Asked for since it was last thought of dropping it. */
  used: boolean
}

/** What an entry costs beside its bytes, so that empty files count too. */
const ENTRY_BYTES = 256

/**
 * The content of small files that were asked for lately, up to so many bytes in total. An entry is valid for exactly as long as the file has the
 * attributes it was read with: an Attr is never changed, only replaced, and every change of a file replaces it before it is acknowledged.
 */
export class ContentCache {
  readonly #maxBytes: number
  /** The first is the next to go, unless it was used: then it goes to the end once more (second chance). */
  readonly #entries = new Map<Inode, Content>()
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** Bytes held now. */
  get size(): number {
    return this.#bytes
  }

  /** The content of a file whose attributes now are `attr`; undefined when it has to be read. */
  get(inode: Inode, attr: Attr): string | undefined {
    const known = this.#entries.get(inode)
    if (known === undefined || known.attr !== attr) return undefined
    known.used = true
    return known.bytes
  }

  /** Remembers what was read from a file that had the attributes `attr` before the read and has them still. */
  set(inode: Inode, attr: Attr, data: Buffer): string {
    const bytes = data.toString('latin1')
    this.delete(inode)
    if (bytes.length + ENTRY_BYTES > this.#maxBytes) return bytes
    this.#entries.set(inode, { attr, bytes, used: false })
    this.#bytes += bytes.length + ENTRY_BYTES
    for (const [oldest, content] of this.#entries) {
      if (this.#bytes <= this.#maxBytes) break
      if (content.used) {
        content.used = false
        this.#entries.delete(oldest)
        this.#entries.set(oldest, content)
      } else {
        this.delete(oldest)
      }
    }
    return bytes
  }

  /** Forgets a file. */
  delete(inode: Inode): void {
    const known = this.#entries.get(inode)
    if (known === undefined) return
    this.#entries.delete(inode)
    this.#bytes -= known.bytes.length + ENTRY_BYTES
  }
}
