import { open } from 'node:fs/promises'
import type { Transform } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'

const PIECE_BYTES = 256 * 1024
/** What the start of an initial RAM disk may have before its compressed part: archives of microcode. */
const MOST_EARLY_BYTES = 64 * 1024 * 1024
const PACKED: readonly { readonly magic: readonly number[]; readonly unpack: () => Transform }[] = [
  { magic: [0x1f, 0x8b], unpack: () => createGunzip() },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], unpack: () => createZstdDecompress() },
]

/**
 * Whether an initial RAM disk (Linux, Documentation/driver-api/early-userspace/buffer-format.rst) contains one of these words, such as names of files.
 *
 * @returns undefined if it is packed in a way that cannot be read here
 */
export async function initrdHas(path: string, words: readonly string[]): Promise<boolean | undefined> {
  const file = await open(path, 'r')
  try {
    const start = await packedFrom(file)
    if (start === undefined) return undefined
    const { from, unpack } = start
    const search = new Search(words)
    const input = file.createReadStream({ start: from, autoClose: false, highWaterMark: PIECE_BYTES })
    const output = unpack === undefined ? input : input.pipe(unpack())
    input.on('error', (error) => output.destroy(error))
    try {
      for await (const piece of output) if (search.finds(piece as Buffer)) return true
    } catch (error) {
      // Several archives may follow each other; what comes after the first one is not looked at.
      if ((error as NodeJS.ErrnoException).code?.startsWith('Z') !== true) throw error
    } finally {
      input.destroy()
    }
    return false
  } finally {
    await file.close()
  }
}

type OpenFile = Awaited<ReturnType<typeof open>>

/** Where the main archive begins. Early archives are not packed, and end with a trailer and zeros. */
async function packedFrom(
  file: OpenFile,
): Promise<{ from: number; unpack: (() => Transform) | undefined } | undefined> {
  const head = Buffer.alloc(110)
  let at = 0
  let plain: number | undefined
  while (at < MOST_EARLY_BYTES) {
    const { bytesRead } = await file.read(head, 0, head.length, at)
    if (bytesRead < 6) return plain === undefined ? undefined : { from: plain, unpack: undefined }
    const packed = PACKED.find(({ magic }) => magic.every((byte, i) => head[i] === byte))
    if (packed !== undefined) return { from: at, unpack: packed.unpack }
    if (head.readUInt32BE(0) === 0) {
      at += 4
      continue
    }
    if (!/^07070[12]$/.test(head.toString('latin1', 0, 6))) return undefined
    plain ??= at
    // A header of 110 bytes, the name, and the data, each padded to four bytes (cpio(5), newc).
    const size = Number.parseInt(head.toString('latin1', 54, 62), 16)
    const nameSize = Number.parseInt(head.toString('latin1', 94, 102), 16)
    if (!Number.isInteger(size) || !Number.isInteger(nameSize)) return undefined
    at = padded(padded(at + 110 + nameSize) + size)
  }
  return plain === undefined ? undefined : { from: plain, unpack: undefined }
}

function padded(offset: number): number {
  return Math.ceil(offset / 4) * 4
}

/** Looks for words in a stream, also across its pieces. */
class Search {
  readonly #words: readonly Buffer[]
  readonly #keep: number
  #rest: Buffer = Buffer.alloc(0)

  constructor(words: readonly string[]) {
    this.#words = words.map((word) => Buffer.from(word))
    this.#keep = Math.max(...this.#words.map(({ length }) => length)) - 1
  }

  finds(piece: Buffer): boolean {
    const whole = Buffer.concat([this.#rest, piece])
    this.#rest = whole.subarray(Math.max(0, whole.length - this.#keep))
    return this.#words.some((word) => whole.includes(word))
  }
}
