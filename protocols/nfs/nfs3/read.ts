import { type Attr, after, FileType, type Inode } from '../../../overlay-core/index.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { encodePostOpAttr } from './attributes.ts'
import { MAX_TRANSFER_BYTES, POST_OP_ATTR_BYTES } from './constants.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import type { Nfs3Procedure } from './procedure.ts'
import { NFS3ERR_INVAL, Nfs3Error } from './status.ts'

/** `file_attributes` · `count` · `eof` · length of `data`. */
const HEAD_BYTES = POST_OP_ATTR_BYTES + 12

/** The maximum data of one reply while memory for replies is short; the client requests the rest. */
const SHORT_BYTES = 32 * 1024

/**
 * NFSPROC3_READ: reads data of a regular file directly into the reply. RFC 1813 section 3.3.6. More than 1 MiB is reduced to
 * that; beyond the end it returns no data and `eof`.
 */
export const read: Nfs3Procedure = {
  name: 'READ',
  failure: 'post_op_attr',
  mutates: false,
  run(call) {
    const { args, handle } = call
    handle.read(args)
    // No file extends beyond 2^53-1.
    const offset = args.safeU64() ?? Number.MAX_SAFE_INTEGER
    const most = call.rpc.crowded ? SHORT_BYTES : MAX_TRANSFER_BYTES
    const count = Math.min(args.u32(), most, Number.MAX_SAFE_INTEGER - offset)
    return after(call.resolve(handle), (inode) => {
      if (inode.type !== FileType.regular) throw new Nfs3Error(NFS3ERR_INVAL)
      const out = call.ok(HEAD_BYTES + count + 3)
      const head = out.reserve(HEAD_BYTES)
      return after(call.overlay.read(call.cred, inode, out.bytes, head + HEAD_BYTES, count, offset), (length) =>
        after(call.overlay.getattr(inode), (attr) =>
          encode(call, out, { head, inode, attr, length, end: offset + length }),
        ),
      )
    })
  },
}

/** Writes the fields before the data, which is already in place. */
function encode(
  call: Nfs3Call,
  out: Encoder,
  { head, attr, length, end }: { head: number; inode: Inode; attr: Attr; length: number; end: number },
): void {
  out.pos = head
  encodePostOpAttr(out, attr, call.served)
  out.u32(length)
  out.bool(end >= attr.size)
  out.u32(length)
  const at = out.reserve((length + 3) & ~3)
  for (let i = at + length; i < out.pos; i++) out.bytes[i] = 0
}
