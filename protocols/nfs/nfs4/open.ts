import type { OpenFile } from '../../../overlay-core/index.ts'
import { lockKeyOf } from '../exports/file-handle.ts'
import type { Nfs4Call, Target } from './nfs4-call.ts'
import {
  attributesSet,
  CLAIM_FH,
  CLAIM_NULL,
  CLAIM_PREVIOUS,
  type OpenArguments,
  readOpenArguments,
  WANT_DELEG_MASK,
  WANT_NO_DELEG,
} from './open-arguments.ts'
import { type Found, findOrCreate, mustAllow, mustBeRegular, SERVER_CRED } from './open-file.ts'
import type { Operation } from './operation.ts'
import { clientNamed, isAgain } from './sequenced.ts'
import type { Nfs4Client } from './state/client.ts'
import type { OpenState } from './state/open-state.ts'
import { Bitmap } from './wire/bitmap.ts'
import { SHARE_WRITE } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** Byte-range locks are as in POSIX. */
const RESULT_LOCKTYPE_POSIX = 4
/** The client must send OPEN_CONFIRM (4.0). */
const RESULT_CONFIRM = 2

/** `open_delegation_type4`, and why there is none. */
const OPEN_DELEGATE_NONE = 0
const OPEN_DELEGATE_NONE_EXT = 3
const WND4_NOT_WANTED = 0
const WND4_NOT_SUPP_FTYPE = 3

/** OPEN: opens a regular file, and creates it if asked to. RFC 8881 section 18.16. */
export const open: Operation = {
  name: 'OPEN',
  async run(call) {
    const args = readOpenArguments(call)
    const client = clientNamed(call, args.clientHi, args.clientLo)
    if (call.minor === 0 && isOpenAgain(call, client, args)) return
    checkGrace(call, client, args)
    if (args.claim === CLAIM_NULL) {
      const dir = call.directoryToOpen()
      const found = await findOrCreate(call, dir, args.name, args.create)
      await openFound(call, client, args, { ...dir, inode: found.inode }, found)
      return
    }
    if (args.claim !== CLAIM_FH && args.claim !== CLAIM_PREVIOUS) throw new Nfs4Error(STATUS.BAD_STATEID)
    if (args.create !== undefined) throw new Nfs4Error(STATUS.INVAL)
    const file = call.object(call.current, STATUS.ISDIR)
    await openFound(call, client, args, { ...file, inode: file.inode }, { inode: file.inode, created: false, info: {} })
  },
}

/** Gives the OPEN its place in the order of its owner, in 4.0. True if it was sent again: then the file is the current one again. */
function isOpenAgain(call: Nfs4Call, client: Nfs4Client, { owner: name, seqid }: OpenArguments): boolean {
  const { states } = call.context
  const owner = states.owner(client, name)
  const { sequence } = owner
  if (isAgain(call, sequence, seqid, !sequence.confirmed)) {
    const file = sequence.file === undefined ? undefined : states.openFile(sequence.file)
    const { served, grant } = call.current
    if (call.status === STATUS.OK && file && served && grant) call.current.setObject(served, file, grant)
    return true
  }
  // An owner that has not confirmed its first OPEN begins anew.
  if (!sequence.confirmed) for (const state of [...owner.opens.values()]) states.close(state)
  return false
}

/** @throws Nfs4Error GRACE · NO_GRACE */
function checkGrace({ context, minor }: Nfs4Call, client: Nfs4Client, { claim }: OpenArguments): void {
  if (claim === CLAIM_PREVIOUS) {
    if (!context.reclaims.may(client)) throw new Nfs4Error(STATUS.NO_GRACE)
    return
  }
  // A client must first say that it has nothing to reclaim (section 18.51.3).
  if (context.grace.active || (minor > 0 && !client.reclaimComplete)) throw new Nfs4Error(STATUS.GRACE)
}

async function openFound(
  call: Nfs4Call,
  client: Nfs4Client,
  args: OpenArguments,
  target: Target,
  found: Found,
): Promise<void> {
  const { served, inode } = target
  const { states } = call.context
  const { access, deny, create } = args
  mustBeRegular(call, inode)
  if (!found.created) await mustAllow(target, access)
  else if (target.grant.readOnly) throw new Nfs4Error(STATUS.ROFS)
  call.needRoom(client)
  const file = lockKeyOf(served, inode)
  const place = { view: served, inode, file }
  const holds = states.mayHold(client, file)
  const handle = holds ? await served.overlay.open(SERVER_CRED, inode, { read: true }) : undefined
  // It may have ended meanwhile: then nobody would ever close the file.
  if (call.context.clients.byId(client.idHi, client.idLo) !== client) {
    handle?.close()
    throw new Nfs4Error(call.minor === 0 ? STATUS.EXPIRED : STATUS.DEADSESSION)
  }
  const state = states.open(states.owner(client, args.owner), place, { access, deny }, handle)
  if (state === undefined) refuseShare(handle)
  const truncates = !found.created && create?.settable.change.size === 0
  if (truncates) await truncate(call, target)
  if (found.created) call.keep(target, call.current.inode!, inode)
  call.current.setObject(served, inode, target.grant)
  answer(call, state, found, args)
}

function refuseShare(handle: OpenFile | undefined): never {
  handle?.close()
  throw new Nfs4Error(STATUS.SHARE_DENIED)
}

/** As with O_TRUNC: only the size applies to an existing file. */
async function truncate(call: Nfs4Call, target: Target): Promise<void> {
  const { served, inode, grant } = target
  await mustAllow(target, SHARE_WRITE)
  await served.overlay.setattr(grant.cred, inode, { size: 0 })
  call.keep(target, inode)
}

function answer(call: Nfs4Call, state: OpenState, { info, created }: Found, { create, wants }: OpenArguments): void {
  const { out, currentStateid } = call
  state.name(currentStateid)
  currentStateid.write(out)
  call.encodeChange(info)
  const { sequence } = state.owner
  sequence.file = state.file
  out.u32(call.minor === 0 && !sequence.confirmed ? RESULT_LOCKTYPE_POSIX | RESULT_CONFIRM : RESULT_LOCKTYPE_POSIX)
  const set = created && create !== undefined ? attributesSet(create) : new Bitmap()
  set.write(out)
  if ((wants & WANT_DELEG_MASK) === 0) {
    out.u32(OPEN_DELEGATE_NONE)
    return
  }
  out.u32(OPEN_DELEGATE_NONE_EXT)
  out.u32((wants & WANT_DELEG_MASK) === WANT_NO_DELEG ? WND4_NOT_WANTED : WND4_NOT_SUPP_FTYPE)
}
