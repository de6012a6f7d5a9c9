import type { Attr } from '../../../overlay-core/index.ts'

/** A member of an archive. */
export interface ArchiveMember {
  /** The path from the top of the archive as bytes, one code unit each; a directory's path ends with a slash. */
  readonly path: string
  readonly attr: Attr
  readonly kind: 'file' | 'directory' | 'symlink' | 'link'
  /** The target of a symlink, or the path of the member that a hard link refers to. */
  readonly target?: string
}

const BLOCK = 512
const LARGEST_OCTAL_SIZE = 0o77777777777
const TYPE_FLAGS = { file: '0', link: '1', symlink: '2', directory: '5' } as const

/** Two empty blocks end an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK)

/** The padding after `size` bytes of content up to the next block. */
export function tarPadding(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)
}

/** The header of a member in the pax interchange format (POSIX.1-2001): values that ustar cannot hold go into an extended header before it. */
export function tarHeader(member: ArchiveMember): Buffer {
  const { path, attr, kind, target = '' } = member
  const records: string[] = []
  const size = kind === 'file' ? attr.size : 0
  if (path.length > 100 || !isAscii(path)) records.push(paxRecord('path', path))
  if (target.length > 100 || !isAscii(target)) records.push(paxRecord('linkpath', target))
  if (size > LARGEST_OCTAL_SIZE) records.push(paxRecord('size', String(size)))
  const { sec, nsec } = attr.mtime
  if (sec < 0 || nsec !== 0) records.push(paxRecord('mtime', decimalTime(sec, nsec)))
  const plain = ustarHeader(path, target, TYPE_FLAGS[kind], owned(attr, size))
  if (records.length === 0) return plain
  const extended = Buffer.from(records.join(''), 'latin1')
  const about = { ...owned(attr, extended.length), mode: 0o644 }
  return Buffer.concat([ustarHeader('pax', '', 'x', about), extended, tarPadding(extended.length), plain])
}

function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text)
}

function decimalTime(sec: number, nsec: number): string {
  if (sec >= 0) return `${sec}.${String(nsec).padStart(9, '0')}`
  // -1.5 is two seconds before the epoch and half a second after that.
  const fraction = nsec === 0 ? 0 : 1e9 - nsec
  return `-${nsec === 0 ? -sec : -sec - 1}.${String(fraction).padStart(9, '0')}`
}

/** A record starts with its own length in decimal, including that number. */
function paxRecord(key: string, value: string): string {
  const rest = ` ${key}=${value}\n`
  let length = rest.length + String(rest.length).length
  if (String(length).length > String(rest.length).length) length = rest.length + String(length).length
  return `${length}${rest}`
}

type HeaderAttr = Pick<Attr, 'mode' | 'uid' | 'gid' | 'size' | 'mtime'>

function owned({ mode, uid, gid, mtime }: Attr, size: number): HeaderAttr {
  return { mode, uid, gid, mtime, size }
}

function ustarHeader(path: string, target: string, type: string, attr: HeaderAttr): Buffer {
  const header = Buffer.alloc(BLOCK)
  header.write(path.slice(0, 100), 0, 'latin1')
  putOctal(header, 100, 8, attr.mode & 0o7777)
  putOctal(header, 108, 8, attr.uid)
  putOctal(header, 116, 8, attr.gid)
  putOctal(header, 124, 12, attr.size)
  putOctal(header, 136, 12, Math.max(attr.mtime.sec, 0))
  header.fill(0x20, 148, 156)
  header.write(type, 156, 'latin1')
  header.write(target.slice(0, 100), 157, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  let sum = 0
  for (const byte of header) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** Formats a number in octal digits; a number too large for the field is in the extended header and 0 here. */
function putOctal(header: Buffer, at: number, width: number, value: number): void {
  const digits = value.toString(8)
  header.write((digits.length < width ? digits : '0').padStart(width - 1, '0'), at, 'latin1')
}
