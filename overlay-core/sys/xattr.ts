import { component, cString, fdPath } from './argument.ts'
import { bind, call, type ResultOf, type SystemCall, step, tryCall } from './call.ts'
import { tryCallsElsewhere } from './calls-elsewhere.ts'
import { sysError } from './error.ts'
import { GOES_ON_AFTER_FAILURE } from './thread-layout.ts'

const E2BIG = 7
const ENOSPC = 28
const ERANGE = 34
const ENODATA = 61
const EOPNOTSUPP = 95
/** The kernel's XATTR_SIZE_MAX and XATTR_LIST_MAX. */
const LARGEST = 65536
/** Large enough for nearly every value and list, and small enough to come from the Buffer pool. */
const USUAL = 1024

const readPrototype = (call: string) => `int64_t ${call}(const void *, const void *, void *, size_t)`
const writePrototype = (call: string) => `int ${call}(const void *, const void *, const void *, size_t, int)`
type Read = [path: Uint8Array, attr: Uint8Array, out: Uint8Array, size: number]
type Write = [path: Uint8Array, attr: Uint8Array, value: Uint8Array, size: number, flags: number]
type Remove = [path: Uint8Array, attr: Uint8Array]
type List = [path: Uint8Array, out: Uint8Array, size: number]

const getxattr = bind<Read>(readPrototype('getxattr'))
const lgetxattr = bind<Read>(readPrototype('lgetxattr'))
const setxattr = bind<Write>(writePrototype('setxattr'))
const lsetxattr = bind<Write>(writePrototype('lsetxattr'))
const removexattr = bind<Remove>('int removexattr(const void *, const void *)')
const lremovexattr = bind<Remove>('int lremovexattr(const void *, const void *)')
const listxattr = bind<List>('int64_t listxattr(const void *, void *, size_t)')
const llistxattr = bind<List>('int64_t llistxattr(const void *, void *, size_t)')
const fgetxattr = bind<[fd: number, attr: Uint8Array, out: Uint8Array, size: number]>(
  'int64_t fgetxattr(int, const void *, void *, size_t)',
)
const fsetxattr = bind<[fd: number, attr: Uint8Array, value: Uint8Array, size: number, flags: number]>(
  'int fsetxattr(int, const void *, const void *, size_t, int)',
)
const flistxattr = bind<[fd: number, out: Uint8Array, size: number]>('int64_t flistxattr(int, void *, size_t)')

/**
 * The path of `name` in the open directory, or of the open object itself if `name` is ''. Calls that follow
 * symlinks need the latter (only the descriptor's own magic link is followed), the l* calls the former.
 */
function target(op: string, dirFd: number, name: string): Buffer {
  if (name === '') return cString(op, fdPath(dirFd))
  component(op, name)
  return cString(op, `${fdPath(dirFd)}/${name}`)
}

/** The value of an extended attribute; undefined if it is not set or the file system does not support it. */
export async function getXattr(dirFd: number, name: string, attr: string): Promise<Uint8Array | undefined> {
  const native = name === '' ? getxattr : lgetxattr
  const path = target('getxattr', dirFd, name)
  const attrBytes = cString('getxattr', attr)
  for (let size = USUAL; ; size = LARGEST) {
    const out = Buffer.allocUnsafe(size)
    const length = await tryCall('getxattr', native, path, attrBytes, out, size)
    if (length >= 0) return new Uint8Array(out.subarray(0, length))
    if (length === -ENODATA || length === -EOPNOTSUPP) return undefined
    if (length !== -ERANGE || size === LARGEST) throw sysError('getxattr', -length, name)
  }
}

/**
 * Sets an extended attribute; `flags` is XATTR_CREATE, XATTR_REPLACE or 0.
 *
 * @throws EEXIST | ENODATA because of `flags` · ENOSPC no space, or more than 64 KiB · EOPNOTSUPP · EPERM · ERANGE the attribute's name is too long
 */
export async function setXattr(dirFd: number, name: string, attr: string, value: Uint8Array, flags = 0): Promise<void> {
  const native = name === '' ? setxattr : lsetxattr
  const path = target('setxattr', dirFd, name)
  const result = await tryCall('setxattr', native, path, cString('setxattr', attr), value, value.length, flags)
  if (result < 0) throw sysError('setxattr', result === -E2BIG ? ENOSPC : -result, name)
}

