import type { OpenFile } from '../../../overlay-core/index.ts'
import { checkAccess } from './find-state.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import { SERVER_CRED } from './open-file.ts'
import type { Operation } from './operation.ts'
import { MAX_TRANSFER_BYTES, SHARE_READ, SHORT_READ_BYTES } from './wire/constants.ts'

/** `data_content4`. */
const DATA = 0
const HOLE = 1
/** `eof` and the number of segments; the head of a segment with data; a segment that is a hole. */
const HEAD_BYTES = 8
const DATA_BYTES = 16
const HOLE_BYTES = 20

/** READ_PLUS: data of a file, or the hole where there is none. RFC 7862 section 15.10. At most one hole and the data behind it are returned. */
export const readPlus: Operation = {
  name: 'READ_PLUS',
  async run(call) {
    const { args } = call
    call.stateid.read(args)
    const offset = args.safeU64() ?? Number.MAX_SAFE_INTEGER
    const most = call.rpc.crowded ? SHORT_READ_BYTES : MAX_TRANSFER_BYTES
    const count = Math.min(args.u32(), most, Number.MAX_SAFE_INTEGER - offset)
    const target = call.file()
    checkAccess(call, SHARE_READ)
    call.need(HEAD_BYTES + HOLE_BYTES + DATA_BYTES + count + 3)
    const file = await target.served.overlay.open(SERVER_CRED, target.inode, { read: true })
    try {
      await readSegments(call, target, file, offset, count)
    } finally {
      file.close()
    }
  },
}

async function readSegments(
  call: Nfs4Call,
  { served, inode, grant }: Target,
  file: OpenFile,
  offset: number,
  count: number,
): Promise<void> {
  const { out } = call
  const head = out.reserve(HEAD_BYTES)
  // The rights are checked as by READ.
  await served.overlay.read(grant.cred, inode, out.bytes, out.pos, 0, 0)
  const { size } = await served.overlay.getattr(inode)
  const end = Math.min(offset + count, size)
  let segments = 0
  let at = offset
  const data = at < end ? Math.min(await file.nextData(at), end) : at
  if (data > at) {
    out.u32(HOLE)
    out.safeU64(at)
    out.safeU64(data - at)
    segments++
    at = data
  }
  if (at < end) {
    const from = out.reserve(DATA_BYTES)
    const length = await served.overlay.read(grant.cred, inode, out.bytes, out.pos, end - at, at)
    out.pos = from
    out.u32(DATA)
    out.safeU64(at)
    out.u32(length)
    const bytesAt = out.reserve((length + 3) & ~3)
    for (let i = bytesAt + length; i < out.pos; i++) out.bytes[i] = 0
    segments++
    at += length
  }
  out.view.setUint32(head, at >= size ? 1 : 0)
  out.view.setUint32(head + 4, segments)
}
