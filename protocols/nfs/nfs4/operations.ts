import { access } from './access.ts'
import { allocate, deallocate } from './allocate.ts'
import { create, link, remove, rename } from './change-names.ts'
import { close, openConfirm, openDowngrade } from './close.ts'
import { commit } from './commit.ts'
import { copy, offloadCancel, offloadStatus } from './copy.ts'
import { createSession } from './create-session.ts'
import { exchangeId } from './exchange-id.ts'
import { getattr, nverify, verify } from './getattr.ts'
import { getfh } from './getfh.ts'
import { lock, lockt, locku, releaseLockOwner } from './lock.ts'
import { lookup } from './lookup.ts'
import { lookupp } from './lookupp.ts'
import { open } from './open.ts'
import type { Operation } from './operation.ts'
import { putfh } from './putfh.ts'
import { putpubfh, putrootfh } from './putrootfh.ts'
import { read } from './read.ts'
import { readPlus } from './read-plus.ts'
import { readdir } from './readdir.ts'
import { readlink } from './readlink.ts'
import { restorefh, savefh } from './savefh.ts'
import { secinfo, secinfoNoName } from './secinfo.ts'
import { ioAdvise, seek } from './seek.ts'
import { sequence } from './sequence.ts'
import {
  backchannelCtl,
  bindConnToSession,
  destroyClientId,
  destroySession,
  reclaimComplete,
} from './session-operations.ts'
import { renew, setclientid, setclientidConfirm } from './set-client-id.ts'
import { setattr } from './setattr.ts'
import { freeStateid, testStateid } from './stateid-operations.ts'
import { OP } from './wire/constants.ts'
import { write } from './write.ts'
import { getxattr, listxattrs, removexattr, setxattr } from './xattrs.ts'

const SERVED: readonly Operation[] = [
  ...[sequence, putfh, getattr, read, write, lookup, getfh, access, open, close, readdir, putrootfh, putpubfh],
  ...[savefh, restorefh, commit, create, remove, rename, link, setattr, readlink, lookupp, verify, nverify],
  ...[openDowngrade, lock, lockt, locku, secinfo, secinfoNoName, testStateid, freeStateid],
  ...[exchangeId, createSession, destroySession, destroyClientId, bindConnToSession, backchannelCtl, reclaimComplete],
  ...[seek, ioAdvise, readPlus, allocate, deallocate, copy, offloadStatus, offloadCancel],
  ...[setclientid, setclientidConfirm, renew, openConfirm, releaseLockOwner],
  ...[getxattr, setxattr, listxattrs, removexattr],
]

/** The operations by number; those that are missing get NOTSUPP. */
export const OPERATIONS: readonly (Operation | undefined)[] = tableOf(SERVED)

function tableOf(operations: readonly Operation[]): (Operation | undefined)[] {
  const table: (Operation | undefined)[] = new Array(OP.REMOVEXATTR + 1).fill(undefined)
  for (const operation of operations) table[OP[operation.name]] = operation
  return table
}
