import type { RpcProgram } from '../rpc/program.ts'
import { compound } from './compound.ts'
import type { Nfs4Context } from './nfs4-context.ts'
import { NFS_V4, NFS4_PROGRAM } from './wire/constants.ts'

/** The NFS program, version 4: minor versions 1 and 2 (RFC 8881, RFC 7862). */
export function nfs4Program(context: Nfs4Context): RpcProgram {
  return {
    number: NFS4_PROGRAM,
    version: NFS_V4,
    procedures: [
      { name: 'NFSPROC4_NULL', nonIdempotent: false, run: (call) => void call.begin(0) },
      // The replies that must not be lost are kept by slot of a session.
      { name: 'NFSPROC4_COMPOUND', nonIdempotent: false, run: (call) => compound(context, call) },
    ],
  }
}
