import { isUtf8 } from 'node:buffer'
import type { ArchiveMember } from './tar.ts'
import { ZipDirectory } from './zip-directory.ts'

const DIRECTORY_BIT = 0x10
const TYPE_BITS = { file: 0o100000, link: 0o100000, directory: 0o040000, symlink: 0o120000 } as const
const LARGE = 0xffffffff
/** Version 4.5, the first with 64-bit sizes, made on Unix, so that modes and symlinks are used. */
const VERSION = 45
const MADE_BY = (3 << 8) | VERSION
const SIZES_FOLLOW = 1 << 3
const NAME_IS_UTF8 = 1 << 11
const DEFLATE = 8
/** Extra fields of the directory: three 64-bit values, and the time. */
const ZIP64_BYTES = 4 + 3 * 8
const TIMESTAMP_BYTES = 9

/** Facts about the data of a member after it was sent. */
export interface ZipData {
  readonly crc: number
  readonly size: number
  readonly packed: number
}

const NOTHING: ZipData = { crc: 0, size: 0, packed: 0 }

/**
 * Writes a zip archive (PKWARE APPNOTE 6.3, with Zip64) sequentially: sizes and checksums follow the data of each member, and the directory of
 * all members is at the end. That directory is kept in memory, about 60 bytes and the path for each member. Close it after use.
 */
export class ZipWriter {
  readonly #directory = new ZipDirectory()
  #offset = 0
  #headerAt = 0

  get count(): number {
    return this.#directory.count
  }

  /** The header of a member, followed by its deflated data, if any, and `end`. */
  begin(member: ArchiveMember): Buffer {
    this.#headerAt = this.#offset
    const name = Buffer.from(member.path, 'latin1')
    const deflated = hasData(member)
    const header = Buffer.alloc(30)
    header.writeUInt32LE(0x04034b50, 0)
    header.writeUInt16LE(VERSION, 4)
    putCommon(header, 6, name, deflated, member)
    // Declares 64-bit sizes, because the size is not known yet.
    const extra = deflated ? zip64([0, 0]) : Buffer.alloc(0)
    if (deflated) header.fill(0xff, 18, 26)
    header.writeUInt16LE(name.length, 26)
    header.writeUInt16LE(extra.length, 28)
    return this.#sent(Buffer.concat([header, name, extra]))
  }

