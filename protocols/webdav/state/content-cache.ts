import type { Attr, Inode } from '../../../overlay-core/index.ts'

interface Content {
  /** The attributes of the file when it was read. Every change through any protocol replaces them. */
  readonly attr: Attr
  /** One character for each byte, because Node sends such a string in one write with the header. */
  readonly bytes: string
  /** The id of its view. */
  readonly view: string
  /** Used since it was last considered for eviction. */
  used: boolean
}

/** The cost of an entry besides its bytes, so that empty files count too. */
const ENTRY_BYTES = 256

/**
 * A cache of recently requested small files, limited in total bytes. An entry is valid exactly as long as the file has the
 * attributes it was read with: an Attr is never modified, only replaced, and every change of a file replaces it before it is acknowledged.
 */
export class ContentCache {
  readonly #maxBytes: number
  /** The first entry is evicted next, unless it was used: then it moves to the end (second chance). */
  readonly #entries = new Map<Inode, Content>()
  /** The files of each view. */
  readonly #byView = new Map<string, Set<Inode>>()
  #bytes = 0
  hits = 0
  misses = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** The present size in bytes. */
  get size(): number {
    return this.#bytes
  }

  /** The content of a file with the present attributes `attr`; undefined if it must be read. */
  get(inode: Inode, attr: Attr): string | undefined {
    const known = this.#entries.get(inode)
    if (known === undefined || known.attr !== attr) {
      this.misses++
      return undefined
    }
    this.hits++
    known.used = true
    return known.bytes
  }

  /** Stores the content of a file that had the attributes `attr` before and after the read. */
  set(view: string, inode: Inode, attr: Attr, data: Buffer): string {
    const bytes = data.toString('latin1')
    this.delete(inode)
    if (bytes.length + ENTRY_BYTES > this.#maxBytes) return bytes
    this.#entries.set(inode, { attr, bytes, view, used: false })
    const files = this.#byView.get(view)
    if (files === undefined) this.#byView.set(view, new Set([inode]))
    else files.add(inode)
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

  /** Removes a file. */
  delete(inode: Inode): void {
    const known = this.#entries.get(inode)
    if (known === undefined) return
    this.#entries.delete(inode)
    this.#bytes -= known.bytes.length + ENTRY_BYTES
    const files = this.#byView.get(known.view)
    files?.delete(inode)
    if (files?.size === 0) this.#byView.delete(known.view)
  }

  /** Removes the files of a view that is being closed. */
  deleteView(view: string): void {
    for (const inode of [...(this.#byView.get(view) ?? [])]) this.delete(inode)
  }
}
