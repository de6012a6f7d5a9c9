import { checkAccess } from './find-state.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { Operation } from './operation.ts'
import { SHARE_WRITE } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** ALLOCATE: reserves space for a range of a file. RFC 7862 section 15.1. */
export const allocate: Operation = { name: 'ALLOCATE', run: (call) => reserve(call, 'allocate') }

/** DEALLOCATE: makes a hole in a file. RFC 7862 section 15.4. */
export const deallocate: Operation = { name: 'DEALLOCATE', run: (call) => reserve(call, 'punch') }

async function reserve(call: Nfs4Call, how: 'allocate' | 'punch'): Promise<void> {
  const { args } = call
  call.stateid.read(args)
  const offset = args.safeU64()
  const length = args.safeU64()
  const target = call.writable(call.file())
  checkAccess(call, SHARE_WRITE)
  if (offset === undefined || length === undefined || offset + length > Number.MAX_SAFE_INTEGER) {
    throw new Nfs4Error(STATUS.FBIG)
  }
  if (length === 0) throw new Nfs4Error(STATUS.INVAL)
  const { served, inode, grant } = target
  await served.overlay.allocate(grant.cred, inode, how, offset, length)
  call.keep(target, inode)
}