  /** The data descriptor after the present member, whose data took `data.packed` bytes. */
  end(member: ArchiveMember, data: ZipData = NOTHING): Buffer {
    this.#offset += data.packed
    addDirectoryEntry(this.#directory, member, data, this.#headerAt)
    if (!hasData(member)) return Buffer.alloc(0)
    const descriptor = Buffer.alloc(24)
    descriptor.writeUInt32LE(0x08074b50, 0)
    descriptor.writeUInt32LE(data.crc, 4)
    descriptor.writeBigUInt64LE(BigInt(data.packed), 8)
    descriptor.writeBigUInt64LE(BigInt(data.size), 16)
    return this.#sent(descriptor)
  }

  /** The directory of all members at the end of the archive. */
  *finish(): Generator<Buffer> {
    const start = this.#offset
    for (const block of this.#directory.blocks()) yield this.#sent(block)
    const size = this.#offset - start
    const count = this.#directory.count
    const end64 = Buffer.alloc(56 + 20)
    end64.writeUInt32LE(0x06064b50, 0)
    end64.writeBigUInt64LE(44n, 4)
    end64.writeUInt16LE(MADE_BY, 12)
    end64.writeUInt16LE(VERSION, 14)
    end64.writeBigUInt64LE(BigInt(count), 24)
    end64.writeBigUInt64LE(BigInt(count), 32)
    end64.writeBigUInt64LE(BigInt(size), 40)
    end64.writeBigUInt64LE(BigInt(start), 48)
    end64.writeUInt32LE(0x07064b50, 56)
    end64.writeBigUInt64LE(BigInt(start + size), 64)
    end64.writeUInt32LE(1, 72)
    const end = Buffer.alloc(22)
    end.writeUInt32LE(0x06054b50, 0)
    end.writeUInt16LE(Math.min(count, 0xffff), 8)
    end.writeUInt16LE(Math.min(count, 0xffff), 10)
    end.writeUInt32LE(Math.min(size, LARGE), 12)
    end.writeUInt32LE(Math.min(start, LARGE), 16)
    if (count >= 0xffff || size >= LARGE || start >= LARGE) yield end64
    yield end
  }

  /** Releases the directory. */
  close(): void {
    this.#directory.close()
  }

  #sent(bytes: Buffer): Buffer {
    this.#offset += bytes.length
    return bytes
  }
}

/** Whether data follows the header of the member: content, or the target of a symlink. */
export function hasData({ kind }: ArchiveMember): boolean {
  return kind !== 'directory'
}

/** @throws EFBIG */
function addDirectoryEntry(directory: ZipDirectory, member: ArchiveMember, data: ZipData, offset: number): void {
  const large = data.size >= LARGE || data.packed >= LARGE || offset >= LARGE
  const extraBytes = (large ? ZIP64_BYTES : 0) + TIMESTAMP_BYTES
  const nameEnd = 46 + member.path.length
  const entry = directory.next(nameEnd + extraBytes).fill(0)
  const name = entry.subarray(46, nameEnd)
  name.write(member.path, 'latin1')
  entry.writeUInt32LE(0x02014b50, 0)
  entry.writeUInt16LE(MADE_BY, 4)
  entry.writeUInt16LE(VERSION, 6)
  putCommon(entry, 8, name, hasData(member), member)
  entry.writeUInt32LE(data.crc, 16)
  entry.writeUInt32LE(large ? LARGE : data.packed, 20)
  entry.writeUInt32LE(large ? LARGE : data.size, 24)
  entry.writeUInt16LE(name.length, 28)
  entry.writeUInt16LE(extraBytes, 30)
  const mode = TYPE_BITS[member.kind] | (member.attr.mode & 0o777)
  entry.writeUInt32LE(mode * 0x10000 + (member.kind === 'directory' ? DIRECTORY_BIT : 0), 38)
  entry.writeUInt32LE(large ? LARGE : offset, 42)
  if (large) entry.set(zip64([data.size, data.packed, offset]), nameEnd)
  entry.set(timestamp(member), nameEnd + extraBytes - TIMESTAMP_BYTES)
}

/** Flags, method and time, common to the header and the directory. */
function putCommon(out: Buffer, at: number, name: Buffer, deflated: boolean, { attr }: ArchiveMember): void {
  out.writeUInt16LE((deflated ? SIZES_FOLLOW : 0) | (isUtf8(name) ? NAME_IS_UTF8 : 0), at)
  out.writeUInt16LE(deflated ? DEFLATE : 0, at + 2)
  const date = new Date(Math.max(attr.mtime.sec, 315_532_800) * 1000)
  out.writeUInt16LE((date.getUTCHours() << 11) | (date.getUTCMinutes() << 5) | (date.getUTCSeconds() >> 1), at + 4)
  const years = Math.min(date.getUTCFullYear() - 1980, 127)
  out.writeUInt16LE((years << 9) | ((date.getUTCMonth() + 1) << 5) | date.getUTCDate(), at + 6)
}

function zip64(values: readonly number[]): Buffer {
  const extra = Buffer.alloc(4 + 8 * values.length)
  extra.writeUInt16LE(0x0001, 0)
  extra.writeUInt16LE(8 * values.length, 2)
  for (const [i, value] of values.entries()) extra.writeBigUInt64LE(BigInt(value), 4 + 8 * i)
  return extra
}

/** The modification time in seconds since the epoch (Info-ZIP's extra field `UT`), because the standard field has no time zone and a resolution of two seconds. */
function timestamp({ attr }: ArchiveMember): Buffer {
  const extra = Buffer.alloc(TIMESTAMP_BYTES)
  extra.writeUInt16LE(0x5455, 0)
  extra.writeUInt16LE(5, 2)
  extra.writeUInt8(1, 4)
  extra.writeInt32LE(Math.max(Math.min(attr.mtime.sec, 0x7fffffff), -0x80000000), 5)
  return extra
}