/** Removes an extended attribute. @throws ENODATA it is not set · EOPNOTSUPP · EPERM */
export async function removeXattr(dirFd: number, name: string, attr: string): Promise<void> {
  const native = name === '' ? removexattr : lremovexattr
  await call('removexattr', name, native, target('removexattr', dirFd, name), cString('removexattr', attr))
}

/** Sets an extended attribute of the open object, never on the event loop. @throws as `setXattr` */
export async function setXattrElsewhere(fd: number, attr: string, value: Uint8Array): Promise<void> {
  const [path, name] = [target('setxattr', fd, ''), cString('setxattr', attr)]
  const [result = 0] = await tryCallsElsewhere([step('setxattr', setxattr, path, name, value, value.length, 0)])
  if (result < 0) throw sysError('setxattr', result === -E2BIG ? ENOSPC : -result, '')
}

/** Removes those of these extended attributes of the open object that are set, in one trip, never on the event loop. @throws EPERM | EROFS | EIO */
export async function clearXattrs(fd: number, attrs: readonly string[]): Promise<void> {
  const path = target('removexattr', fd, '')
  const steps = attrs.map((attr) => ({
    ...step('removexattr', removexattr, path, cString('removexattr', attr)),
    flags: GOES_ON_AFTER_FAILURE,
  }))
  for (const result of await tryCallsElsewhere(steps))
    if (result < 0 && result !== -ENODATA && result !== -EOPNOTSUPP) throw sysError('removexattr', -result, '')
}

/** The names of all extended attributes that the process may see; empty if the file system has no such attributes. */
export async function listXattr(dirFd: number, name: string): Promise<string[]> {
  const native = name === '' ? listxattr : llistxattr
  const path = target('listxattr', dirFd, name)
  for (let size = USUAL; ; size = LARGEST) {
    const out = Buffer.allocUnsafe(size)
    const length = await tryCall('listxattr', native, path, out, size)
    if (length >= 0) return namesIn(out, length)
    if (length === -EOPNOTSUPP) return []
    if (length !== -ERANGE || size === LARGEST) throw sysError('listxattr', -length, name)
  }
}

/** Whether the file system of the open object has POSIX ACLs. */
export async function hasAcls(fd: number): Promise<boolean> {
  const attr = cString('getxattr', 'system.posix_acl_access')
  // A size of 0 returns only the length.
  const length = await tryCall('getxattr', getxattr, target('getxattr', fd, ''), attr, new Uint8Array(0), 0)
  return length !== -EOPNOTSUPP
}

/** Splits a list of NUL-terminated names. */
function namesIn(list: Buffer, length: number): string[] {
  return length === 0 ? [] : list.toString('latin1', 0, length - 1).split('\0')
}

/** Receives the result of `xattrStep` or `xattrNamesStep`, if it is of usual size. */
export class XattrOut {
  readonly memory = Buffer.allocUnsafe(USUAL)

  /** The value, after the step has returned `result`; undefined if it is not set or must be read in another way. */
  value(result: number): Uint8Array | undefined {
    return result < 0 ? undefined : new Uint8Array(this.memory.subarray(0, result))
  }

  /** The names, after the step has returned `result`; undefined if they must be read in another way. */
  names(result: number): string[] | undefined {
    if (result === -EOPNOTSUPP) return []
    return result < 0 ? undefined : namesIn(this.memory, result)
  }
}

/** Reads an attribute of an open file as a step of `tryCalls`. */
export function xattrStep(fd: number | ResultOf, attr: string, out: XattrOut): SystemCall {
  return step('getxattr', fgetxattr, fd, cString('getxattr', attr), out.memory, USUAL)
}

/** Reads the names of the attributes of an open file as a step of `tryCalls`. */
export function xattrNamesStep(fd: number | ResultOf, out: XattrOut): SystemCall {
  return step('listxattr', flistxattr, fd, out.memory, USUAL)
}

/** Sets an attribute of an open file as a step of `tryCalls`. */
export function setXattrStep(fd: number | ResultOf, attr: string, value: Uint8Array): SystemCall {
  return step('setxattr', fsetxattr, fd, cString('setxattr', attr), value, value.length, 0)
}
