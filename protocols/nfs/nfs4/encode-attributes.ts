import { type Attr, FileType, type Inode, type StatFs, type Time } from '../../../overlay-core/index.ts'
import type { HandleCodec } from '../exports/file-handle.ts'
import type { ServedView } from '../exports/served-view.ts'
import type { Encoder } from '../xdr/encoder.ts'
import { changeOf, junctionOf } from './file-ref.ts'
import { ROOT_OBJECT, ROOT_VIEW } from './pseudo-root.ts'
import { ATTR } from './wire/attributes.ts'
import { Bitmap } from './wire/bitmap.ts'
import {
  LEASE_SECONDS,
  MAX_TRANSFER_BYTES,
  NAME_MAX,
  NF4BLK,
  NF4CHR,
  NF4DIR,
  NF4FIFO,
  NF4LNK,
  NF4REG,
  NF4SOCK,
} from './wire/constants.ts'

const BLOCK_BYTES = 512
const MAX_LINKS = 32_000
const TWO_32 = 0x1_0000_0000

/** The attributes that this server has. */
export const SUPPORTED = Bitmap.of(
  ...Object.values(ATTR).filter((attribute) => attribute !== ATTR.ACL && attribute !== ATTR.ACLSUPPORT),
)
/** Those of them that 4.0 has. */
const SUPPORTED_BY_40 = new Bitmap()
SUPPORTED_BY_40.set(SUPPORTED)
for (const later of [ATTR.SUPPATTR_EXCLCREAT, ATTR.MODE_UMASK, ATTR.XATTR_SUPPORT]) SUPPORTED_BY_40.delete(later)
/** Those that OPEN can set with an exclusive create: not the times, which keep the verifier. */
export const EXCLUSIVE_CREATE = Bitmap.of(...[ATTR.SIZE, ATTR.MODE, ATTR.OWNER, ATTR.OWNER_GROUP, ATTR.MODE_UMASK])
/** Those that cannot be read. */
const WRITE_ONLY = Bitmap.of(ATTR.TIME_ACCESS_SET, ATTR.TIME_MODIFY_SET, ATTR.MODE_UMASK)
/** Those that are told with numbers of the file system. */
const OF_FILE_SYSTEM = Bitmap.of(
  ...[ATTR.FILES_AVAIL, ATTR.FILES_FREE, ATTR.FILES_TOTAL, ATTR.SPACE_AVAIL, ATTR.SPACE_FREE, ATTR.SPACE_TOTAL],
)

/** The `nfs_ftype4` of each file type. */
export const FTYPE4 = {
  [FileType.regular]: NF4REG,
  [FileType.directory]: NF4DIR,
  [FileType.block]: NF4BLK,
  [FileType.character]: NF4CHR,
  [FileType.symlink]: NF4LNK,
  [FileType.socket]: NF4SOCK,
  [FileType.fifo]: NF4FIFO,
} as const satisfies Record<FileType, number>

/** An object whose attributes are told; without `served` and `inode` it is the pseudo-root. */
export interface Described {
  readonly attr: Attr
  readonly served: ServedView | undefined
  readonly inode: Inode | undefined
  /** Set if the mask `needsStatFs`. */
  readonly statfs: StatFs | undefined
  readonly handles: HandleCodec
  readonly minor: number
}

/** Whether attributes of `mask` need `statfs`. */
export function needsStatFs({ words }: Bitmap): boolean {
  return ((words[0]! & OF_FILE_SYSTEM.words[0]!) | (words[1]! & OF_FILE_SYSTEM.words[1]!)) !== 0
}

/** Whether `mask` has an attribute that can only be set. */
export function asksForWriteOnly({ words }: Bitmap): boolean {
  return ((words[1]! & WRITE_ONLY.words[1]!) | (words[2]! & WRITE_ONLY.words[2]!)) !== 0
}

/** The room that `encodeFattr4` takes at most. */
export const FATTR4_BYTES = 768

const told = new Bitmap()

/** Writes the attributes of `asked` that exist as a `fattr4` (RFC 8881 section 3.3.10). */
export function encodeFattr4(out: Encoder, asked: Bitmap, what: Described): void {
  told.set(asked)
  told.keep(SUPPORTED)
  if (what.attr.btime === undefined) told.delete(ATTR.TIME_CREATE)
  if (what.statfs === undefined) for (let i = 0; i < 3; i++) told.words[i]! &= ~OF_FILE_SYSTEM.words[i]!
  told.write(out)
  const lengthAt = out.reserve(4)
  for (let word = 0; word < 3; word++) {
    for (let bits = told.words[word]!; bits !== 0; bits &= bits - 1) {
      encodeOne(out, word * 32 + 31 - Math.clz32(bits & -bits), what)
    }
  }
  out.view.setUint32(lengthAt, out.pos - lengthAt - 4)
}

/** Writes what is known of an object whose attributes cannot be had: why, and the ids of its name. */
export function encodeAttrError(out: Encoder, asked: Bitmap, status: number, id: { hi: number; lo: number }): void {
  const mask = Bitmap.of(ATTR.RDATTR_ERROR)
  if (asked.has(ATTR.MOUNTED_ON_FILEID)) mask.add(ATTR.MOUNTED_ON_FILEID)
  mask.write(out)
  const lengthAt = out.reserve(4)
  out.u32(status)
  if (asked.has(ATTR.MOUNTED_ON_FILEID)) out.u64(id.hi, id.lo)
  out.view.setUint32(lengthAt, out.pos - lengthAt - 4)
}

