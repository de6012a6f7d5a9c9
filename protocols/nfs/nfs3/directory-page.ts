import { type Attr, after, FileType, type Inode, type MaybePromise } from '../../../overlay-core/index.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import { NFS3ERR_BAD_COOKIE, NFS3ERR_NOTDIR, NFS3ERR_TOOSMALL, Nfs3Error } from './status.ts'

const TWO_32 = 0x1_0000_0000
/** High half of the largest safe integer. */
const MAX_HI = 0x1f_ffff
/** Cookies on the wire: 0 start · 1 after "." · 2 after ".." · n + 2 after the entry whose cookie in the core is n. */
const DOT = 1
const DOT_DOT = 2

/** "no more entries" and `eof`. */
const TAIL_BYTES = 8
/** "one more entry", `fileid`, length of the name, `cookie`. */
const ENTRY_BYTES = 24

/** The parent of a directory is looked up without permission checks, because the listing shows its fileid anyway. */
const SERVER_CRED = { uid: 0, gid: 0, groups: [] }

/** The position of a listing: the number of "." and ".." already returned (0…2), and the core's cookie. */
export interface DirectoryPosition {
  readonly dots: number
  readonly cookie: number
}

/** Reads a `cookie3`. @throws Nfs3Error NFS3ERR_BAD_COOKIE it cannot be a cookie of this server */
export function decodeCookie(args: Decoder): DirectoryPosition {
  const hi = args.u32()
  const lo = args.u32()
  if (hi === 0 && lo <= DOT_DOT) return { dots: lo, cookie: 0 }
  const borrow = lo < DOT_DOT ? 1 : 0
  if (hi - borrow > MAX_HI) throw new Nfs3Error(NFS3ERR_BAD_COOKIE)
  return { dots: DOT_DOT, cookie: (hi - borrow) * TWO_32 + (lo - DOT_DOT + borrow * TWO_32) }
}

/** Writes the wire cookie for the core's cookie `cookie` (a safe integer; the sum may not be one). */
export function encodeCookie(out: Encoder, cookie: number): void {
  const lo = (cookie >>> 0) + DOT_DOT
  out.u64(Math.floor(cookie / TWO_32) + (lo >= TWO_32 ? 1 : 0), lo)
}

/** A directory with the data for "." and "..". */
export interface OpenedDirectory {
  readonly dir: Inode
  readonly attr: Attr
  readonly parent: Inode
  readonly parentAttr: Attr
}

/** Resolves the call's handle to a directory, its parent, and the attributes of both. @throws Nfs3Error NFS3ERR_NOTDIR */
export function openDirectory(call: Nfs3Call): MaybePromise<OpenedDirectory> {
  return after(call.resolve(call.handle), (dir) => {
    if (dir.type !== FileType.directory) throw new Nfs3Error(NFS3ERR_NOTDIR)
    const { overlay } = call
    return after(overlay.getattr(dir), (attr) =>
      after(overlay.parent(SERVER_CRED, dir), (parent) =>
        after(overlay.getattr(parent), (parentAttr) => ({ dir, attr, parent, parentAttr })),
      ),
    )
  })
}

/** Writes the entries of one reply within its limits. */
export class DirectoryPage {
  readonly out: Encoder
  readonly #end: number
  #nameRoom: number
  #empty = true

  /**
   * `maxBytes` limits everything after the status; `maxNameBytes` limits only names, ids and cookies, and
   * applies from the second entry: some clients request less than a long name needs, and could never continue.
   */
  constructor(out: Encoder, maxBytes: number, maxNameBytes: number) {
    this.out = out
    this.#end = out.pos + maxBytes - TAIL_BYTES
    this.#nameRoom = maxNameBytes
  }

  /** Writes the cookie verifier after the attributes of the directory. It never changes, because cookies stay valid forever. */
  begin(): void {
    this.out.u64(0, 0)
  }

  /**
   * Writes an entry up to its name if it fits with the cookie and the `extraBytes` that the caller appends; false
   * if the page is full.
   */
  entry(name: string, fileIdHi: number, fileIdLo: number, extraBytes: number): boolean {
    const nameBytes = ENTRY_BYTES + ((name.length + 3) & ~3)
    const { out } = this
    if (out.pos + nameBytes + extraBytes > this.#end) return false
    if (nameBytes > this.#nameRoom && !this.#empty) return false
    this.#nameRoom -= nameBytes
    this.#empty = false
    out.bool(true)
    out.u64(fileIdHi, fileIdLo)
    out.string(name)
    return true
  }

  /** Ends the reply. @throws Nfs3Error NFS3ERR_TOOSMALL the limit is too small for an entry, or even for an empty list */
  finish(eof: boolean): void {
    if ((this.#empty && !eof) || this.out.pos > this.#end) throw new Nfs3Error(NFS3ERR_TOOSMALL)
    this.out.bool(false)
    this.out.bool(eof)
  }

  /** Passes "." and ".." to `add`, except for the `dots` already returned; false if the page is full. */
  static dots(position: DirectoryPosition, opened: OpenedDirectory, add: AddDot): boolean {
    if (position.dots < DOT && !add('.', opened.dir, opened.attr, DOT)) return false
    return position.dots >= DOT_DOT || add('..', opened.parent, opened.parentAttr, DOT_DOT)
  }
}

/** Adds "." or ".." with its wire cookie. */
export type AddDot = (name: string, inode: Inode, attr: Attr, wireCookie: number) => boolean
