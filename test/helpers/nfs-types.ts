import type { XdrReader, XdrWriter } from './rpc-client.ts'

export type Handle = Buffer

export interface NfsTime {
  readonly sec: number
  readonly nsec: number
}

export interface Fattr {
  readonly type: number
  readonly mode: number
  readonly nlink: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly used: number
  readonly rdev: readonly [number, number]
  readonly fsid: bigint
  readonly fileid: bigint
  readonly atime: NfsTime
  readonly mtime: NfsTime
  readonly ctime: NfsTime
}

export interface WccData {
  readonly before: { size: number; mtime: NfsTime; ctime: NfsTime } | undefined
  readonly after: Fattr | undefined
}

/** New attributes; absent ones stay. */
export interface NewAttr {
  readonly mode?: number
  readonly uid?: number
  readonly gid?: number
  readonly size?: number | bigint
  readonly atime?: NfsTime | 'now'
  readonly mtime?: NfsTime | 'now'
}

/** Writes a `sattr3`. */
export function sattr(writer: XdrWriter, attr: NewAttr): XdrWriter {
  writer.optional(attr.mode, (mode) => writer.u32(mode))
  writer.optional(attr.uid, (uid) => writer.u32(uid))
  writer.optional(attr.gid, (gid) => writer.u32(gid))
  writer.optional(attr.size, (size) => writer.u64(size))
  for (const time of [attr.atime, attr.mtime]) {
    if (time === undefined) writer.u32(0)
    else if (time === 'now') writer.u32(1)
    else writer.u32(2).u32(time.sec).u32(time.nsec)
  }
  return writer
}

function time(reader: XdrReader): NfsTime {
  return { sec: reader.u32(), nsec: reader.u32() }
}

/** Reads a `fattr3`. */
export function fattr(reader: XdrReader): Fattr {
  return {
    type: reader.u32(),
    mode: reader.u32(),
    nlink: reader.u32(),
    uid: reader.u32(),
    gid: reader.u32(),
    size: Number(reader.u64()),
    used: Number(reader.u64()),
    rdev: [reader.u32(), reader.u32()],
    fsid: reader.u64(),
    fileid: reader.u64(),
    atime: time(reader),
    mtime: time(reader),
    ctime: time(reader),
  }
}

/** Reads a `post_op_attr`. */
export function postOp(reader: XdrReader): Fattr | undefined {
  return reader.optional(() => fattr(reader))
}

/** Reads a `wcc_data`. */
export function wccData(reader: XdrReader): WccData {
  const before = reader.optional(() => ({ size: Number(reader.u64()), mtime: time(reader), ctime: time(reader) }))
  return { before, after: postOp(reader) }
}
