import fs from 'node:fs'
import type { MaybePromise } from '../api/types.ts'
import {
  addressOf,
  bind,
  bindSlow,
  call,
  lastErrno,
  type ResultOf,
  type SystemCall,
  step,
  timedSync,
  tryCall,
  tryOnLoop,
} from './call.ts'
import { sysError } from './error.ts'
import { faultNow } from './fault.ts'
import { type Done, nodeCall } from './pool.ts'

const EINTR = 4
const EIO = 5
const ENXIO = 6
const EAGAIN = 11
const EINVAL = 22
const EFBIG = 27
const EOPNOTSUPP = 95
const ENOSYS = 38
/** Offsets up to this are exact numbers; only a sparse file could reach it. */
export const FARTHEST = Number.MAX_SAFE_INTEGER - 2 ** 32
const RWF_NOWAIT = 8
const cannotWriteOut = new Set([EINVAL, ENOSYS, EOPNOTSUPP])
const SYNC_FILE_RANGE_WAIT_BEFORE = 1
const SYNC_FILE_RANGE_WRITE = 2
const SYNC_FILE_RANGE_WAIT_AFTER = 4
const SEEK_DATA = 3
const SEEK_HOLE = 4
/** _IOW(0x94, 9, int) of linux/fs.h. */
const FICLONE = 0x40049409
/** The errors of FICLONE if the two files or their file systems cannot share blocks, or not now (EAGAIN): copying is always possible. */
const NO_REFLINK = new Set([1, 11, 18, 22, 25, 26, 38, 95])

const preadv2 = bind<[fd: number, iov: number, count: number, position: number, flags: number]>(
  'int64_t preadv2(int, uintptr_t, int, int64_t, int)',
)
const preadvAside = bind<[fd: number, iov: Uint32Array, count: number, position: number, flags: number]>(
  'int64_t preadv2(int, void *, int, int64_t, int)',
  false,
)
const shortWrite = bind<[fd: number, data: Uint8Array, length: number, position: number]>(
  'int64_t pwrite(int, const void *, size_t, int64_t)',
)
const syncFileSystem = bindSlow<[fd: number]>('int syncfs(int)')
const syncFileRange = bindSlow<[fd: number, offset: number, length: number, flags: number]>(
  'int sync_file_range(int, int64_t, int64_t, uint32_t)',
)
const lseek = bind<[fd: number, offset: number, whence: number]>('int64_t lseek(int, int64_t, int)')
const copyRange = bindSlow<
  [inFd: number, inOffset: Uint8Array, outFd: number, outOffset: Uint8Array, length: number, flags: number]
>('int64_t copy_file_range(int, void *, int, void *, size_t, uint32_t)')
const ioctl = bindSlow<[fd: number, request: number, argument: number]>('int ioctl(int, uint64_t, int64_t)')
// The same calls for small amounts of data, which are short.
const quickCopyRange = bind<
  [inFd: number, inOffset: Uint8Array, outFd: number, outOffset: Uint8Array, length: number, flags: number]
>('int64_t copy_file_range(int, void *, int, void *, size_t, uint32_t)', false)
const quickIoctl = bind<[fd: number, request: number, argument: number]>('int ioctl(int, uint64_t, int64_t)', false)
const quickWrite = bind<[fd: number, data: Uint8Array, length: number, position: number]>(
  'int64_t pwrite(int, const void *, size_t, int64_t)',
  false,
)
/** Writes up to this size into the page cache may be made on the event loop. */
const MOST_ON_LOOP = 64 * 1024

// One struct iovec for `preadNowait`, which is synchronous: 64-bit address, 64-bit length.
const iovec = new Uint32Array(new ArrayBuffer(16))
const iovecAddress = addressOf(iovec)
/** Cached addresses of the memory of read buffers. These are few and long-lived, and asking for an address costs more than looking it up. */
const addresses = new WeakMap<ArrayBufferLike, number>()

