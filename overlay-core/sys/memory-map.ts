import koffi from 'koffi'
import { bind, lastErrno } from './call.ts'
import { sysError } from './error.ts'
import { faultNow } from './fault.ts'

const PROT_READ_WRITE = 3
const MAP_SHARED = 1

const mmap = bind<[address: number, length: number, prot: number, flags: number, fd: number, offset: number]>(
  'int64_t mmap(uintptr_t, size_t, int, int, int, int64_t)',
)

/**
 * Maps the first `length` bytes of a file, whose blocks must be allocated. The memory is the page cache of the file, so a store needs no system call and
 * reaches the file even if the process dies. The mapping stays until the process ends, because JavaScript cannot tell whether
 * somebody still uses a part of it.
 */
export function mapShared(fd: number, length: number): Uint8Array {
  const fault = faultNow('mmap')
  if (fault > 0) throw sysError('mmap', fault)
  const address = mmap(0, length, PROT_READ_WRITE, MAP_SHARED, fd, 0)
  if (address === -1) throw sysError('mmap', lastErrno())
  return new Uint8Array(koffi.view(address, length))
}
