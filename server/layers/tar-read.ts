import { OptionError, type Time, type TreeEntry, type TreeEntryType, type TreeItem } from '../../overlay-core/index.ts'
import type { ByteSource } from './byte-source.ts'
import { cutShort, numberAt, type Pax, textIn } from './tar-fields.ts'
import { BLOCK } from './tar-header.ts'
import { mapInData, oldSparseMap, paxSparseMap, type SparseMap, withHoles } from './tar-sparse.ts'

/** The largest extended header: an object has at most 64 KiB of attributes, and two paths. */
const MOST_PAX_BYTES = 1024 * 1024

const TYPES: Readonly<Record<string, TreeEntryType>> = {
  ...{ '0': 'file', '\0': 'file', '7': 'file', S: 'file' },
  ...{ '1': 'link', '2': 'symlink', '3': 'char', '4': 'block', '5': 'directory', '6': 'fifo' },
}

/**
 * Reads the members of a tar file: ustar, pax and GNU, with sparse files, long names and extended attributes. Names and attributes are bytes, whatever their
 * encoding is. Members are as in the file; their paths may lead anywhere. The content of a member can be read until the next one is asked for.
 *
 * @throws OptionError naming `from`: it is no tar file, or is cut short
 */
export async function* readTar(source: ByteSource): AsyncGenerator<TreeItem> {
  const global: Pax = new Map()
  let next: Pax = new Map()
  for (;;) {
    const header = await source.exactly(BLOCK)
    if (header.length === 0 || isEmpty(header)) return
    if (header.length < BLOCK) throw cutShort()
    checkSum(header)
    const flag = String.fromCharCode(header[156] as number)
    const size = numberAt(header, 124, 12)
    if (flag === 'x' || flag === 'g' || flag === 'L' || flag === 'K') {
      const text = await metadata(source, size)
      if (flag === 'x') for (const [key, value] of paxIn(text)) next.set(key, value)
      else if (flag === 'g') for (const [key, value] of paxIn(text)) global.set(key, value)
      else next.set(flag === 'L' ? 'path' : 'linkpath', textIn(text))
      continue
    }
    yield* member(source, header, new Map([...global, ...next]))
    next = new Map()
  }
}

async function* member(source: ByteSource, header: Buffer, pax: Pax): AsyncGenerator<TreeItem> {
  const flag = String.fromCharCode(header[156] as number)
  const type = TYPES[flag]
  const stored = decimal(pax.get('size')) ?? numberAt(header, 124, 12)
  const path = pax.get('GNU.sparse.name') ?? pax.get('path') ?? nameIn(header)
  if (type === undefined)
    throw new OptionError(
      'from',
      `the archive has a member of an unknown kind (${JSON.stringify(flag)}): ${quoted(path)}`,
    )
  // Only files have content, whatever the header says; some tools give the size of what a link refers to.
  const hasData = type === 'file' || flag > '9'
  let left = hasData ? stored : 0
  let sparse: SparseMap | undefined = flag === 'S' ? await oldSparseMap(source, header) : paxSparseMap(pax)
  if (sparse?.inData) {
    const { map, bytes } = await mapInData(source, sparse.size)
    left -= bytes
    sparse = map
  }
  const data = async function* (): AsyncGenerator<Uint8Array> {
    while (left > 0) {
      const some = await source.some(left)
      if (some === undefined) throw cutShort()
      left -= some.length
      yield some
    }
  }
  const entry = entryOf(header, pax, { path, type, size: type === 'file' ? (sparse?.size ?? stored) : 0 })
  const content = () => (sparse === undefined ? data() : withHoles(sparse, data()))
  yield type === 'file' ? { entry, content } : { entry }
  if (!(await source.skip(left + ((BLOCK - (stored % BLOCK)) % BLOCK) * (hasData ? 1 : 0)))) throw cutShort()
}

