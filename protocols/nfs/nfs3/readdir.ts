import { after } from '../../../overlay-core/index.ts'
import { encodePostOpAttr } from './attributes.ts'
import { MAX_DIRECTORY_BYTES } from './constants.ts'
import { entries } from './directory-entries.ts'
import { DirectoryPage, decodeCookie, encodeCookie, openDirectory } from './directory-page.ts'
import type { Nfs3Procedure } from './procedure.ts'

/** NFSPROC3_READDIR: lists names and file ids of a directory, one page at a time. RFC 1813 section 3.3.16. */
export const readdir: Nfs3Procedure = {
  name: 'READDIR',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    const { args, handle } = call
    handle.read(args)
    const position = decodeCookie(args)
    args.take(8) // cookieverf: every cookie is valid
    const maxBytes = Math.min(args.u32(), MAX_DIRECTORY_BYTES)

    return after(openDirectory(call), (opened) => {
      const out = call.ok(maxBytes)
      const page = new DirectoryPage(out, maxBytes, maxBytes)
      encodePostOpAttr(out, opened.attr, call.served)
      page.begin()
      const full = !DirectoryPage.dots(position, opened, (name, _inode, { fileIdHi, fileIdLo }, wireCookie) => {
        if (!page.entry(name, fileIdHi, fileIdLo, 0)) return false
        out.u64(0, wireCookie)
        return true
      })
      if (full) return page.finish(false)
      const atEnd = entries(call, opened.dir, position.cookie, (entry) => {
        if (!page.entry(entry.name, entry.fileIdHi, entry.fileIdLo, 0)) return false
        encodeCookie(out, entry.cookie)
        return true
      })
      return after(atEnd, (eof) => page.finish(eof))
    })
  },
}
