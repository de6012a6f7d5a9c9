import { Access, FileType, type Inode, isErrno } from '../../../overlay-core/index.ts'
import { MemberView } from '../exports/export-table.ts'
import { lockKeyOf, type WireHandle } from '../exports/file-handle.ts'
import type { Grant, ServedView } from '../exports/served-view.ts'
import type { RpcCall } from '../rpc/call.ts'
import { NLM4_FAILED, NLM4_GRANTED, NLM4_STALE_FH } from './constants.ts'
import type { NlmContext } from './nlm-context.ts'

/** The key of a file in the lock table, or the status of a refusal. */
export interface Located {
  readonly file: string
  readonly status: number
}

/**
 * Finds the file of a handle and checks that the caller may lock it: as in the Linux server, anybody who may read or write it, or owns it. The lock applies to the
 * object, so all names of a hard link share locks.
 */
export async function locate(context: NlmContext, call: RpcCall, handle: WireHandle): Promise<Located> {
  const served = handle.wellFormed ? context.exports.byHandle(handle) : undefined
  const grant = served?.lockGrant(call.peer, call.credential)
  if (served === undefined || grant === undefined) return refuse(NLM4_FAILED)
  if (!(served instanceof MemberView)) return await locateIn(context, served, grant, handle)
  // A forged handle opens nothing, and nobody locks files in the view of another user.
  if (!context.handles.authentic(handle) || !served.member.admits(grant.cred, call.peer)) return refuse(NLM4_FAILED)
  try {
    await served.use()
  } catch (error) {
    if (!isErrno(error)) throw error
    return refuse(error.code === 'ESTALE' ? NLM4_STALE_FH : NLM4_FAILED)
  }
  try {
    return await locateIn(context, served, grant, handle)
  } finally {
    served.member.release()
  }
}

async function locateIn(context: NlmContext, served: ServedView, grant: Grant, handle: WireHandle): Promise<Located> {
  try {
    const inode = await served.overlay.inodeByKey(handle.key, handle.generation)
    if (!context.handles.authentic(handle)) return refuse(NLM4_FAILED)
    if (inode.type !== FileType.regular || !(await mayLock(served, grant, inode))) return refuse(NLM4_FAILED)
    return { file: lockKeyOf(handle, handle), status: NLM4_GRANTED }
  } catch (error) {
    if (!isErrno(error)) throw error
    return refuse(error.code === 'ESTALE' ? NLM4_STALE_FH : NLM4_FAILED)
  }
}

/** The file of a lock to release, which must work for a removed file too. */
export function locateAnyway(context: NlmContext, handle: WireHandle): Located {
  const known = handle.wellFormed && context.handles.authentic(handle)
  return known ? { file: lockKeyOf(handle, handle), status: NLM4_GRANTED } : { file: '', status: NLM4_STALE_FH }
}

async function mayLock({ overlay }: ServedView, { cred }: Grant, inode: Inode): Promise<boolean> {
  if ((await overlay.access(cred, inode, Access.read | Access.write)) !== 0) return true
  return (await overlay.getattr(inode)).uid === cred.uid
}

function refuse(status: number): Located {
  return { file: '', status }
}
