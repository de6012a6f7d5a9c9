import { bestEffort, isErrno, OverlayError } from '../api/errno.ts'
import type { MaybePromise, Time } from '../api/types.ts'
import { chmodAt, chownAt, utimesAt } from '../sys/attr.ts'
import { linkAt, mkdirAt, mknodAt, renameAt, rmdirAt, unlinkAt } from '../sys/dir.ts'
import { RENAME_EXCHANGE, RENAME_NOREPLACE, S_IFCHR, S_IFREG } from '../sys/flags.ts'
import { statxAt } from '../sys/stat.ts'
import { removeXattr, setXattr } from '../sys/xattr.ts'

/** The features of the upper's file system, as tested in the work directory at mount. */
export interface Storage {
  /** The flag for a rename that does not replace, or 0 if not supported. Then the claim and the locks are enough, because the name was checked before. */
  readonly noReplace: number
  /** Whether two objects can be exchanged in one step. */
  readonly exchange: boolean
  /** Whether a character device 0:0 can be created. */
  readonly whiteoutDevices: boolean
  /** Whether the overlay's own attributes can be set. */
  readonly xattrs: boolean
  readonly links: boolean
  /** Whether owner and mode stay as set. */
  readonly owners: boolean
  /** Whether one of the two times can be set alone; otherwise such a call has no effect. */
  readonly loneTimes: boolean
}

/** Whether marks can be stored in the kernel's format. */
export function holdsKernelForm(storage: Storage): boolean {
  return storage.whiteoutDevices && storage.xattrs && storage.exchange
}

/**
 * Explains the missing features of a storage to the administrator, in sentences: how whiteouts are stored, and whether the overlay's
 * own attributes are `kept` in the workdir.
 */
export function noticesOf(storage: Storage, whiteouts: 'device' | 'files', kept: boolean): string[] {
  const notices: string[] = []
  if (whiteouts === 'files') {
    notices.push(
      'whiteouts are stored as files (.wh.NAME): the kernel cannot read them, and clients cannot use names that start with .wh.',
    )
  }
  if (kept) {
    notices.push(
      'the upper has no extended attributes: the workdir stores them, so keep and copy both together; clients cannot set attributes of their own',
    )
  }
  if (!storage.owners) notices.push('the upper has no owners and modes: the workdir stores those that clients see')
  if (!storage.links) notices.push('the upper has no hard links: index=on has no effect')
  return notices
}

const A = 'probe-a'
const B = 'probe-b'
/** An owner that does not exist, and a mode that no file system sets by itself. */
const STRANGER = { uid: 61_183, gid: 61_184 }
const ODD_MODE = 0o4604
/** A time that any file system can store. */
const SOME_TIME: Time = { sec: 1_000_000_000, nsec: 0 }

/**
 * Tests the features of a file system in its empty directory `workFd`; leaves nothing behind. `attr` is an attribute of the overlay,
 * `privileged` tells whether the server may change the owner of objects.
 *
 * @throws EPERM this process may not set the attribute · ENOSPC | EIO | EROFS not even a plain file can be created
 */
export async function probeStorage(workFd: number, attr: string, privileged: boolean): Promise<Storage> {
  try {
    await mknodAt(workFd, A, S_IFREG | 0o600, 0, 0)
    await mkdirAt(workFd, B, 0o700)
    const xattrs = await takesAttribute(workFd, attr)
    return {
      noReplace: (await renames(workFd, RENAME_NOREPLACE)) ? RENAME_NOREPLACE : 0,
      exchange: await renames(workFd, RENAME_EXCHANGE),
      whiteoutDevices: await makes(workFd, (name) => mknodAt(workFd, name, S_IFCHR, 0, 0)),
      xattrs,
      links: await makes(workFd, (name) => linkAt(workFd, A, workFd, name)),
      owners: await can(workFd, () => keepOwner(workFd, privileged)),
      loneTimes: await can(workFd, () => setLoneTime(workFd)),
    }
  } finally {
    // The types are exchanged if the probe ended in the middle of an exchange. The next mount removes what remains.
    for (const name of [A, B]) {
      await bestEffort(() => unlinkAt(workFd, name))
      await bestEffort(() => rmdirAt(workFd, name))
    }
  }
}

