import type { MaybePromise } from '../../../overlay-core/index.ts'
import type { RpcCall } from '../rpc/call.ts'
import type { RpcProcedure, RpcProgram } from '../rpc/program.ts'
import { MOUNT_PROGRAM, MOUNT_V3 } from './constants.ts'
import { dump } from './dump.ts'
import { exportList } from './export.ts'
import { mnt } from './mnt.ts'
import type { MountContext } from './mount-context.ts'
import { mountNull } from './null.ts'
import { umnt } from './umnt.ts'
import { umntAll } from './umntall.ts'

/** The MOUNT program, version 3 (RFC 1813 appendix I). */
export function mountProgram(context: MountContext): RpcProgram {
  const procedure = (
    name: string,
    run: (context: MountContext, call: RpcCall) => MaybePromise<void>,
  ): RpcProcedure => ({
    name,
    nonIdempotent: false,
    run: (call) => run(context, call),
  })
  return {
    number: MOUNT_PROGRAM,
    version: MOUNT_V3,
    procedures: [
      procedure('MOUNTPROC3_NULL', (_context, call) => mountNull(call)),
      procedure('MOUNTPROC3_MNT', mnt),
      procedure('MOUNTPROC3_DUMP', dump),
      procedure('MOUNTPROC3_UMNT', umnt),
      procedure('MOUNTPROC3_UMNTALL', umntAll),
      procedure('MOUNTPROC3_EXPORT', exportList),
    ],
  }
}
