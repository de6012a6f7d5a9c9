import { type FileHandle, open, stat } from 'node:fs/promises'
import { Readable } from 'node:stream'
import { createGunzip, createZstdDecompress } from 'node:zlib'
import { OptionError } from '../../overlay-core/index.ts'
import { ByteSource } from './byte-source.ts'

const PIECE_BYTES = 256 * 1024
/** Enough to know a kind of file. */
const MAGIC_BYTES = 6

const ZSTD_MAGIC = 0xfd2fb528

/** A file that is read in parts, for as long as it is open. */
export class SourceFile {
  readonly #file: FileHandle
  readonly size: number

  private constructor(file: FileHandle, size: number) {
    this.#file = file
    this.size = size
  }

  /** @throws OptionError naming `from` */
  static async open(path: string): Promise<SourceFile> {
    try {
      const file = await open(path, 'r')
      const { size } = await file.stat()
      return new SourceFile(file, size)
    } catch (error) {
      throw unreadable(path, error)
    }
  }

  /** The bytes from `start` on, `length` of them; fewer at the end of the file. */
  async *part(start: number, length: number): AsyncGenerator<Uint8Array> {
    for (let at = start; at < start + length; ) {
      const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, start + length - at))
      const { bytesRead } = await this.#file.read(piece, 0, piece.length, at)
      if (bytesRead === 0) return
      at += bytesRead
      yield piece.subarray(0, bytesRead)
    }
  }

  whole(): AsyncGenerator<Uint8Array> {
    return this.part(0, this.size)
  }

  async close(): Promise<void> {
    await this.#file.close()
  }
}

/** What is at a path. @throws OptionError naming `from`: nothing is there, or it cannot be read */
export async function kindOf(path: string): Promise<'directory' | 'file'> {
  try {
    const found = await stat(path)
    if (found.isDirectory()) return 'directory'
    if (found.isFile()) return 'file'
  } catch (error) {
    throw unreadable(path, error)
  }
  throw new OptionError('from', `${path} is neither a directory nor a file; name one`)
}

/** The plain bytes of a stream that may be compressed by gzip or zstd, which its first bytes tell. */
export async function decompressed(pieces: AsyncIterable<Uint8Array>): Promise<AsyncIterable<Uint8Array>> {
  const source = new ByteSource(pieces)
  const magic = await source.exactly(MAGIC_BYTES)
  source.unread(magic)
  if (magic[0] === 0x1f && magic[1] === 0x8b) return through(source.rest(), createGunzip())
  if (magic.length >= 4 && magic.readUInt32LE(0) === ZSTD_MAGIC) return through(source.rest(), createZstdDecompress())
  if (magic.toString('latin1', 0, 3) === 'BZh' || magic.toString('latin1', 0, 6) === '\xfd7zXZ\0')
    throw new OptionError('from', 'is compressed by bzip2 or xz; decompress it first, or use gzip or zstd')
  return source.rest()
}

async function* through(
  pieces: AsyncIterable<Uint8Array>,
  stream: ReturnType<typeof createGunzip>,
): AsyncGenerator<Uint8Array> {
  const input = Readable.from(pieces, { objectMode: false })
  input.on('error', (error) => stream.destroy(error))
  input.pipe(stream)
  try {
    for await (const piece of stream) yield piece as Uint8Array
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException
    if (!code.startsWith('Z_') && !code.startsWith('ZSTD')) throw error
    throw new OptionError('from', `cannot be decompressed (${code}); fetch it again`)
  } finally {
    input.destroy()
    stream.destroy()
  }
}

function unreadable(path: string, error: unknown): OptionError {
  const { code } = error as NodeJS.ErrnoException
  return new OptionError(
    'from',
    code === 'ENOENT' ? `there is no ${path}; mend the path` : `${path} cannot be read (${code ?? String(error)})`,
  )
}
