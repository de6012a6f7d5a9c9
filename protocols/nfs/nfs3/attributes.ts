import {
  type Attr,
  type AttrChange,
  type ChangeInfo,
  FileType,
  type Inode,
  type SetTime,
} from '../../../overlay-core/index.ts'
import type { ServedView } from '../exports/served-view.ts'
import type { Decoder } from '../xdr/decoder.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { XdrError } from '../xdr/xdr-error.ts'
import { NF3BLK, NF3CHR, NF3DIR, NF3FIFO, NF3LNK, NF3REG, NF3SOCK } from './constants.ts'
import type { Nfs3Call } from './nfs3-call.ts'
import { NFS3ERR_FBIG, NFS3ERR_INVAL, Nfs3Error } from './status.ts'

const FATTR3_BYTES = 84
/** A `pre_op_attr` that is present: a bool and a `wcc_attr`. */
const PRE_OP_ATTR_BYTES = 28
const TWO_32 = 0x1_0000_0000
const MODE_BITS = 0o7777
const NO_ID = 0xffff_ffff
/** `stat.st_blocks` counts in these. */
const BLOCK_BYTES = 512

/** `time_how`. */
const DONT_CHANGE = 0
const SET_TO_SERVER_TIME = 1
const SET_TO_CLIENT_TIME = 2

/** The `ftype3` of each file type. */
export const FTYPE3 = {
  [FileType.regular]: NF3REG,
  [FileType.directory]: NF3DIR,
  [FileType.block]: NF3BLK,
  [FileType.character]: NF3CHR,
  [FileType.symlink]: NF3LNK,
  [FileType.socket]: NF3SOCK,
  [FileType.fifo]: NF3FIFO,
} as const satisfies Record<FileType, number>

/** Writes a `fattr3` (RFC 1813 section 2.6). */
export function encodeFattr3(out: Encoder, attr: Attr, served: ServedView): void {
  putFattr3(out.view, out.reserve(FATTR3_BYTES), attr, served)
}

function putFattr3(view: DataView, at: number, attr: Attr, served: ServedView): void {
  const { type } = attr
  const isDevice = type === FileType.block || type === FileType.character
  view.setUint32(at, FTYPE3[type])
  view.setUint32(at + 4, attr.mode)
  view.setUint32(at + 8, attr.nlink)
  view.setUint32(at + 12, attr.uid)
  view.setUint32(at + 16, attr.gid)
  const { size } = attr
  view.setUint32(at + 20, Math.floor(size / TWO_32))
  view.setUint32(at + 24, size)
  const used = attr.blocks * BLOCK_BYTES
  view.setUint32(at + 28, Math.floor(used / TWO_32))
  view.setUint32(at + 32, used)
  view.setUint32(at + 36, isDevice ? attr.rdevMajor : 0)
  view.setUint32(at + 40, isDevice ? attr.rdevMinor : 0)
  view.setUint32(at + 44, served.fsidHi)
  view.setUint32(at + 48, served.fsidLo)
  view.setUint32(at + 52, attr.fileIdHi)
  view.setUint32(at + 56, attr.fileIdLo)
  const { atime, mtime, ctime } = attr
  view.setUint32(at + 60, atime.sec)
  view.setUint32(at + 64, atime.nsec)
  view.setUint32(at + 68, mtime.sec)
  view.setUint32(at + 72, mtime.nsec)
  view.setUint32(at + 76, ctime.sec)
  view.setUint32(at + 80, ctime.nsec)
}

/** Writes a `post_op_attr`; undefined writes an absent one. */
export function encodePostOpAttr(out: Encoder, attr: Attr | undefined, served: ServedView): void {
  if (attr === undefined) {
    out.bool(false)
    return
  }
  const at = out.reserve(4 + FATTR3_BYTES)
  out.view.setUint32(at, 1)
  putFattr3(out.view, at + 4, attr, served)
}

