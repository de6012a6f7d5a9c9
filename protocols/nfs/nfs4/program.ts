import type { RpcCall } from '../rpc/call.ts'
import type { RpcProgram } from '../rpc/program.ts'
import { compound } from './compound.ts'
import type { Nfs4Context } from './nfs4-context.ts'
import { NFS_V4, NFS4_PROGRAM } from './wire/constants.ts'

/** Later versions keep the replies that must not be lost by slot of a session. */
function isOfMinor0({ args: { view, pos, end } }: RpcCall): boolean {
  if (pos + 4 > end) return false
  const minorAt = pos + 4 + ((view.getUint32(pos) + 3) & ~3)
  return minorAt >= pos && minorAt + 4 <= end && view.getUint32(minorAt) === 0
}

/** The NFS program, version 4: minor versions 0 to 2 (RFC 7530, RFC 8881, RFC 7862). */
export function nfs4Program(context: Nfs4Context): RpcProgram {
  return {
    number: NFS4_PROGRAM,
    version: NFS_V4,
    procedures: [
      { name: 'NFSPROC4_NULL', nonIdempotent: false, run: (call) => void call.begin(0) },
      {
        name: 'NFSPROC4_COMPOUND',
        nonIdempotent: isOfMinor0,
        repeatsLong: true,
        run: (call) => compound(context, call),
      },
    ],
  }
}