/**
 * Reads synchronously from the page cache. Returns the number of bytes read (fewer than `length` at the end of the file or of the cached data; 0 at the
 * end of the file), or -1 if it would have to wait for a disk or the file system cannot tell.
 *
 * @throws EINVAL the range is outside of `buffer` · EISDIR · EBADF
 */
export function preadNowait(fd: number, buffer: Uint8Array, offset: number, length: number, position: number): number {
  // The bounds are also checked to keep out a detached buffer (length 0) and its stale address.
  if (!(offset >= 0 && length >= 0 && offset + length <= buffer.length && position >= 0)) {
    throw sysError('preadv2', EINVAL)
  }
  if (position > FARTHEST) return 0
  const fault = faultNow('preadv2')
  if (fault === EINTR) return -1
  if (fault > 0) throw sysError('preadv2', fault)
  const memory = buffer.buffer
  let base = addresses.get(memory)
  if (base === undefined) {
    base = addressOf(new Uint8Array(memory))
    addresses.set(memory, base)
  }
  const address = base + buffer.byteOffset + offset
  iovec[0] = address >>> 0
  iovec[1] = address / 0x1_0000_0000
  iovec[2] = length
  const result = preadv2(fd, iovecAddress, 1, position, RWF_NOWAIT)
  if (result >= 0) return result
  const errno = lastErrno()
  if (cannotTell(errno)) return -1
  throw sysError('preadv2', errno)
}

/**
 * Reads in the pool: up to `length` bytes, 0 at the end of the file and beyond 2^53. The buffer belongs to the call until it ends.
 *
 * @throws EINVAL the range is outside of `buffer` · EISDIR · EBADF · EIO
 */
export async function pread(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  if (position > FARTHEST) return 0
  const result = await nodeCall('pread', (done) => fs.read(fd, buffer, offset, length, position, nodeResult(done)))
  if (result < 0) throw sysError('pread', -result)
  return result
}

/**
 * Like `pread`, on a thread of our own if the page cache has the data: for pieces that take long to copy, so that the event loop can do something else.
 *
 * @throws like `pread`
 */
export async function preadAside(
  fd: number,
  buffer: Uint8Array,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  if (!(offset >= 0 && length >= 0 && offset + length <= buffer.length && position >= 0)) {
    throw sysError('preadv2', EINVAL)
  }
  if (position > FARTHEST) return 0
  const address = addressOf(buffer) + offset
  const vector = new Uint32Array(new ArrayBuffer(16))
  vector[0] = address >>> 0
  vector[1] = address / 0x1_0000_0000
  vector[2] = length
  const result = await tryCall('preadv2', preadvAside, fd, vector, 1, position, RWF_NOWAIT)
  if (result >= 0) return result
  if (cannotTell(-result)) return await pread(fd, buffer, offset, length, position)
  throw sysError('preadv2', -result)
}

/** Whether a read that must not wait failed only for that reason. */
function cannotTell(errno: number): boolean {
  return errno === EAGAIN || errno === EINTR || errno === EOPNOTSUPP || errno === ENOSYS
}

/**
 * Writes all of `data` at `position` into the page cache, synchronously, if it is small and the event loop has time for it now. Returns false if nothing
 * was written, or not everything. @throws like `pwrite`
 */
export function pwriteIfFree(fd: number, data: Uint8Array, position: number): boolean {
  if (data.length > MOST_ON_LOOP || data.length === 0 || position > FARTHEST) return false
  const written = tryOnLoop(() => writeNow(fd, data, position))
  if (written === -EAGAIN) return false
  return progress('pwrite', written) === data.length
}

/** Writes all of `data` at `position`. @throws ENOSPC | EDQUOT | EFBIG (also beyond 2^53) | EIO a part may have been written */
export async function pwrite(fd: number, data: Uint8Array, position: number): Promise<void> {
  if (position > FARTHEST) throw sysError('pwrite', EFBIG)
  for (let written = 0; written < data.length; ) {
    const rest = written === 0 ? data : data.subarray(written)
    const writing =
      rest.length <= MOST_ON_LOOP ? writeSoon(fd, rest, position + written) : writeInPool(fd, rest, position + written)
    written += progress('pwrite', await writing)
  }
}

