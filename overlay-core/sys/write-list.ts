import koffi from 'koffi'
import { addressOf, bind, call } from './call.ts'
import { FARTHEST } from './data.ts'
import { sysError } from './error.ts'
import { nodeCall } from './pool.ts'

const EIO = 5
const EAGAIN = 11
const EFBIG = 27
const EINPROGRESS = 115
const LIO_WAIT = 0
const LIO_WRITE = 1
const SIGEV_NONE = 1

/** `struct aiocb` of glibc on 64-bit machines. */
const AIOCB_BYTES = 168
const AT_FD = 0
const AT_OPCODE = 4
const AT_BUFFER = 16
const AT_LENGTH = 24
const AT_NOTIFY = 44
const AT_OFFSET = 128

const lioListio = bind<[mode: number, list: Uint8Array, count: number, notify: null]>(
  'int lio_listio(int, void *, int, void *)',
)
const aioSuspend = bind<[list: Uint8Array, count: number, timeout: null]>('int aio_suspend(void *, int, void *)')
const aioError = bind<[aiocb: number]>('int aio_error(uintptr_t)')
const aioReturn = bind<[aiocb: number]>('int64_t aio_return(uintptr_t)')

/** The maximum number of pieces in one list. */
export const LIST_PIECES = 64

/** A piece of data and its position in the file. */
export interface PieceOfFile {
  readonly data: Uint8Array
  readonly position: number
}

/** Control blocks for one `lio_listio`, and the list of their addresses. */
class ControlBlocks {
  readonly list = Buffer.alloc(8 * LIST_PIECES)
  readonly #blocks = Buffer.alloc(AIOCB_BYTES * LIST_PIECES)
  readonly #view = new DataView(this.#blocks.buffer, this.#blocks.byteOffset)
  readonly #address = addressOf(this.#blocks)

  constructor() {
    const list = new DataView(this.list.buffer, this.list.byteOffset)
    for (let i = 0; i < LIST_PIECES; i++) putWide(list, 8 * i, this.addressOf(i))
  }

  addressOf(index: number): number {
    return this.#address + AIOCB_BYTES * index
  }

  set(index: number, fd: number, { data, position }: PieceOfFile): void {
    const at = AIOCB_BYTES * index
    this.#blocks.fill(0, at, at + AIOCB_BYTES)
    const view = this.#view
    view.setInt32(at + AT_FD, fd, true)
    view.setInt32(at + AT_OPCODE, LIO_WRITE, true)
    putWide(view, at + AT_BUFFER, memoryOf(data))
    putWide(view, at + AT_LENGTH, data.length)
    view.setInt32(at + AT_NOTIFY, SIGEV_NONE, true)
    putWide(view, at + AT_OFFSET, position)
  }
}

function putWide(view: DataView, at: number, value: number): void {
  view.setUint32(at, value, true)
  view.setUint32(at + 4, value / 0x1_0000_0000, true)
}

/** Cached addresses of the memory that is written from. The blocks are few and long-lived, and asking for an address costs more than looking it up. */
const addresses = new WeakMap<ArrayBufferLike, number>()

function memoryOf(data: Uint8Array): number {
  let base = addresses.get(data.buffer)
  if (base === undefined) {
    base = addressOf(new Uint8Array(data.buffer))
    addresses.set(data.buffer, base)
  }
  return base + data.byteOffset
}

/** Unused control blocks. */
const spare: ControlBlocks[] = []

/**
 * Whether `pwriteList` is faster: with glibc, whose `lio_listio` works through a list in one thread. musl starts a thread for every piece.
 */
export const WRITES_LISTS = /^(x64|arm64)$/.test(process.arch) && hasFunction('gnu_get_libc_version')

function hasFunction(name: string): boolean {
  try {
    koffi.load(null).func(`const char *${name}(void)`)
    return true
  } catch {
    return false
  }
}

/**
 * Writes up to 64 pieces of data at their positions in one file, in order and in one trip to the pool. For many small writes, the trip
 * takes three times as long as the write.
 *
 * @throws the error of one of them; all have ended by then, and some may have been written
 */
export async function pwriteList(fd: number, pieces: readonly PieceOfFile[]): Promise<void> {
  if (pieces.some(({ position }) => position > FARTHEST)) throw sysError('lio_listio', EFBIG)
  const blocks = spare.pop() ?? new ControlBlocks()
  for (const [i, piece] of pieces.entries()) blocks.set(i, fd, piece)
  const result = await nodeCall('lio_listio', (done) => {
    // Writing continues even if the wait is interrupted, so it must never be started again. The results of the pieces are read below.
    lioListio.async(LIO_WAIT, blocks.list, pieces.length, null, (error) => done(0, error))
  })
  if (result < 0) throw sysError('lio_listio', -result)
  let failure = 0
  for (let i = 0; i < pieces.length; i++) {
    failure ||= await endOf(blocks, i, pieces)
  }
  spare.push(blocks)
  if (failure > 0) throw sysError('lio_listio', failure)
}

/** The errno of a piece that was not completely written; 0 if it was. Waits if it is still in progress. */
async function endOf(blocks: ControlBlocks, index: number, pieces: readonly PieceOfFile[]): Promise<number> {
  const address = blocks.addressOf(index)
  let errno = aioError(address)
  while (errno === EINPROGRESS) {
    const one = blocks.list.subarray(8 * index, 8 * index + 8)
    await call('aio_suspend', undefined, aioSuspend, one, 1, null)
    errno = aioError(address)
  }
  const written = aioReturn(address)
  if (errno !== 0) return errno === -1 ? EAGAIN : errno
  return written === pieces[index]?.data.length ? 0 : EIO
}
