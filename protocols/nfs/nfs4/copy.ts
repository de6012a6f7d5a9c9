import { checkAccess } from './find-state.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { SHARE_READ, SHARE_WRITE } from './wire/constants.ts'
import { Stateid } from './wire/stateid.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** One call copies at most this; the client goes on with the rest. */
const MOST_BYTES = 64 * 1024 * 1024
/** A copy reads and writes so much at a time. */
const PIECE_BYTES = 256 * 1024
/** How many copies run at once, and how many of one address; clients ask for further ones later. */
const MOST_COPIES = 32
const MOST_COPIES_OF_ADDRESS = 4
const UNSTABLE = 0

/** COPY: copies a range of the saved file into the current one. RFC 7862 section 15.2. Always synchronous, within this server. */
export const copy: Operation = {
  name: 'COPY',
  async run(call) {
    const { args } = call
    const from = new Stateid().read(args)
    const to = call.stateid.read(args)
    const fromOffset = args.safeU64()
    const toOffset = args.safeU64()
    const count = args.safeU64()
    args.bool() // consecutive
    args.bool() // synchronous
    if (args.u32() > 0) throw new Nfs4Error(STATUS.NOTSUPP)
    const source = call.file(call.saved)
    const target = call.writable(call.file())
    checkAccess(call, SHARE_READ, from, call.saved)
    checkAccess(call, SHARE_WRITE, to)
    if (fromOffset === undefined || toOffset === undefined || count === undefined) throw new Nfs4Error(STATUS.INVAL)
    const most = Math.min(count === 0 ? MOST_BYTES : count, MOST_BYTES, Number.MAX_SAFE_INTEGER - toOffset)
    const { copies } = call.context
    const { address } = call.rpc.peer
    if (copies.total >= MOST_COPIES || copies.of(address) >= MOST_COPIES_OF_ADDRESS) throw new Nfs4Error(STATUS.DELAY)
    copies.add(address, 1)
    try {
      answer(call, await copyRange(source, target, { fromOffset, toOffset, most, explicit: count > 0 }))
    } finally {
      copies.remove(address, 1)
    }
  },
}

async function copyRange(
  source: Target,
  target: Target,
  { fromOffset, toOffset, most, explicit }: { fromOffset: number; toOffset: number; most: number; explicit: boolean },
): Promise<number> {
  const { size } = await source.served.overlay.getattr(source.inode)
  // Beyond the end there is nothing to copy (section 15.2.3).
  if (fromOffset > size || (explicit && fromOffset + most > size && most < MOST_BYTES))
    throw new Nfs4Error(STATUS.INVAL)
  const sameFile = source.served === target.served && source.inode === target.inode
  if (sameFile && fromOffset < toOffset + most && toOffset < fromOffset + most) throw new Nfs4Error(STATUS.INVAL)
  const buffer = Buffer.allocUnsafeSlow(Math.min(most, PIECE_BYTES))
  let done = 0
  while (done < most) {
    const wanted = Math.min(buffer.length, most - done)
    const { overlay } = source.served
    const length = await overlay.read(source.grant.cred, source.inode, buffer, 0, wanted, fromOffset + done)
    if (length === 0) break
    const piece = buffer.subarray(0, length)
    await target.served.overlay.write(target.grant.cred, target.inode, piece, toOffset + done, 'unstable')
    done += length
  }
  return done
}

function answer({ out, context }: Nfs4Call, copied: number): void {
  out.u32(0) // no wr_callback_id: it is done
  out.safeU64(copied)
  out.u32(UNSTABLE)
  out.fixedOpaque(context.verifier.bytes)
  out.bool(true) // consecutive
  out.bool(true) // synchronous
}

/** OFFLOAD_STATUS and OFFLOAD_CANCEL: of a copy that goes on; there is none. RFC 7862 sections 15.8 and 15.9. */
function noSuchCopy(call: Nfs4Call): void {
  call.stateid.read(call.args)
  call.object()
  throw new Nfs4Error(STATUS.BAD_STATEID)
}

export const offloadStatus: Operation = { name: 'OFFLOAD_STATUS', run: noSuchCopy }
export const offloadCancel: Operation = { name: 'OFFLOAD_CANCEL', run: noSuchCopy }
