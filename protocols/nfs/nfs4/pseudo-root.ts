import { type Attr, FileType, type Time } from '../../../overlay-core/index.ts'
import type { ExportTable, NfsExport } from '../exports/export-table.ts'
import type { ViewNumber } from '../exports/file-handle.ts'
import type { Peer } from '../rpc/call.ts'

/** The number of the view of the pseudo-root in file handles. No export has it: theirs are hashes, and one of 0 is refused. */
export const ROOT_VIEW: ViewNumber = { viewHi: 0, view: 0 }
/** The identity of the pseudo-root in file handles. */
export const ROOT_OBJECT = { key: 1, generation: 1 }
const ROOT_FILEID = 1
/** The high half of the ids of the names in the pseudo-root; the low one is the number of the view. */
export const JUNCTION_ID_HI = 1

/** The directory above all exports (RFC 8881 section 7.3): read-only, with one name for each export that the client may know of. */
export class PseudoRoot {
  readonly #exports: ExportTable
  readonly #startTime: Time
  #attr: Attr
  #changes = 0

  constructor(exports: ExportTable, startMs: number) {
    this.#exports = exports
    this.#startTime = { sec: Math.floor(startMs / 1000), nsec: 0 }
    this.#attr = this.#attrNow()
  }

  get attr(): Attr {
    if (this.#changes !== this.#exports.changes) this.#attr = this.#attrNow()
    return this.#attr
  }

  /** The exports with a rule for the client, by `index`, after that with index `after`. */
  *list(peer: Peer, after: number): Generator<NfsExport> {
    for (const served of this.#exports.exports) if (served.index > after && served.isFor(peer.address)) yield served
  }

  /** The export with this name, if the client may know of it. */
  find(name: string, peer: Peer): NfsExport | undefined {
    const served = this.#exports.byPath(`/${name}`)?.served
    return served?.isFor(peer.address) ? served : undefined
  }

  #attrNow(): Attr {
    this.#changes = this.#exports.changes
    const { sec } = this.#startTime
    const time = { sec, nsec: this.#changes }
    return {
      ...{ type: FileType.directory, mode: 0o555, nlink: 2 + this.#exports.exports.length, uid: 0, gid: 0, size: 4096 },
      ...{ blocks: 8, rdevMajor: 0, rdevMinor: 0, fileIdHi: 0, fileIdLo: ROOT_FILEID },
      ...{ atime: time, mtime: time, ctime: time, btime: undefined },
    }
  }
}
