import { component, cString } from './argument.ts'
import { bind, call, type ResultOf, type SystemCall, step, tryCall, tryStep } from './call.ts'
import { sysError } from './error.ts'
import { AT_EMPTY_PATH, O_CLOEXEC } from './flags.ts'
import { closeSync, openDirectory } from './open.ts'

const EBADF = 9
const EOVERFLOW = 75
const EOPNOTSUPP = 95
/** The kernel's MAX_HANDLE_SZ. */
const LARGEST = 128
/** struct file_handle: 32-bit length, 32-bit type, then the bytes. */
const HEADER = 8

const nameToHandleAt = bind<[dirFd: number, name: Uint8Array, handle: Uint8Array, mountId: Uint8Array, flags: number]>(
  'int name_to_handle_at(int, const void *, void *, void *, int)',
)
const openByHandleAt = bind<[mountFd: number, handle: Uint8Array, flags: number]>(
  'int open_by_handle_at(int, void *, int)',
)

/** A file's identity as encoded by its file system: never reused while the file system exists, even after the file was removed. */
export interface KernelHandle {
  readonly type: number
  readonly bytes: Uint8Array
}

/** The kernel's handle of `name` (a symlink is not followed), or with '' of the descriptor; undefined if the file system has no handles. */
export async function nameToHandle(dirFd: number, name: string): Promise<KernelHandle | undefined> {
  const out = new HandleOut()
  return out.handle(await tryStep(handleStep(dirFd, name, out)), name)
}

/** Receives the result of `handleStep`. */
export class HandleOut {
  readonly memory = Buffer.alloc(HEADER + LARGEST)
  readonly mountId = Buffer.alloc(8)

  constructor() {
    this.memory.writeUInt32LE(LARGEST, 0)
  }

  /** The handle, after the step has returned `result`; see `nameToHandle`. */
  handle(result: number, name?: string): KernelHandle | undefined {
    if (result === -EOPNOTSUPP || result === -EOVERFLOW) return undefined
    if (result < 0) throw sysError('name_to_handle_at', -result, name)
    const { memory } = this
    return {
      type: memory.readInt32LE(4),
      bytes: new Uint8Array(memory.subarray(HEADER, HEADER + memory.readUInt32LE(0))),
    }
  }
}

/** `nameToHandle` as a step of `tryCalls`. */
export function handleStep(dirFd: number | ResultOf, name: string, out: HandleOut): SystemCall {
  const op = 'name_to_handle_at'
  const path = name === '' ? cString(op, '') : component(op, name)
  const flags = name === '' ? AT_EMPTY_PATH : 0
  return step(op, nameToHandleAt, dirFd, path, out.memory, out.mountId, flags)
}

/**
 * Opens the file of a handle. `mountFd` is a directory on its file system; one opened with O_PATH costs an additional open.
 *
 * @throws ESTALE the file no longer exists · EPERM the process lacks CAP_DAC_READ_SEARCH · EINVAL not a handle
 */
export async function openByHandle(mountFd: number, type: number, bytes: Uint8Array, flags: number): Promise<number> {
  const op = 'open_by_handle_at'
  if (bytes.length > LARGEST) throw sysError(op, 22)
  const handle = Buffer.alloc(HEADER + LARGEST)
  handle.writeUInt32LE(bytes.length, 0)
  handle.writeInt32LE(type, 4)
  handle.set(bytes, HEADER)
  const result = await tryCall(op, openByHandleAt, mountFd, handle, flags | O_CLOEXEC)
  if (result >= 0) return result
  if (result !== -EBADF) throw sysError(op, -result)
  // Before Linux 6.14 the system call does not accept O_PATH descriptors.
  const readable = await openDirectory(mountFd)
  try {
    return await call(op, undefined, openByHandleAt, readable, handle, flags | O_CLOEXEC)
  } finally {
    closeSync(readable)
  }
}
