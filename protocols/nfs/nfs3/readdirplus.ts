import { type Attr, after, type Inode } from '../../../overlay-core/index.ts'
import { handleBytes } from '../exports/file-handle.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { encodeHandle, encodePostOpAttr } from './attributes.ts'
import { MAX_DIRECTORY_BYTES, POST_OP_ATTR_BYTES } from './constants.ts'
import { entriesPlus } from './directory-entries.ts'
import { DirectoryPage, decodeCookie, encodeCookie, openDirectory } from './directory-page.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'

/** The size of `name_attributes` and `name_handle` if neither is present. */
const NO_OBJECT_BYTES = 8

/** NFSPROC3_READDIRPLUS: lists a directory with handles and attributes, one page at a time. RFC 1813 section 3.3.17. */
export const readdirplus: Nfs3Procedure = {
  name: 'READDIRPLUS',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    const { args, handle } = call
    handle.read(args)
    const position = decodeCookie(args)
    args.take(8) // cookieverf: every cookie is valid
    const maxNameBytes = args.u32()
    const maxBytes = Math.min(args.u32(), MAX_DIRECTORY_BYTES)

    return after(openDirectory(call), (opened) => {
      const objectBytes = POST_OP_ATTR_BYTES + 8 + handleBytes(call.served)
      const out = call.ok(maxBytes)
      const page = new DirectoryPage(out, maxBytes, maxNameBytes)
      encodePostOpAttr(out, opened.attr, call.served)
      page.begin()
      const full = !DirectoryPage.dots(position, opened, (name, inode, attr, wireCookie) => {
        if (!page.entry(name, attr.fileIdHi, attr.fileIdLo, objectBytes)) return false
        out.u64(0, wireCookie)
        encodeObject(call, out, inode, attr)
        return true
      })
      if (full) return page.finish(false)
      const atEnd = entriesPlus(call, opened.dir, position.cookie, (entry) => {
        const { inode, attr } = entry
        const extraBytes = inode === undefined || attr === undefined ? NO_OBJECT_BYTES : objectBytes
        if (!page.entry(entry.name, entry.fileIdHi, entry.fileIdLo, extraBytes)) return false
        encodeCookie(out, entry.cookie)
        if (inode === undefined || attr === undefined) out.u64(0, 0)
        else encodeObject(call, out, inode, attr)
        return true
      })
      return after(atEnd, (eof) => page.finish(eof))
    })
  },
}

/** Writes `name_attributes` and `name_handle`. */
function encodeObject(call: Nfs3Call, out: Encoder, inode: Inode, attr: Attr): void {
  encodePostOpAttr(out, attr, call.served)
  out.bool(true)
  encodeHandle(out, call, inode)
}
