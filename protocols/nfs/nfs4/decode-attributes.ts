import type { AttrChange, SetTime } from '../../../overlay-core/index.ts'
import type { Decoder } from '../xdr/decoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { SUPPORTED } from './encode-attributes.ts'
import { ATTR } from './wire/attributes.ts'
import { Bitmap } from './wire/bitmap.ts'
import { OPAQUE_LIMIT } from './wire/constants.ts'
import { Nfs4Error, STATUS } from './wire/status.ts'

const SETTABLE = Bitmap.of(
  ...[ATTR.SIZE, ATTR.MODE, ATTR.OWNER, ATTR.OWNER_GROUP, ATTR.TIME_ACCESS_SET, ATTR.TIME_MODIFY_SET, ATTR.MODE_UMASK],
)
const MODE_BITS = 0o7777
const UMASK_BITS = 0o777
const MAX_ID = 0xffff_fffe
const MAX_SECONDS_HI = 0x1f_ffff
const TWO_32 = 0x1_0000_0000
/** `time_how4`. */
const SET_TO_CLIENT_TIME4 = 1

/** Attributes to set, and which they are. */
export interface Settable {
  readonly mask: Bitmap
  readonly change: AttrChange
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/**
 * Reads a `fattr4` of attributes to set.
 *
 * @throws XdrError · Nfs4Error ATTRNOTSUPP unknown attributes · INVAL one that cannot be set, or a wrong value · BADOWNER · FBIG
 */
export function decodeSettable(args: Decoder): Settable {
  const mask = new Bitmap().read(args)
  const at = args.pos + 4
  const length = args.takeOpaque(64 * 1024)
  const next = args.pos
  if (mask.exceeds(SUPPORTED)) throw new Nfs4Error(STATUS.ATTRNOTSUPP)
  if (mask.exceeds(SETTABLE)) throw new Nfs4Error(STATUS.INVAL)
  const { end } = args
  args.pos = at
  args.end = at + length
  try {
    const change = decodeValues(args, mask)
    if (args.pos !== args.end) throw new XdrError('attributes of another length')
    return { mask, change }
  } finally {
    args.end = end
    args.pos = next
  }
}

function decodeValues(args: Decoder, mask: Bitmap): AttrChange {
  const change: Mutable<AttrChange> = {}
  if (mask.has(ATTR.SIZE)) {
    const size = args.safeU64()
    if (size === undefined) throw new Nfs4Error(STATUS.FBIG)
    change.size = size
  }
  if (mask.has(ATTR.MODE)) change.mode = modeOf(args.u32())
  if (mask.has(ATTR.OWNER)) change.uid = idOf(args.string(OPAQUE_LIMIT))
  if (mask.has(ATTR.OWNER_GROUP)) change.gid = idOf(args.string(OPAQUE_LIMIT))
  if (mask.has(ATTR.TIME_ACCESS_SET)) change.atime = decodeSetTime(args)
  if (mask.has(ATTR.TIME_MODIFY_SET)) change.mtime = decodeSetTime(args)
  if (mask.has(ATTR.MODE_UMASK)) {
    // Two ways to say the same.
    if (mask.has(ATTR.MODE)) throw new Nfs4Error(STATUS.INVAL)
    const mode = modeOf(args.u32())
    change.mode = mode & ~(args.u32() & UMASK_BITS)
  }
  return change
}

function modeOf(mode: number): number {
  if (mode > MODE_BITS) throw new Nfs4Error(STATUS.INVAL)
  return mode
}

/** A user or group as its number in decimal digits, as all clients send it with AUTH_SYS (RFC 8881 section 5.9). */
function idOf(text: string): number {
  const id = /^(0|[1-9]\d{0,9})$/.test(text) ? Number(text) : Number.NaN
  if (!(id <= MAX_ID)) throw new Nfs4Error(STATUS.BADOWNER)
  return id
}

function decodeSetTime(args: Decoder): SetTime {
  const how = args.enumUpTo(SET_TO_CLIENT_TIME4)
  if (how !== SET_TO_CLIENT_TIME4) return 'now'
  const hi = args.u32() | 0
  const lo = args.u32()
  const nsec = args.u32()
  if (nsec >= 1e9 || Math.abs(hi) > MAX_SECONDS_HI) throw new Nfs4Error(STATUS.INVAL)
  return { sec: hi * TWO_32 + lo, nsec }
}