function entryOf(
  header: Buffer,
  pax: Pax,
  { path, type, size }: { readonly path: string; readonly type: TreeEntryType; readonly size: number },
): TreeEntry {
  const xattrs = new Map<string, Uint8Array>()
  for (const [key, value] of pax)
    if (key.startsWith('SCHILY.xattr.')) xattrs.set(key.slice('SCHILY.xattr.'.length), Buffer.from(value, 'latin1'))
  // An old archive says "directory" by a slash.
  const isDirectory = type === 'directory' || (type === 'file' && path.endsWith('/'))
  return {
    ...{ path, type: isDirectory ? 'directory' : type, size: isDirectory ? 0 : size, xattrs },
    mode: numberAt(header, 100, 8) & 0o7777,
    uid: decimal(pax.get('uid')) ?? numberAt(header, 108, 8),
    gid: decimal(pax.get('gid')) ?? numberAt(header, 116, 8),
    mtime: timeIn(pax.get('mtime')) ?? { sec: numberAt(header, 136, 12), nsec: 0 },
    ...((type === 'link' || type === 'symlink') && {
      target: pax.get('linkpath') ?? textIn(header.subarray(157, 257)),
    }),
    ...((type === 'char' || type === 'block') && {
      rdev: { major: numberAt(header, 329, 8), minor: numberAt(header, 337, 8) },
    }),
  }
}

async function metadata(source: ByteSource, size: number): Promise<Buffer> {
  if (size > MOST_PAX_BYTES)
    throw new OptionError('from', `the archive has an extended header of ${size} bytes; that is no sound archive`)
  const text = await source.exactly(size)
  if (text.length < size || !(await source.skip((BLOCK - (size % BLOCK)) % BLOCK))) throw cutShort()
  return text
}

/** The records of an extended header: `LENGTH KEY=VALUE\n`, where values are any bytes. Of sparse files, keys may come several times. */
function* paxIn(text: Buffer): Generator<[string, string]> {
  const repeated = new Map<string, string[]>()
  for (let at = 0; at < text.length && text[at] !== 0; ) {
    const blank = text.indexOf(0x20, at)
    const length = Number(text.toString('latin1', at, blank))
    const record = text.toString('latin1', blank + 1, at + length - 1)
    const equals = record.indexOf('=')
    if (blank < 0 || !(length > 0) || at + length > text.length || equals < 0)
      throw new OptionError('from', 'the archive has a damaged extended header')
    const [key, value] = [record.slice(0, equals), record.slice(equals + 1)]
    if (key === 'GNU.sparse.offset' || key === 'GNU.sparse.numbytes')
      repeated.set(key, [...(repeated.get(key) ?? []), value])
    else yield [key, value]
    at += length
  }
  for (const [key, values] of repeated) yield [key, values.join(',')]
}

function nameIn(header: Buffer): string {
  const name = textIn(header.subarray(0, 100))
  // GNU uses the field of the prefix for other things.
  const prefix = header.toString('latin1', 257, 263) === 'ustar\0' ? textIn(header.subarray(345, 500)) : ''
  return prefix === '' ? name : `${prefix}/${name}`
}

function decimal(text: string | undefined): number | undefined {
  if (text === undefined) return undefined
  const value = Number(text)
  if (Number.isSafeInteger(value) && value >= 0) return value
  throw new OptionError('from', `the archive has the number ${JSON.stringify(text)} in an extended header`)
}

function timeIn(text: string | undefined): Time | undefined {
  const [, sign, whole = '', fraction = ''] = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text ?? '') ?? []
  if (sign === undefined) return undefined
  const nsec = Number(fraction.slice(0, 9).padEnd(9, '0'))
  if (sign === '') return { sec: Number(whole), nsec }
  return nsec === 0 ? { sec: -Number(whole) || 0, nsec } : { sec: -Number(whole) - 1, nsec: 1e9 - nsec }
}

function checkSum(header: Buffer): void {
  let sum = 8 * 0x20
  for (let i = 0; i < BLOCK; i++) if (i < 148 || i >= 156) sum += header[i] as number
  if (sum !== numberAt(header, 148, 8)) throw new OptionError('from', 'is no tar file, or the archive is damaged')
}

function isEmpty(header: Buffer): boolean {
  return header.every((byte) => byte === 0)
}

function quoted(path: string): string {
  return JSON.stringify(Buffer.from(path, 'latin1').toString('utf8'))
}
