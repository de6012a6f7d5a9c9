import type { Inode, MaybePromise } from '../../../overlay-core/index.ts'
import { after } from '../rpc/after.ts'
import { encodeHandle, encodePostOpAttr } from './attributes.ts'
import { POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_NOENT } from './status.ts'

/** NFSPROC3_LOOKUP: the handle and attributes of a name in a directory. RFC 1813 section 3.3.3. */
export const lookup: Nfs3Procedure = {
  name: 'LOOKUP',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    call.handle.read(call.args)
    const name = call.readName()
    return after(call.resolve(call.handle), (dir) =>
      after(find(call, dir, name), (inode) => (inode === undefined ? absent(call, dir) : present(call, dir, inode))),
    )
  },
}

function find(call: Nfs3Call, dir: Inode, name: string): MaybePromise<Inode | undefined> {
  const { overlay, cred } = call
  if (name === '..') return overlay.parent(cred, dir)
  // "." needs search permission too, which is checked on the way to the parent.
  if (name === '.') return after(overlay.parent(cred, dir), () => dir)
  return overlay.lookup(cred, dir, name)
}

function present(call: Nfs3Call, dir: Inode, inode: Inode): MaybePromise<void> {
  return after(call.overlay.getattr(inode), (attr) =>
    after(call.overlay.getattr(dir), (dirAttr) => {
      const out = call.ok(64 + 2 * POST_OP_ATTR_BYTES)
      encodeHandle(out, call, inode)
      encodePostOpAttr(out, attr, call.served)
      encodePostOpAttr(out, dirAttr, call.served)
    }),
  )
}

/** An absent name is an everyday answer and not worth a throw. */
function absent(call: Nfs3Call, dir: Inode): MaybePromise<void> {
  return after(call.overlay.getattr(dir), (dirAttr) => {
    encodePostOpAttr(call.status(NFS3ERR_NOENT, POST_OP_ATTR_BYTES), dirAttr, call.served)
  })
}