/** Writes the change info of the core as `wcc_data` (RFC 1813 section 2.6). */
export function encodeWccData(out: Encoder, wcc: ChangeInfo | undefined, served: ServedView): void {
  const before = wcc?.before
  if (before === undefined) out.bool(false)
  else putPreOpAttr(out.view, out.reserve(PRE_OP_ATTR_BYTES), before)
  encodePostOpAttr(out, wcc?.after, served)
}

function putPreOpAttr(view: DataView, at: number, { size, mtime, ctime }: Attr): void {
  view.setUint32(at, 1)
  view.setUint32(at + 4, Math.floor(size / TWO_32))
  view.setUint32(at + 8, size)
  view.setUint32(at + 12, mtime.sec)
  view.setUint32(at + 16, mtime.nsec)
  view.setUint32(at + 20, ctime.sec)
  view.setUint32(at + 24, ctime.nsec)
}

/** Writes the file handle of `inode` as an `nfs_fh3`. */
export function encodeHandle(out: Encoder, call: Nfs3Call, inode: Inode): void {
  const { context, served } = call
  if (served.overlay.retain(inode)) call.givesHandle = true
  context.handles.write(out, served, inode)
}

/** Writes the `post_op_fh3` and `post_op_attr` of a new object. */
export function encodeNewObject(out: Encoder, call: Nfs3Call, inode: Inode, attr: Attr): void {
  out.bool(true)
  encodeHandle(out, call, inode)
  encodePostOpAttr(out, attr, call.served)
}

/** A `sattr3` from the wire: well-formed, but its values are not checked yet. */
export interface Sattr3 {
  readonly mode: number | undefined
  readonly uid: number | undefined
  readonly gid: number | undefined
  /** NaN if beyond 2^53-1. */
  readonly size: number | undefined
  readonly atime: SetTime | undefined
  readonly mtime: SetTime | undefined
}

/** Reads a `sattr3` (RFC 1813 section 2.6). @throws XdrError */
export function decodeSattr3(args: Decoder): Sattr3 {
  return {
    mode: args.bool() ? args.u32() : undefined,
    uid: args.bool() ? args.u32() : undefined,
    gid: args.bool() ? args.u32() : undefined,
    size: args.bool() ? (args.safeU64() ?? Number.NaN) : undefined,
    atime: decodeSetTime(args),
    mtime: decodeSetTime(args),
  }
}

/**
 * Converts a `sattr3` to the core's form.
 *
 * @throws Nfs3Error NFS3ERR_INVAL owner or group -1, or 10^9 nanoseconds or more · NFS3ERR_FBIG a size beyond 2^53-1
 */
export function attrChange(sattr: Sattr3): AttrChange {
  const { mode, uid, gid, size, atime, mtime } = sattr
  if (uid === NO_ID || gid === NO_ID || !validTime(atime) || !validTime(mtime)) throw new Nfs3Error(NFS3ERR_INVAL)
  if (Number.isNaN(size)) throw new Nfs3Error(NFS3ERR_FBIG)
  return {
    ...(mode === undefined ? {} : { mode: mode & MODE_BITS }),
    ...(uid === undefined ? {} : { uid }),
    ...(gid === undefined ? {} : { gid }),
    ...(size === undefined ? {} : { size }),
    ...(atime === undefined ? {} : { atime }),
    ...(mtime === undefined ? {} : { mtime }),
  }
}

function decodeSetTime(args: Decoder): SetTime | undefined {
  switch (args.u32()) {
    case DONT_CHANGE:
      return undefined
    case SET_TO_SERVER_TIME:
      return 'now'
    case SET_TO_CLIENT_TIME:
      return { sec: args.u32(), nsec: args.u32() }
    default:
      throw new XdrError('not a time_how')
  }
}

function validTime(time: SetTime | undefined): boolean {
  return time === undefined || time === 'now' || time.nsec < 1e9
}
