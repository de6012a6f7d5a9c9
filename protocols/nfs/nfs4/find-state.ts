import { lockKeyOf } from '../exports/file-handle.ts'
import { certificateOf } from '../rpc/call.ts'
import type { FileRef } from './file-ref.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import type { LockState, OpenState, State } from './state/open-state.ts'
import { SHARE_WRITE } from './wire/constants.ts'
import type { Stateid } from './wire/stateid.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** The state of a stateid of this run, whatever its version; undefined if there is none, or it belongs to another client. */
export function stateOf(call: Nfs4Call, stateid: Stateid): State | undefined {
  const { context, client } = call
  const state = context.states.find(stateid.serial)
  if (state === undefined || stateid.boot !== state.client.idHi || stateid.client !== state.client.idLo)
    return undefined
  if (client !== undefined) return state.client === client ? state : undefined
  if (state.client.minor > 0 || state.client.certificate !== certificateOf(call.rpc.peer)) return undefined
  // In 4.0 every use of a stateid renews the lease.
  state.client.renewedMs = context.now()
  return state
}

/**
 * The state of a stateid, in its latest version, which is for the object of `ref`.
 *
 * @throws Nfs4Error BAD_STATEID · OLD_STATEID · STALE_STATEID (4.0) of an earlier run
 */
export function currentState(call: Nfs4Call, stateid = call.stateid, ref = call.current): State {
  if (stateid.special === 'current') stateid.set(ref === call.saved ? call.savedStateid : call.currentStateid)
  if (stateid.special !== undefined) throw new Nfs4Error(STATUS.BAD_STATEID)
  const state = stateOf(call, stateid)
  if (state === undefined) {
    const stale = call.minor === 0 && stateid.boot !== call.context.clients.boot
    throw new Nfs4Error(stale ? STATUS.STALE_STATEID : STATUS.BAD_STATEID)
  }
  checkVersion(call, state.seqid, stateid.seqid)
  if (state.revoked) throw new Nfs4Error(STATUS.ADMIN_REVOKED)
  const { inode, served } = ref
  const same = inode === state.inode || (inode?.key === state.inode.key && inode.generation === state.inode.generation)
  if (!same || served !== state.view) throw new Nfs4Error(STATUS.BAD_STATEID)
  return state
}

function checkVersion(call: Nfs4Call, current: number, given: number): void {
  if (given === current || (given === 0 && call.minor > 0)) return
  // Versions go round; half of them are before, half after.
  throw new Nfs4Error((current - given) >>> 0 < 0x8000_0000 ? STATUS.OLD_STATEID : STATUS.BAD_STATEID)
}

/** An open in the current file. @throws Nfs4Error as `currentState` */
export function currentOpen(call: Nfs4Call): OpenState {
  const state = currentState(call)
  if (state.kind !== 'open') throw new Nfs4Error(STATUS.BAD_STATEID)
  return state as OpenState
}

/** The locks of an owner in the current file. @throws Nfs4Error as `currentState` */
export function currentLock(call: Nfs4Call): LockState {
  const state = currentState(call)
  if (state.kind !== 'lock') throw new Nfs4Error(STATUS.BAD_STATEID)
  return state as LockState
}

/**
 * Checks that a stateid allows to read or write (`access`, as in `share_access`) the file of `ref`.
 *
 * @throws Nfs4Error as `currentState` · OPENMODE · LOCKED somebody denies it · GRACE
 */
export function checkAccess(call: Nfs4Call, access: number, stateid = call.stateid, ref = call.current): void {
  if (stateid.special === 'current') stateid.set(ref === call.saved ? call.savedStateid : call.currentStateid)
  const { special } = stateid
  if (special !== undefined) {
    checkAnonymous(call, special, access, ref)
    return
  }
  const state = currentState(call, stateid, ref)
  // Reading a file that is open for writing is allowed, because clients read the rest of a page (section 18.22.3).
  if (access & ~state.access & SHARE_WRITE) throw new Nfs4Error(STATUS.OPENMODE)
}

function checkAnonymous({ context }: Nfs4Call, special: string, access: number, { served, inode }: FileRef): void {
  if (special === 'invalid' || special === 'current') throw new Nfs4Error(STATUS.BAD_STATEID)
  if (context.grace.active) throw new Nfs4Error(STATUS.GRACE)
  // Reading by the stateid of all ones ignores reservations (section 9.1.4.3).
  if (special === 'bypass' && access !== SHARE_WRITE) return
  if (context.shares.denies(lockKeyOf(served!, inode!), access)) throw new Nfs4Error(STATUS.LOCKED)
}
