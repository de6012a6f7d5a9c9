import { after } from '../../../overlay-core/index.ts'
import { checkAccess } from './find-state.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { MAX_TRANSFER_BYTES, SHARE_READ, SHORT_READ_BYTES } from './wire/constants.ts'

/** `eof` and the length of the data. */
const HEAD_BYTES = 8

/** READ: data of a file, directly into the reply. RFC 8881 section 18.22. */
export const read: Operation = {
  name: 'READ',
  run(call) {
    const { args } = call
    call.stateid.read(args)
    const offset = args.safeU64() ?? Number.MAX_SAFE_INTEGER
    const most = call.rpc.crowded ? SHORT_READ_BYTES : MAX_TRANSFER_BYTES
    const count = Math.min(args.u32(), most, Number.MAX_SAFE_INTEGER - offset)
    const target = call.file()
    checkAccess(call, SHARE_READ)
    return readInto(call, target, offset, count)
  },
}

function readInto(call: Nfs4Call, { served, inode, grant }: Target, offset: number, count: number) {
  const out = call.need(HEAD_BYTES + count + 3)
  const head = out.pos
  return after(served.overlay.read(grant.cred, inode, out.bytes, head + HEAD_BYTES, count, offset), (length) =>
    after(served.overlay.getattr(inode), (attr) => {
      out.bool(offset + length >= attr.size)
      out.u32(length)
      const at = out.reserve((length + 3) & ~3)
      for (let i = at + length; i < out.pos; i++) out.bytes[i] = 0
    }),
  )
}
