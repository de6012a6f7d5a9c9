import {
  type Attr,
  after,
  type DirEntryPlus,
  FileType,
  isErrno,
  type MaybePromise,
} from '../../../overlay-core/index.ts'
import type { NfsExport } from '../exports/export-table.ts'
import type { ServedView } from '../exports/served-view.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { asksForWriteOnly, encodeAttrError, encodeFattr4, FATTR4_BYTES, needsStatFs } from './encode-attributes.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { JUNCTION_ID_HI } from './pseudo-root.ts'
import { ATTR } from './wire/attributes.ts'
import { Bitmap } from './wire/bitmap.ts'
import { MAX_DIRECTORY_BYTES, NAME_MAX } from './wire/constants.ts'
import { Nfs4Error, STATUS, STATUS_OF_ERRNO } from './wire/status.ts'

const TWO_32 = 0x1_0000_0000
const MAX_HI = 0x1f_ffff
/** Cookies 1 and 2 are reserved (RFC 8881 section 18.23.3): on the wire they are 2 more than in the core. */
const FIRST_COOKIE = 2
/** "no more entries" and `eof`. */
const TAIL_BYTES = 8
/** "one more entry", `cookie`, length of the name. */
const ENTRY_BYTES = 16
const LONGEST_ENTRY = ENTRY_BYTES + NAME_MAX + 1 + FATTR4_BYTES

/** READDIR: names and attributes of a directory, one page at a time, without "." and "..". RFC 8881 section 18.23. */
export const readdir: Operation = {
  name: 'READDIR',
  run(call) {
    const { args, current } = call
    const cookie = decodeCookie(args)
    args.take(12) // cookieverf: every cookie is valid; dircount: a hint
    const maxBytes = Math.min(args.u32(), MAX_DIRECTORY_BYTES, call.replyRoom)
    const asked = new Bitmap().read(args)
    if (asksForWriteOnly(asked)) throw new Nfs4Error(STATUS.INVAL)
    if (current.kind === 'none') throw new Nfs4Error(STATUS.NOFILEHANDLE)
    const page = new Page(call, asked, maxBytes)
    if (current.kind === 'root') return listExports(call, page, cookie)
    const dir = call.object()
    if (dir.inode.type !== FileType.directory) throw new Nfs4Error(STATUS.NOTDIR)
    if (dir.served.members !== undefined) return page.end(listViews(call, page, dir, cookie))
    if (!needsStatFs(asked)) return listDirectory(page, dir, cookie)
    return dir.served.overlay.statfs().then((statfs) => {
      page.statfs = statfs
      return listDirectory(page, dir, cookie)
    })
  },
}

function listDirectory(page: Page, { served, inode, grant }: Target, cookie: number): MaybePromise<void> {
  const { overlay } = served
  const atEnd = overlay.readdirPlus(grant.cred, inode, cookie, (entry) => page.add(served, entry))
  return after(atEnd, (eof) => page.end(eof))
}

/** The names of exports, with the attributes of their roots; one whose root has none is listed all the same. */
async function listExports(call: Nfs4Call, page: Page, cookie: number): Promise<void> {
  const { context, rpc } = call
  for (const served of context.root.list(rpc.peer, cookie - 1)) {
    const id = { hi: JUNCTION_ID_HI, lo: served.view }
    const place = { name: served.path.slice(1), cookie: served.index + 1, id }
    const attr = await attrOf(call, served, page)
    if (!page.addJunction(place, served, attr)) return page.end(false)
  }
  page.end(true)
}

/** The attributes of the root of an export, or why there are none. */
async function attrOf(call: Nfs4Call, served: NfsExport, page: Page): Promise<Attr | number> {
  if (served.grant(call.rpc.peer, call.rpc.credential) === undefined) return STATUS.WRONGSEC
  try {
    if (needsStatFs(page.asked)) page.statfs = await served.overlay.statfs()
    return await served.overlay.getattr(served.overlay.root)
  } catch (error) {
    if (!isErrno(error)) throw error
    return STATUS_OF_ERRNO[error.code]
  }
}