/** Calls pwrite(2) on the event loop or on a thread of our own, which costs less than the pool; returns its result or minus errno. */
function writeSoon(fd: number, data: Uint8Array, position: number): MaybePromise<number> {
  return tryCall('pwrite', shortWrite, fd, data, data.length, position)
}

function writeInPool(fd: number, data: Uint8Array, position: number): Promise<number> {
  return nodeCall('pwrite', (done) => fs.write(fd, data, 0, data.length, position, nodeResult(done)))
}

/** Calls pwrite(2) synchronously; returns its result or minus errno. */
function writeNow(fd: number, data: Uint8Array, position: number): number {
  try {
    return fs.writeSync(fd, data, 0, data.length, position)
  } catch (error) {
    return (error as NodeJS.ErrnoException).errno ?? -EIO
  }
}

/**
 * Writes all of `data` into the page cache, on the event loop: for a few hundred bytes that must be in the file before the next step, on a
 * file system that does not send them over a network.
 */
export function pwriteNow(fd: number, data: Uint8Array, position: number): void {
  const fault = faultNow('pwrite')
  if (fault > 0) throw sysError('pwrite', fault)
  try {
    for (let written = 0; written < data.length; ) {
      written += fs.writeSync(fd, data, written, data.length - written, position + written)
    }
  } catch (error) {
    throw sysError('pwrite', -((error as NodeJS.ErrnoException).errno ?? -EIO))
  }
}

/** Writes all of `buffers`, one after the other, starting at `position`. @throws like `pwrite` */
export async function pwritev(fd: number, buffers: readonly Uint8Array[], position: number): Promise<void> {
  let rest = buffers.filter((buffer) => buffer.length > 0)
  let at = position
  if (position > FARTHEST) throw sysError('pwritev', EFBIG)
  while (rest.length > 0) {
    const batch = rest
    const start = at
    const result = await nodeCall('pwritev', (done) => fs.writev(fd, batch, start, nodeResult(done)))
    const written = progress('pwritev', result)
    at += written
    rest = withoutFirst(batch, written)
  }
}

/** pwrite(2) of a little data at the start of a file as a step of `tryCalls`, whose result is the number of bytes. */
export function writeStep(fd: number | ResultOf, data: Uint8Array): SystemCall {
  return step('pwrite', quickWrite, fd, data, data.length, 0)
}

/** Makes data and attributes of a file, or the entries of a directory, durable. */
export async function fsync(fd: number): Promise<void> {
  const result = await timedSync(nodeCall('fsync', (done) => fs.fsync(fd, (error) => nodeResult(done)(error, 0))))
  if (result < 0) throw sysError('fsync', -result)
}

/** Makes data durable, with the attributes needed to find it. */
export async function fdatasync(fd: number): Promise<void> {
  const result = await timedSync(
    nodeCall('fdatasync', (done) => fs.fdatasync(fd, (error) => nodeResult(done)(error, 0))),
  )
  if (result < 0) throw sysError('fdatasync', -result)
}

/** Starts writing the data of a file to the disk, which allocates its blocks, without waiting for the end. */
export async function startWriting(fd: number): Promise<void> {
  await call('sync_file_range', undefined, syncFileRange, fd, 0, 0, SYNC_FILE_RANGE_WRITE)
}

/**
 * Writes a range of a file to the disk and waits for it, which does not make it durable. Does nothing if the file system does not support it.
 *
 * @throws ENOSPC | EDQUOT | EIO, which an fsync will not report again
 */
export async function writeOut(fd: number, position: number, length: number): Promise<void> {
  const flags = SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER
  const result = await tryCall('sync_file_range', syncFileRange, fd, position, length, flags)
  if (result < 0 && !cannotWriteOut.has(-result)) throw sysError('sync_file_range', -result)
}

/** Makes everything on the file system of `fd` (not O_PATH) durable. */
export async function syncfs(fd: number): Promise<void> {
  await call('syncfs', undefined, syncFileSystem, fd)
}