function encodeOne(out: Encoder, attribute: number, what: Described): void {
  if (!encodeOfObject(out, attribute, what) && !encodeOfFileSystem(out, attribute, what)) {
    if (attribute === ATTR.SUPPORTED_ATTRS) (what.minor === 0 ? SUPPORTED_BY_40 : SUPPORTED).write(out)
    else encodeFixed(out, attribute)
  }
}

/** Attributes that differ from object to object. */
function encodeOfObject(out: Encoder, attribute: number, what: Described): boolean {
  const { attr } = what
  switch (attribute) {
    case ATTR.TYPE:
      out.u32(FTYPE4[attr.type])
      return true
    case ATTR.CHANGE: {
      const { hi, lo } = changeOf(attr)
      out.u64(hi, lo)
      return true
    }
    case ATTR.SIZE:
      out.safeU64(attr.size)
      return true
    case ATTR.FSID:
      out.u64(what.served?.fsidHi ?? 0, what.served?.fsidLo ?? 0)
      out.u64(0, 0)
      return true
    case ATTR.FILEHANDLE:
      if (what.served === undefined || what.inode === undefined) what.handles.write(out, ROOT_VIEW, ROOT_OBJECT)
      else what.handles.write(out, what.served, what.inode)
      return true
    case ATTR.FILEID:
      out.u64(attr.fileIdHi, attr.fileIdLo)
      return true
    case ATTR.MODE:
      out.u32(attr.mode)
      return true
    case ATTR.NUMLINKS:
      out.u32(attr.nlink)
      return true
    case ATTR.OWNER:
      out.string(String(attr.uid))
      return true
    case ATTR.OWNER_GROUP:
      out.string(String(attr.gid))
      return true
    case ATTR.SPACE_USED:
      out.safeU64(attr.blocks * BLOCK_BYTES)
      return true
    default:
      return encodeTimesAndNumbers(out, attribute, what)
  }
}

function encodeTimesAndNumbers(out: Encoder, attribute: number, { attr, served, inode }: Described): boolean {
  switch (attribute) {
    case ATTR.RAWDEV: {
      const isDevice = attr.type === FileType.block || attr.type === FileType.character
      out.u32(isDevice ? attr.rdevMajor : 0)
      out.u32(isDevice ? attr.rdevMinor : 0)
      return true
    }
    case ATTR.TIME_ACCESS:
      encodeTime(out, attr.atime)
      return true
    case ATTR.TIME_METADATA:
      encodeTime(out, attr.ctime)
      return true
    case ATTR.TIME_MODIFY:
      encodeTime(out, attr.mtime)
      return true
    case ATTR.TIME_CREATE:
      encodeTime(out, attr.btime!)
      return true
    case ATTR.MOUNTED_ON_FILEID: {
      const junction = served && inode && junctionOf(served, inode)
      out.u64(junction?.hi ?? attr.fileIdHi, junction?.lo ?? attr.fileIdLo)
      return true
    }
    default:
      return false
  }
}

function encodeOfFileSystem(out: Encoder, attribute: number, { statfs }: Described): boolean {
  switch (attribute) {
    case ATTR.FILES_AVAIL:
    case ATTR.FILES_FREE:
      out.safeU64(statfs!.freeFiles)
      return true
    case ATTR.FILES_TOTAL:
      out.safeU64(statfs!.totalFiles)
      return true
    case ATTR.SPACE_AVAIL:
      out.safeU64(statfs!.availableBytes)
      return true
    case ATTR.SPACE_FREE:
      out.safeU64(statfs!.freeBytes)
      return true
    case ATTR.SPACE_TOTAL:
      out.safeU64(statfs!.totalBytes)
      return true
    default:
      return false
  }
}

/** Attributes that are the same for all objects. */
function encodeFixed(out: Encoder, attribute: number): void {
  switch (attribute) {
    case ATTR.SUPPATTR_EXCLCREAT:
      EXCLUSIVE_CREATE.write(out)
      return
    case ATTR.MAXFILESIZE:
      out.safeU64(Number.MAX_SAFE_INTEGER)
      return
    case ATTR.MAXREAD:
    case ATTR.MAXWRITE:
      out.safeU64(MAX_TRANSFER_BYTES)
      return
    case ATTR.TIME_DELTA:
      out.u64(0, 0)
      out.u32(1)
      return
    default:
      out.u32(FIXED_WORDS[attribute] ?? 0)
  }
}

const FIXED_WORDS: Readonly<Record<number, number>> = {
  // FH4_PERSISTENT
  [ATTR.FH_EXPIRE_TYPE]: 0,
  [ATTR.LINK_SUPPORT]: 1,
  [ATTR.SYMLINK_SUPPORT]: 1,
  [ATTR.NAMED_ATTR]: 0,
  [ATTR.UNIQUE_HANDLES]: 1,
  [ATTR.LEASE_TIME]: LEASE_SECONDS,
  [ATTR.RDATTR_ERROR]: 0,
  [ATTR.CANSETTIME]: 1,
  [ATTR.CASE_INSENSITIVE]: 0,
  [ATTR.CASE_PRESERVING]: 1,
  [ATTR.CHOWN_RESTRICTED]: 1,
  [ATTR.HOMOGENEOUS]: 1,
  [ATTR.MAXLINK]: MAX_LINKS,
  [ATTR.MAXNAME]: NAME_MAX,
  [ATTR.NO_TRUNC]: 1,
  [ATTR.XATTR_SUPPORT]: 1,
}

/** Writes an `nfstime4`: seconds have 64 bits and a sign. */
function encodeTime(out: Encoder, { sec, nsec }: Time): void {
  out.u64(Math.floor(sec / TWO_32), sec)
  out.u32(nsec)
}
