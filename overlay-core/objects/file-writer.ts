import { isErrno } from '../api/errno.ts'
import { ending } from '../api/maybe-promise.ts'
import type { ChangeInfo, MaybePromise } from '../api/types.ts'
import { asksForAttributes } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import { pwrite, pwriteIfFree, pwritev } from '../sys/data.ts'
import { statxFd } from '../sys/stat.ts'
import { LIST_PIECES, pwriteList, WRITES_LISTS } from '../sys/write-list.ts'
import type { Charges } from './charges.ts'
import type { OvlInode } from './dentry.ts'
import { attrOf } from './inode.ts'

/** The maximum number of bytes per write, unless a single piece is larger. */
const MAX_BYTES = 4 * 1024 * 1024

/** A queued write. */
interface Piece {
  readonly data: Uint8Array
  readonly position: number
  readonly changeInfo: ChangeInfo | undefined
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/**
 * Makes the writes of one open real file one after the other. The kernel admits only one at a time anyway, and threads that wait for each other
 * cost more than the write. Writes that arrive meanwhile share the next trip to the pool: all of them if lists can
 * be written, otherwise those that continue the first one.
 */
export class FileWriter {
  readonly #inode: OvlInode
  readonly #fd: number
  readonly #charges: Charges | undefined
  #waiting: Piece[] = []
  #running = false

  /** @param fd open for writing on the upper object of `inode`; must stay open while a write runs */
  constructor(inode: OvlInode, fd: number, charges: Charges | undefined) {
    this.#inode = inode
    this.#fd = fd
    this.#charges = charges
  }

  /**
   * Writes all of `data`, which belongs to the call until it ends, and fills `changeInfo`. Synchronous if `data` is small and nothing else waits.
   *
   * @throws ENOSPC | EDQUOT | EFBIG | EIO a part may have been written; but nothing if the quota of the overlay is exceeded (EDQUOT)
   */
  write(data: Uint8Array, position: number, changeInfo: ChangeInfo | undefined): MaybePromise<void> {
    const charges = this.#charges
    if (charges === undefined || data.length === 0) return this.#enqueue(data, position, changeInfo)
    const size = () => statxFd(this.#fd).size
    const charge = charges.begin(this.#inode, size)
    return ending(
      () => {
        charges.grow(charge, position + data.length, 'write')
        return this.#enqueue(data, position, changeInfo)
      },
      () => charges.end(this.#inode, charge, size),
    )
  }

  #enqueue(data: Uint8Array, position: number, changeInfo: ChangeInfo | undefined): MaybePromise<void> {
    if (!this.#running && this.#writeNow(data, position, changeInfo)) return
    return new Promise((resolve, reject) => {
      this.#waiting.push({ data, position, changeInfo, resolve, reject })
      if (!this.#running) this.#next()
    })
  }

  /** Writes synchronously if possible; otherwise returns false. */
  #writeNow(data: Uint8Array, position: number, changeInfo: ChangeInfo | undefined): boolean {
    const inode = this.#inode
    const { attr } = inode
    const alone = inode.writing === 0
    try {
      if (!pwriteIfFree(this.#fd, data, position)) return false
    } catch (error) {
      // The present state of the file is unknown.
      inode.changed()
      throw error
    }
    inode.changed()
    const after = this.#attrNow(alone)
    if (changeInfo && alone && attr) changeInfo.before = attr
    if (changeInfo && after) changeInfo.after = after
    return true
  }

  #next(): void {
    const pieces = this.#takeRun()
    this.#running = pieces.length > 0
    if (this.#running) this.#write(pieces)
  }

  /** Takes the first waiting write, and those that can share its trip. */
  #takeRun(): Piece[] {
    const waiting = this.#waiting
    let count = 0
    let bytes = 0
    let end = waiting[0]?.position
    while (count < waiting.length && count < LIST_PIECES && bytes < MAX_BYTES) {
      const { data, position } = waiting[count] as Piece
      if (position !== end && !WRITES_LISTS) break
      end = position + data.length
      bytes += data.length
      count++
    }
    return waiting.splice(0, count)
  }

  async #write(pieces: readonly Piece[]): Promise<void> {
    const inode = this.#inode
    const { attr, changes } = inode
    const alone = inode.writing === 0 && pieces.length === 1
    const first = pieces[0] as Piece
    let error: unknown
    inode.writing++
    try {
      if (pieces.length === 1) await pwrite(this.#fd, first.data, first.position)
      else if (WRITES_LISTS) await pwriteList(this.#fd, pieces)
      else await pwritev(this.#fd, dataOf(pieces), first.position)
    } catch (failure) {
      error = failure
    }
    inode.writing--
    const quiet = inode.writing === 0 && inode.changes === changes
    inode.changed()
    // It is unknown which pieces were written before the failure, so each is written again separately.
    if (error !== undefined && pieces.length > 1) {
      await this.#writeEach(pieces)
    } else {
      const after = this.#attrNow(quiet)
      // With another change in between, no correct attributes from before exist.
      if (alone && quiet && first.changeInfo && attr) first.changeInfo.before = attr
      for (const piece of pieces) settle(piece, after, error)
    }
    this.#next()
  }

  async #writeEach(pieces: readonly Piece[]): Promise<void> {
    for (const piece of pieces) {
      let error: unknown
      try {
        await pwrite(this.#fd, piece.data, piece.position)
      } catch (failure) {
        error = failure
      }
      this.#inode.changed()
      settle(piece, this.#attrNow(false), error)
    }
  }

  /** The attributes after a write, cached if nothing else changes the file; undefined if they cannot be read. */
  #attrNow(remember: boolean): CheckedAttr | undefined {
    const inode = this.#inode
    if (inode.upper && asksForAttributes(inode.upper.layer)) return undefined
    try {
      const attr = attrOf(inode, statxFd(this.#fd))
      if (remember && inode.file?.fd === this.#fd) inode.attr = attr
      return attr
    } catch (error) {
      if (!isErrno(error)) throw error
      return undefined
    }
  }
}

function dataOf(pieces: readonly Piece[]): Uint8Array[] {
  return pieces.map(({ data }) => data)
}

function settle(piece: Piece, after: CheckedAttr | undefined, error: unknown): void {
  if (error !== undefined) {
    piece.reject(error)
    return
  }
  if (piece.changeInfo && after) piece.changeInfo.after = after
  piece.resolve()
}
