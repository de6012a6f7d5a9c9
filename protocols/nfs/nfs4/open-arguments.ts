import type { AttrChange } from '../../../overlay-core/index.ts'
import { decodeSettable, type Settable } from './decode-attributes.ts'
import { EXCLUSIVE_CREATE } from './encode-attributes.ts'
import type { Nfs4Call } from './nfs4-call.ts'
import { ATTR } from './wire/attributes.ts'
import { Bitmap } from './wire/bitmap.ts'
import { OPAQUE_LIMIT, SHARE_BOTH } from './wire/constants.ts'
import { Stateid } from './wire/stateid.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

/** `createmode4`. */
export const UNCHECKED = 0
export const GUARDED = 1
export const EXCLUSIVE = 2
export const EXCLUSIVE_1 = 3

/** `open_claim_type4`. */
export const CLAIM_NULL = 0
export const CLAIM_PREVIOUS = 1
export const CLAIM_DELEGATE_CUR = 2
export const CLAIM_DELEGATE_PREV = 3
export const CLAIM_FH = 4
export const CLAIM_DELEG_CUR_FH = 5
export const CLAIM_DELEG_PREV_FH = 6

/** Bits of `share_access` with wishes about delegations (RFC 8881 section 18.16). */
const WANT_MASK = 0x3_ff00
export const WANT_DELEG_MASK = 0xff00
export const WANT_NO_DELEG = 0x0400

/** Masked out of a verifier's halves, because not every file system can store times with this bit (as in the Linux server). */
const SECONDS_MASK = 0x7fff_ffff

/** How a missing file is created. */
export interface CreateHow {
  readonly mode: number
  readonly settable: Settable
  /** The verifier of an exclusive create, as the times that keep it. */
  readonly times: AttrChange | undefined
}

/** The arguments of OPEN. */
export interface OpenArguments {
  readonly seqid: number
  readonly access: number
  readonly deny: number
  readonly wants: number
  readonly clientHi: number
  readonly clientLo: number
  readonly owner: string
  readonly create: CreateHow | undefined
  readonly claim: number
  readonly name: string
  readonly stateid: Stateid | undefined
}

/** Reads the arguments of OPEN. @throws XdrError · Nfs4Error */
export function readOpenArguments(call: Nfs4Call): OpenArguments {
  const { args } = call
  const seqid = args.u32()
  const shareAccess = args.u32()
  const deny = args.u32()
  const clientHi = args.u32()
  const clientLo = args.u32()
  const owner = args.string(OPAQUE_LIMIT)
  const create = args.enumUpTo(1) === 1 ? readCreate(call) : undefined
  const claim = args.enumUpTo(call.minor === 0 ? CLAIM_DELEGATE_PREV : CLAIM_DELEG_PREV_FH)
  let name = ''
  let stateid: Stateid | undefined
  if (claim === CLAIM_PREVIOUS) args.u32()
  if (claim === CLAIM_DELEGATE_CUR || claim === CLAIM_DELEG_CUR_FH) stateid = new Stateid().read(args)
  if (claim === CLAIM_NULL || claim === CLAIM_DELEGATE_CUR || claim === CLAIM_DELEGATE_PREV) name = call.readName()
  const access = shareAccess & SHARE_BOTH
  const wants = shareAccess & WANT_MASK
  if (access === 0 || shareAccess & ~(SHARE_BOTH | (call.minor === 0 ? 0 : WANT_MASK)) || deny & ~SHARE_BOTH) {
    throw new Nfs4Error(STATUS.INVAL)
  }
  return { seqid, access, deny, wants, clientHi, clientLo, owner, create, claim, name, stateid }
}

function readCreate(call: Nfs4Call): CreateHow {
  const { args } = call
  const mode = args.enumUpTo(call.minor === 0 ? EXCLUSIVE : EXCLUSIVE_1)
  if (mode === UNCHECKED || mode === GUARDED) return { mode, settable: decodeSettable(args), times: undefined }
  const first = args.u32()
  const second = args.u32()
  const times = { atime: { sec: first & SECONDS_MASK, nsec: 0 }, mtime: { sec: second & SECONDS_MASK, nsec: 0 } }
  if (mode === EXCLUSIVE) return { mode, settable: { mask: new Bitmap(), change: {} }, times }
  const settable = decodeSettable(args)
  if (settable.mask.exceeds(EXCLUSIVE_CREATE)) throw new Nfs4Error(STATUS.INVAL)
  return { mode, settable, times }
}

/** The attributes that a create has set, times that keep a verifier included: the client sets those anew. */
export function attributesSet({ settable, times }: CreateHow): Bitmap {
  const mask = new Bitmap()
  mask.set(settable.mask)
  if (times !== undefined) {
    mask.add(ATTR.TIME_ACCESS)
    mask.add(ATTR.TIME_MODIFY)
  }
  return mask
}
