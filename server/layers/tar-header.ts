import type { TreeEntry } from '../../overlay-core/index.ts'

/** Everything in a tar file is in blocks of this size. */
export const BLOCK = 512
/** Two empty blocks end an archive. */
export const TAR_END = Buffer.alloc(2 * BLOCK)
export const WHITEOUT_PREFIX = '.wh.'
/** The mark of an opaque directory, in it, and the beginning of the names of all marks that are no whiteouts. */
export const OPAQUE_NAME = '.wh..wh..opq'
export const OWN_PREFIX = '.wh..wh.'

const TYPE_FLAGS = { file: '0', link: '1', symlink: '2', char: '3', block: '4', directory: '5', fifo: '6' } as const
const LARGEST_ID = 0o7777777
const LARGEST_SIZE = 0o77777777777
const LARGEST_TIME = 0o77777777777

/** The fields of a header as they are written. */
interface Fields {
  /** One code unit for each byte. */
  readonly name: string
  readonly flag: string
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly size: number
  readonly sec: number
  readonly target: string
  readonly major: number
  readonly minor: number
}

const PLAIN: Fields = {
  ...{ name: '', flag: '0', mode: 0, uid: 0, gid: 0, size: 0, sec: 0, target: '', major: 0, minor: 0 },
}

/** The padding after `size` bytes of content, up to the next block. */
export function paddingAfter(size: number): Buffer {
  return Buffer.alloc((BLOCK - (size % BLOCK)) % BLOCK)
}

/**
 * The header of an object of a layer, in the pax format (POSIX.1-2001) as OCI image layers use it: whiteouts and opaque directories are empty files with special
 * names. The same entry has the same bytes everywhere: no names of users, no times of access, attributes sorted.
 */
export function tarHeaderOf(entry: TreeEntry): Buffer {
  if (entry.type === 'whiteout') return ustar({ ...PLAIN, name: whiteoutName(entry.path) }, [])
  const { path, type, mode, uid, gid, size, mtime, target = '', rdev } = entry
  const name = type === 'directory' ? `${path === '' ? '.' : path}/` : path
  const records: [string, Uint8Array][] = []
  const add = (key: string, value: string) => records.push([key, Buffer.from(value, 'latin1')])
  if (needsPax(name)) add('path', name)
  if (needsPax(target)) add('linkpath', target)
  if (size > LARGEST_SIZE) add('size', String(size))
  if (uid > LARGEST_ID) add('uid', String(uid))
  if (gid > LARGEST_ID) add('gid', String(gid))
  if (mtime.nsec !== 0 || mtime.sec < 0 || mtime.sec > LARGEST_TIME) add('mtime', decimalTime(mtime.sec, mtime.nsec))
  // POSIX wants UTF-8, or this record.
  if (records.some(([key, value]) => key.endsWith('path') && !isUtf8(value)))
    records.unshift(['hdrcharset', Buffer.from('BINARY')])
  for (const [attr, value] of sorted(entry.xattrs)) records.push([`SCHILY.xattr.${attr}`, value])
  const { major = 0, minor = 0 } = rdev ?? {}
  const fields = { name, flag: TYPE_FLAGS[type], mode, uid, gid, size, sec: mtime.sec, target, major, minor }
  const header = ustar(fields, records)
  if (!entry.opaque) return header
  const mark = path === '' ? OPAQUE_NAME : `${path}/${OPAQUE_NAME}`
  return Buffer.concat([header, longName(mark)])
}

/** The header of a file of an archive that is no layer. */
export function fileHeader(name: string, size: number): Buffer {
  return ustar({ ...PLAIN, name, mode: 0o644, size }, [])
}

/** The header of a directory of an archive that is no layer. */
export function directoryHeader(name: string): Buffer {
  return ustar({ ...PLAIN, name: `${name}/`, flag: '5', mode: 0o755 }, [])
}

function whiteoutName(path: string): string {
  const at = path.lastIndexOf('/') + 1
  return `${path.slice(0, at)}${WHITEOUT_PREFIX}${path.slice(at)}`
}

function longName(name: string): Buffer {
  return ustar({ ...PLAIN, name }, needsPax(name) ? [['path', Buffer.from(name, 'latin1')]] : [])
}

function sorted(xattrs: TreeEntry['xattrs'] = new Map()): [string, Uint8Array][] {
  return [...xattrs].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0))
}

function needsPax(text: string): boolean {
  return text.length > 100 || !/^[\x20-\x7e]*$/.test(text)
}

function isUtf8(bytes: Uint8Array): boolean {
  return Buffer.from(Buffer.from(bytes).toString('utf8'), 'utf8').equals(bytes)
}

function decimalTime(sec: number, nsec: number): string {
  const fraction = (value: number) => (value === 0 ? '' : `.${String(value).padStart(9, '0')}`)
  if (sec >= 0) return `${sec}${fraction(nsec)}`
  // -1.5 is two seconds before the epoch and half a second after that.
  return nsec === 0 ? String(sec) : `-${-sec - 1}${fraction(1e9 - nsec)}`
}

function ustar(fields: Fields, records: readonly (readonly [string, Uint8Array])[]): Buffer {
  const named =
    fields.flag !== 'x' && needsPax(fields.name) && records.every(([key]) => key !== 'path')
      ? [['path', Buffer.from(fields.name, 'latin1')] as const, ...records]
      : records
  const plain = block(fields)
  if (named.length === 0) return plain
  const extended = Buffer.concat(named.map(([key, value]) => paxRecord(key, value)))
  const about = block({ ...PLAIN, name: 'pax', flag: 'x', mode: 0o644, size: extended.length })
  return Buffer.concat([about, extended, paddingAfter(extended.length), plain])
}

/** A record starts with its own length in decimal, including that number. */
function paxRecord(key: string, value: Uint8Array): Buffer {
  const rest = key.length + value.length + 3
  let length = rest + String(rest).length
  if (String(length).length > String(rest).length) length = rest + String(length).length
  return Buffer.concat([Buffer.from(`${length} ${key}=`, 'latin1'), value, Buffer.from('\n')])
}

function block({ name, flag, mode, uid, gid, size, sec, target, major, minor }: Fields): Buffer {
  const header = Buffer.alloc(BLOCK)
  header.write(name.slice(0, 100), 0, 'latin1')
  octal(header, 100, 8, mode)
  octal(header, 108, 8, uid)
  octal(header, 116, 8, gid)
  octal(header, 124, 12, size)
  octal(header, 136, 12, Math.max(sec, 0))
  header.fill(0x20, 148, 156)
  header.write(flag, 156, 'latin1')
  header.write(target.slice(0, 100), 157, 'latin1')
  header.write('ustar\x0000', 257, 'latin1')
  octal(header, 329, 8, major)
  octal(header, 337, 8, minor)
  let sum = 0
  for (const byte of header) sum += byte
  header.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1')
  return header
}

/** Writes a number in octal digits; one that is too large for the field is in the extended header, and 0 here. */
function octal(header: Buffer, at: number, width: number, value: number): void {
  const digits = value.toString(8)
  header.write((digits.length < width ? digits : '0').padStart(width - 1, '0'), at, 'latin1')
}