/** The views of a template that the caller may use, without attributes, because that would open all of them. */
function listViews(call: Nfs4Call, page: Page, { served, grant }: Target, cookie: number): boolean {
  const who = grant.asOwner ? undefined : grant.cred
  for (const member of served.members!.list(who, call.rpc.peer, cookie)) {
    const place = { name: member.name, cookie: member.order, id: { hi: member.viewHi, lo: member.view } }
    if (!page.addJunction(place, served, STATUS.DELAY)) return false
  }
  return true
}

/** The entries of one reply. */
class Page {
  readonly asked: Bitmap
  statfs: Parameters<typeof encodeFattr4>[2]['statfs']
  readonly #call: Nfs4Call
  readonly #out: Encoder
  readonly #end: number
  #empty = true

  constructor(call: Nfs4Call, asked: Bitmap, maxBytes: number) {
    this.#call = call
    this.asked = asked
    this.#out = call.makeRoom(maxBytes + LONGEST_ENTRY)
    this.#end = this.#out.pos + maxBytes - TAIL_BYTES
    // cookieverf: never changes, because cookies stay valid for ever
    this.#out.u64(0, 0)
  }

  /** Adds an entry of a directory; false if the page is full. */
  add(served: ServedView, { name, inode, attr, fileIdHi, fileIdLo, cookie }: DirEntryPlus): boolean {
    const { asked, statfs } = this
    const { minor } = this.#call
    const { handles } = this.#call.context
    return this.#entry(name, cookie, (out) => {
      if (inode === undefined || attr === undefined) {
        return encodeAttrError(out, asked, STATUS.ACCESS, { hi: fileIdHi, lo: fileIdLo })
      }
      if (asked.has(ATTR.FILEHANDLE)) this.#call.gives(served.overlay, inode)
      encodeFattr4(out, asked, { attr, served, inode, statfs, handles, minor })
    })
  }

  /** Adds the name of a view; `attr` are the attributes of its root, or a status if they are not known. */
  addJunction(
    { name, cookie, id }: { name: string; cookie: number; id: { hi: number; lo: number } },
    served: ServedView,
    attr: Attr | number,
  ): boolean {
    const { asked, statfs } = this
    const { minor } = this.#call
    const { handles } = this.#call.context
    return this.#entry(name, cookie, (out) => {
      if (typeof attr === 'number') encodeAttrError(out, asked, attr, id)
      else encodeFattr4(out, asked, { attr, served, inode: served.overlay.root, statfs, handles, minor })
    })
  }

  /** Ends the reply. @throws Nfs4Error TOOSMALL not one entry fits */
  end(eof: boolean): void {
    if ((this.#empty && !eof) || this.#out.pos > this.#end) throw new Nfs4Error(STATUS.TOOSMALL)
    this.#out.bool(false)
    this.#out.bool(eof)
  }

  #entry(name: string, cookie: number, encode: (out: Encoder) => void): boolean {
    const out = this.#out
    const { pos } = out
    if (pos + ENTRY_BYTES > this.#end) return false
    out.bool(true)
    encodeCookie(out, cookie)
    out.string(name)
    encode(out)
    if (out.pos <= this.#end) {
      this.#empty = false
      return true
    }
    out.pos = pos
    return false
  }
}

/** Reads a `nfs_cookie4`. @throws Nfs4Error BAD_COOKIE it cannot be a cookie of this server */
function decodeCookie(args: Decoder): number {
  const hi = args.u32()
  const lo = args.u32()
  if (hi === 0 && lo === 0) return 0
  const borrow = lo < FIRST_COOKIE ? 1 : 0
  if (hi - borrow > MAX_HI || hi < borrow) throw new Nfs4Error(STATUS.BAD_COOKIE)
  return (hi - borrow) * TWO_32 + (lo - FIRST_COOKIE + borrow * TWO_32)
}

function encodeCookie(out: Encoder, cookie: number): void {
  const lo = (cookie >>> 0) + FIRST_COOKIE
  out.u64(Math.floor(cookie / TWO_32) + (lo >= TWO_32 ? 1 : 0), lo)
}
