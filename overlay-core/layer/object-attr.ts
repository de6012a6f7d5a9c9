import type { Attr, FileType, Ownership, Time } from '../api/types.ts'
import type { Stat } from '../sys/stat.ts'
import type { AccessAcl } from './acl.ts'

/**
 * Attributes for permission checks. `attrFor` (objects/inode.ts) makes sure that they contain the ACL whenever it matters to the caller.
 */
export interface CheckedAttr extends Attr {
  /** The part of the access ACL beyond the mode; undefined if there is none, or if it cannot matter. */
  readonly acl: AccessAcl | undefined
}

/** Attributes that do not come, or do not only come, from the real object. */
export interface AttrSource extends Ownership {
  readonly nlink: number
  readonly rdevMajor: number
  readonly rdevMinor: number
  readonly ctime: Time
  readonly acl: AccessAcl | undefined
}

/** The object that attributes belong to, and its constant attributes. */
export interface Subject {
  readonly type: FileType
  readonly fileIdHi: number
  readonly fileIdLo: number
}

const MINORS = 2 ** 20

/**
 * The attributes cached for an object. They are stored as plain numbers, because times as objects would need more memory than everything else.
 * Readers see an ordinary `Attr`.
 */
export class ObjectAttr implements CheckedAttr {
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly blocks: number
  readonly acl: AccessAcl | undefined
  readonly #of: Subject
  readonly #rdev: number
  readonly #atimeSec: number
  readonly #atimeNsec: number
  readonly #mtimeSec: number
  readonly #mtimeNsec: number
  readonly #ctimeSec: number
  readonly #ctimeNsec: number
  readonly #btimeSec: number
  /** -1 if the file system stores no creation time. */
  readonly #btimeNsec: number

  constructor(of: Subject, { size, blocks, atime, mtime, btime }: Stat, source: AttrSource) {
    this.mode = source.mode
    this.nlink = source.nlink
    this.uid = source.uid
    this.gid = source.gid
    this.size = size
    this.blocks = blocks
    this.acl = source.acl
    this.#of = of
    this.#rdev = source.rdevMajor * MINORS + source.rdevMinor
    this.#atimeSec = atime.sec
    this.#atimeNsec = atime.nsec
    this.#mtimeSec = mtime.sec
    this.#mtimeNsec = mtime.nsec
    this.#ctimeSec = source.ctime.sec
    this.#ctimeNsec = source.ctime.nsec
    this.#btimeSec = btime?.sec ?? 0
    this.#btimeNsec = btime?.nsec ?? -1
  }

  get type(): FileType {
    return this.#of.type
  }

  get fileIdHi(): number {
    return this.#of.fileIdHi
  }

  get fileIdLo(): number {
    return this.#of.fileIdLo
  }

  get rdevMajor(): number {
    return Math.floor(this.#rdev / MINORS)
  }

  get rdevMinor(): number {
    return this.#rdev % MINORS
  }

  get atime(): Time {
    return { sec: this.#atimeSec, nsec: this.#atimeNsec }
  }

  get mtime(): Time {
    return { sec: this.#mtimeSec, nsec: this.#mtimeNsec }
  }

  get ctime(): Time {
    return { sec: this.#ctimeSec, nsec: this.#ctimeNsec }
  }

  get btime(): Time | undefined {
    return this.#btimeNsec < 0 ? undefined : { sec: this.#btimeSec, nsec: this.#btimeNsec }
  }
}

/** Returns a copy with its own fields, which the caller may change. */
export function ownAttr(attr: CheckedAttr): CheckedAttr {
  const { type, mode, nlink, uid, gid, size, blocks, rdevMajor, rdevMinor, fileIdHi, fileIdLo } = attr
  const { atime, mtime, ctime, btime, acl } = attr
  const numbers = { type, mode, nlink, uid, gid, size, blocks, rdevMajor, rdevMinor, fileIdHi, fileIdLo }
  return { ...numbers, atime, mtime, ctime, btime, acl }
}