/** Errors that reveal nothing about the features of a file system, only about its present state, so no lasting decision may depend on them. */
const PASSING = ['ENOSPC', 'EDQUOT', 'EIO', 'EMFILE', 'ENFILE', 'ENOMEM'] as const

/**
 * Whether `attempt` succeeds; most errors mean no. Some file systems in user space report EIO for no. They report it again after `undo`, and plain
 * files can still be created.
 *
 * @throws ENOSPC | EDQUOT | EIO | EMFILE …
 */
async function can(
  workFd: number,
  attempt: () => MaybePromise<void>,
  undo?: () => MaybePromise<void>,
): Promise<boolean> {
  for (let again = false; ; again = true) {
    try {
      await attempt()
      return true
    } catch (error) {
      if (!isErrno(error)) throw error
      if (!isErrno(error, ...PASSING)) return false
      if (!isErrno(error, 'EIO')) throw error
      if (again) return await worksOtherwise(workFd)
      await bestEffort(async () => await undo?.())
    }
  }
}

/** Returns false if the file system can still create plain files. @throws EIO | ENOSPC … it cannot */
async function worksOtherwise(workFd: number): Promise<false> {
  await mknodAt(workFd, 'probe-e', S_IFREG | 0o600, 0, 0)
  await unlinkAt(workFd, 'probe-e')
  return false
}

/** @throws EPERM attributes are supported, but this process may not set this one */
async function takesAttribute(workFd: number, attr: string): Promise<boolean> {
  try {
    await setXattr(workFd, A, attr, Buffer.from('y'))
    await removeXattr(workFd, A, attr)
    return true
  } catch (error) {
    if (isErrno(error, 'EOPNOTSUPP', 'ENOSYS')) return false
    throw error
  }
}

async function makes(workFd: number, make: (name: string) => Promise<void>): Promise<boolean> {
  const name = 'probe-c'
  const remove = () => unlinkAt(workFd, name)
  const made = await can(workFd, () => make(name), remove)
  // Some file systems create a plain file instead and report an error.
  await can(workFd, remove)
  return made
}

/** Moves the file away and back; with RENAME_EXCHANGE, exchanges it with the directory. */
async function renames(workFd: number, flag: number): Promise<boolean> {
  const other = flag === RENAME_EXCHANGE ? B : 'probe-d'
  if (!(await can(workFd, () => renameAt(workFd, A, workFd, other, flag)))) return false
  await renameAt(workFd, other, workFd, A, flag)
  return true
}

async function keepOwner(workFd: number, privileged: boolean): Promise<void> {
  if (privileged) await chownAt(workFd, A, STRANGER.uid, STRANGER.gid)
  await chmodAt(workFd, A, ODD_MODE)
  const { uid, gid, mode } = await statxAt(workFd, A)
  const given = !privileged || (uid === STRANGER.uid && gid === STRANGER.gid)
  if (!given || mode !== ODD_MODE) throw forgotten
}

/** Some file systems in user space set both times or none. */
async function setLoneTime(workFd: number): Promise<void> {
  await utimesAt(workFd, A, undefined, SOME_TIME)
  if ((await statxAt(workFd, A)).mtime.sec !== SOME_TIME.sec) throw forgotten
}

/**
 * Like `utimesAt`, but if the storage can only set both times together, `present` supplies the one that should not change.
 */
export async function setTimes(
  sb: { readonly storage: Storage | undefined },
  place: { readonly fd: number; readonly name: string },
  times: { readonly atime?: Time | 'now'; readonly mtime?: Time | 'now' },
  present: { readonly atime: Time | 'now'; readonly mtime: Time | 'now' } = { atime: 'now', mtime: 'now' },
): Promise<void> {
  const { atime, mtime } =
    sb.storage?.loneTimes === false ? { atime: present.atime, mtime: present.mtime, ...times } : times
  await utimesAt(place.fd, place.name, atime, mtime)
}

/** The error of `keepOwner` and `setLoneTime` if nothing failed but nothing was stored either. */
const forgotten = new OverlayError('EPERM', 'chmod')
