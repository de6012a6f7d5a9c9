import { OptionError } from '../../overlay-core/index.ts'
import type { ByteSource } from './byte-source.ts'
import { cutShort, numberAt, type Pax } from './tar-fields.ts'
import { BLOCK } from './tar-header.ts'

/** Where the data of a sparse file belongs. */
export interface SparseMap {
  /** The size of the file with its holes. */
  readonly size: number
  readonly pieces: readonly { readonly at: number; readonly length: number }[]
  /** Whether the map is at the beginning of the data (`mapInData`). */
  readonly inData?: boolean
}

const ZERO_BYTES = 256 * 1024
/** The largest number of pieces: more cannot be meant. */
const MOST_PIECES = 1_000_000

/** The map of a file in the old format of GNU tar, which begins in its header. */
export async function oldSparseMap(source: ByteSource, header: Buffer): Promise<SparseMap> {
  const numbers: number[] = []
  const take = (block: Buffer, start: number, count: number) => {
    for (let i = 0; i < count; i++) {
      if (block[start + 24 * i + 12] === 0) continue
      numbers.push(numberAt(block, start + 24 * i, 12), numberAt(block, start + 24 * i + 12, 12))
    }
  }
  take(header, 386, 4)
  for (let more = header[482] !== 0; more; ) {
    const block = await source.exactly(BLOCK)
    if (block.length < BLOCK) throw cutShort()
    take(block, 0, 21)
    more = block[504] !== 0
    if (numbers.length > 2 * MOST_PIECES) throw damaged()
  }
  return mapOf(numberAt(header, 483, 12), numbers)
}

/** The map of a file in the pax formats of GNU tar, versions 0.0, 0.1 and 1.0; undefined if it is not sparse. */
export function paxSparseMap(pax: Pax): SparseMap | undefined {
  const size = Number(pax.get('GNU.sparse.realsize') ?? pax.get('GNU.sparse.size') ?? Number.NaN)
  if (!Number.isSafeInteger(size) || size < 0) return undefined
  if (pax.get('GNU.sparse.major') === '1') return { size, pieces: [], inData: true }
  const map = pax.get('GNU.sparse.map')
  if (map !== undefined) return mapOf(size, map.split(',').map(Number))
  const offsets = (pax.get('GNU.sparse.offset') ?? '').split(',').filter(Boolean)
  const lengths = (pax.get('GNU.sparse.numbytes') ?? '').split(',').filter(Boolean)
  return mapOf(
    size,
    offsets.flatMap((offset, i) => [Number(offset), Number(lengths[i])]),
  )
}

/** Reads the map at the beginning of the data: decimal numbers, each on a line, in whole blocks. Returns it with the bytes that it took. */
export async function mapInData(source: ByteSource, size: number): Promise<{ map: SparseMap; bytes: number }> {
  let text = ''
  let bytes = 0
  const lineCount = () => text.split('\n').length - 1
  for (let wanted = 1; lineCount() < wanted; ) {
    const block = await source.exactly(BLOCK)
    if (block.length < BLOCK) throw cutShort()
    bytes += BLOCK
    text += block.toString('latin1')
    const count = text.includes('\n') ? Number(text.slice(0, text.indexOf('\n'))) : 0
    if (!(count >= 0 && count <= MOST_PIECES)) throw damaged()
    wanted = text.includes('\n') ? 1 + 2 * count : 1
  }
  const [count = '0', ...numbers] = text.split('\n')
  return { map: mapOf(size, numbers.slice(0, 2 * Number(count)).map(Number)), bytes }
}

/** The content of a sparse file: its data, with zeros in the holes. */
export async function* withHoles(
  { size, pieces }: SparseMap,
  data: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const source = data[Symbol.asyncIterator]()
  let at = 0
  let held: Uint8Array = new Uint8Array(0)
  for (const piece of [...pieces, { at: size, length: 0 }]) {
    yield* zeros(piece.at - at)
    at = piece.at
    for (let left = piece.length; left > 0; ) {
      if (held.length === 0) {
        const { value, done } = await source.next()
        if (done) throw cutShort()
        held = value
      }
      const part = held.subarray(0, left)
      held = held.subarray(part.length)
      left -= part.length
      at += part.length
      yield part
    }
  }
}

function* zeros(count: number): Generator<Uint8Array> {
  const empty = Buffer.alloc(Math.min(count, ZERO_BYTES))
  for (let left = count; left > 0; left -= ZERO_BYTES) yield left < ZERO_BYTES ? empty.subarray(0, left) : empty
}

function mapOf(size: number, numbers: readonly number[]): SparseMap {
  const pieces: { at: number; length: number }[] = []
  let end = 0
  for (let i = 0; i + 1 < numbers.length; i += 2) {
    const [at, length] = [numbers[i] as number, numbers[i + 1] as number]
    if (!Number.isSafeInteger(at) || !Number.isSafeInteger(length) || at < end || length < 0 || at + length > size)
      throw damaged()
    pieces.push({ at, length })
    end = at + length
  }
  return { size, pieces }
}

function damaged(): OptionError {
  return new OptionError('from', 'the archive has a sparse file with a damaged map')
}
