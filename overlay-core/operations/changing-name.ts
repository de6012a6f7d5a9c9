import { bestEffort, OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import {
  type Attr,
  type ChangeInfo,
  type Cred,
  FileType,
  type MaybePromise,
  type Name,
  type Time,
} from '../api/types.ts'
import { LongCopy } from '../copy-up/copy-up.ts'
import type { Real } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor, getattr } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { utimesAt } from '../sys/attr.ts'

/**
 * Runs `work`, which changes the object at `name` in `dir`, under the lock and with descriptors that stay open. `work` receives the attributes that
 * the directory had before; `changeInfo` receives those before and after.
 */
export function changingName<T>(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  changeInfo: ChangeInfo | undefined,
  work: (dirAttr: CheckedAttr) => MaybePromise<T>,
): MaybePromise<T> {
  return sb.descriptors.run(() =>
    dir.dirLock.changing(name, (alone) => {
      const { timesKept } = dir
      return after(enterLocked(sb, cred, dir, changeInfo), (attr) =>
        after(work(attr), (result) => {
          const left = result instanceof LongCopy || leaveChanged(sb, dir, { attr, timesKept, alone }, changeInfo)
          return after(left, () => result)
        }),
      )
    }),
  )
}

/** Checks that a locked directory can be changed, and records its attributes. */
export function enterLocked(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  changeInfo: ChangeInfo | undefined,
): MaybePromise<CheckedAttr> {
  if (dir.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'lookup')
  if (dir.unlinked) throw new OverlayError('ESTALE', 'lookup')
  return after(attrFor(sb, cred, dir), (attr) => {
    if (changeInfo) changeInfo.before = attr
    return attr
  })
}

/**
 * Ends a change in a locked directory. `before` are its attributes before the change. If a copy-up of one of its files restored the old
 * time just after the change, the times are set again.
 */
export function leaveLocked(
  sb: SuperBlock,
  dir: OvlInode,
  before: Attr,
  changeInfo: ChangeInfo | undefined,
): MaybePromise<void> {
  dir.changed()
  return bestEffort(() =>
    after(getattr(sb, dir), (now) => {
      // If mtime and ctime are equal, no time was restored: they equal the time before because the clock of the file system ticks slowly.
      const { upper } = dir
      const putBack = upper && sameTime(now.mtime, before.mtime) && !sameTime(now.mtime, now.ctime)
      return after(putBack ? touch(sb, dir, upper) : now, (last) => {
        if (changeInfo) changeInfo.after = last
      })
    }),
  )
}

async function touch(sb: SuperBlock, dir: OvlInode, upper: Real): Promise<Attr> {
  await utimesAt(await sb.descriptors.of(upper), '', undefined, 'now')
  dir.changed()
  return await getattr(sb, dir)
}

function sameTime(a: Time, b: Time): boolean {
  return a.sec === b.sec && a.nsec === b.nsec
}

/** The state of a directory when a change of one of its names began. */
export interface BeforeChange {
  readonly attr: Attr
  readonly timesKept: number
  /** Whether no other change has overlapped with this one so far. */
  readonly alone: () => boolean
}

/**
 * Like `leaveLocked`, for a change of one name that may run beside changes of other names (`RwLock.changing`). If a copy-up restored the times, it is
 * unknown which change it was meant for, so they are set again. The attributes before are correct only if no other change overlapped.
 */
export function leaveChanged(
  sb: SuperBlock,
  dir: OvlInode,
  { attr, timesKept, alone }: BeforeChange,
  changeInfo: ChangeInfo | undefined,
): MaybePromise<void> {
  const { upper } = dir
  const touched =
    dir.timesKept !== timesKept && upper
      ? bestEffort(async () => utimesAt(await sb.descriptors.of(upper), '', undefined, 'now'))
      : undefined
  return after(touched, () =>
    after(leaveLocked(sb, dir, attr, changeInfo), () => {
      if (changeInfo && !alone()) delete changeInfo.before
    }),
  )
}

/** Runs `work` with the locks of two objects, or of one. */
export async function withNodesLocked<T>(
  a: OvlInode | undefined,
  b: OvlInode | undefined,
  work: () => Promise<T>,
): Promise<T> {
  if (a === undefined || b === undefined || a === b) {
    const one = a ?? b
    return await (one === undefined ? work() : one.nodeLock.exclusive(work))
  }
  const [first, second] = a.key < b.key ? [a, b] : [b, a]
  return await first.nodeLock.exclusive(() => second.nodeLock.exclusive(work))
}