/**
 * Copies up to `length` bytes inside the kernel; returns how many were copied, 0 at the end of the source.
 *
 * @throws EXDEV | EOPNOTSUPP | EINVAL not supported by these file systems; read and write instead
 */
export async function copyFileRange(
  inFd: number,
  inOffset: number,
  outFd: number,
  outOffset: number,
  length: number,
): Promise<number> {
  const from = offsetBytes(inOffset)
  const to = offsetBytes(outOffset)
  return call('copy_file_range', undefined, copyRange, inFd, from, outFd, to, length, 0)
}

/** Makes `outFd` share all blocks of `inFd`; false if these files cannot. */
export async function reflink(outFd: number, inFd: number): Promise<boolean> {
  const result = await tryCall('ficlone', ioctl, outFd, FICLONE, inFd)
  if (result >= 0) return true
  if (NO_REFLINK.has(-result)) return false
  throw sysError('ficlone', -result)
}

/** Whether `errno` of a reflink means that these files, or their file systems, cannot share blocks. */
export function saysNoReflink(errno: number): boolean {
  return NO_REFLINK.has(errno)
}

/** Whether `errno` of a reflink applies to all files of these file systems: ENOTTY, EOPNOTSUPP, EXDEV, ENOSYS. */
export function saysNeverReflink(errno: number): boolean {
  return errno === 25 || errno === 95 || errno === 18 || errno === 38
}

/** Whether `errno` of `copyFileRange` means that the data must be read and written instead. */
export function saysNoCopyRange(errno: number): boolean {
  return errno === 18 || errno === EINVAL || errno === EOPNOTSUPP || errno === ENOSYS
}

/** `reflink` as a step of `tryCalls`. A file with many extents may occupy the thread for some time. */
export function reflinkStep(outFd: number | ResultOf, inFd: number): SystemCall {
  return step('ficlone', quickIoctl, outFd, FICLONE, inFd)
}

/** `copyFileRange` from the start of both files as a step of `tryCalls`, for an amount of data that is short to copy. */
export function quickCopyStep(inFd: number, outFd: number | ResultOf, length: number): SystemCall {
  return step('copy_file_range', quickCopyRange, inFd, offsetBytes(0), outFd, offsetBytes(0), length, 0)
}

/** The start of the next data at or after `offset`; -1 if only a hole or nothing follows. Moves the descriptor's offset. */
export function seekData(fd: number, offset: number): Promise<number> {
  return seek(fd, offset, SEEK_DATA)
}

/** The start of the next hole at or after `offset`, where the end of the file counts as one; -1 if `offset` is after the end. */
export function seekHole(fd: number, offset: number): Promise<number> {
  return seek(fd, offset, SEEK_HOLE)
}

async function seek(fd: number, offset: number, whence: number): Promise<number> {
  const result = await tryCall('lseek', lseek, fd, offset, whence)
  if (result === -ENXIO) return -1
  if (result < 0) throw sysError('lseek', -result)
  return result
}

function offsetBytes(offset: number): Buffer {
  if (!Number.isSafeInteger(offset)) throw sysError('copy_file_range', EINVAL)
  const bytes = Buffer.alloc(8)
  bytes.writeBigInt64LE(BigInt(offset))
  return bytes
}

/** The callback for `node:fs`: passes on the result, or libuv's error as minus errno. */
function nodeResult(done: Done): (error: NodeJS.ErrnoException | null, result: number) => void {
  return (error, result) => done(error ? (error.errno ?? -EIO) : result)
}

function progress(op: string, result: number): number {
  // No progress and no error would cause an endless loop.
  if (result <= 0) throw sysError(op, result === 0 ? EIO : -result)
  return result
}

function withoutFirst(buffers: readonly Uint8Array[], bytes: number): Uint8Array[] {
  let skip = bytes
  let index = 0
  while (index < buffers.length && skip >= buffers[index].length) skip -= buffers[index++].length
  const rest = buffers.slice(index)
  if (skip > 0) rest[0] = rest[0].subarray(skip)
  return rest
}
