import { OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import { type Attr, type Cred, FileType, type MaybePromise, type Time } from '../api/types.ts'
import { asksForAttributes, type Probe, type Real } from '../layer/layer.ts'
import { type CheckedAttr, ObjectAttr, type Subject } from '../layer/object-attr.ts'
import { standsFor } from '../layer/override-stat.ts'
import { provenPlace } from '../layer/proven-place.ts'
import { trueLinks } from '../layer/true-links.ts'
import { LowerReal } from '../stack/lower-real.ts'
import { readlinkAt } from '../sys/dir.ts'
import { closeSync } from '../sys/open.ts'
import { type Stat, statxFd, statxFdAsking } from '../sys/stat.ts'
import type { OvlInode } from './dentry.ts'
import { aclMatters, EXECUTE, may, need, READ, WRITE } from './permission.ts'
import { knownRights, loadRights, loadRightsLocked } from './rights.ts'
import type { SuperBlock } from './superblock.ts'

/** The attributes that clients see: from the cache, otherwise from the topmost real object. @throws ESTALE it no longer exists */
export function getattr(sb: SuperBlock, inode: OvlInode): MaybePromise<Attr> {
  const attr = inode.attr ?? attrAtHand(sb, inode)
  if (attr) return attr
  return sb.descriptors.run(async () => {
    if (sb.keepsOwners) await loadRights(sb, inode)
    const read = await readAttr(sb, inode)
    if (read) return read
    // The object is not at its place, because it is being moved or was removed. Under its lock this is certain.
    return await inode.nodeLock.shared(() => getattrLocked(sb, inode))
  })
}

/** Like `getattr`, for a caller that holds the lock of `inode`. */
export async function getattrLocked(sb: SuperBlock, inode: OvlInode): Promise<Attr> {
  if (sb.keepsOwners) await loadRightsLocked(sb, inode)
  const attr = inode.attr ?? attrAtHand(sb, inode) ?? (await readAttr(sb, inode))
  if (!attr) throw new OverlayError('ESTALE', 'getattr')
  return attr
}

/**
 * Like `getattr`, for permission checks on behalf of `cred`. Synchronous when `getattr` is, except the first time that an ACL could matter
 * to the caller.
 */
export function attrFor(sb: SuperBlock, cred: Cred, inode: OvlInode): MaybePromise<CheckedAttr> {
  const attr = inode.attr ?? getattr(sb, inode)
  if (attr instanceof Promise) return attr.then((now) => withAcl(sb, cred, inode, now))
  // The result of `getattr` contains the ACL if it was known.
  return inode.rights === undefined && aclMatters(cred, attr) ? withAcl(sb, cred, inode, attr) : (attr as CheckedAttr)
}

function withAcl(sb: SuperBlock, cred: Cred, inode: OvlInode, attr: Attr): MaybePromise<CheckedAttr> {
  if (needsNoAcl(sb, cred, inode, attr)) return attr as CheckedAttr
  return after(loadRights(sb, inode), () => attrFor(sb, cred, inode))
}

/** Like `attrFor`, for a caller that holds the lock of `inode`. */
export async function attrForLocked(sb: SuperBlock, cred: Cred, inode: OvlInode): Promise<CheckedAttr> {
  const attr = await getattrLocked(sb, inode)
  if (needsNoAcl(sb, cred, inode, attr)) return attr as CheckedAttr
  await loadRightsLocked(sb, inode)
  return (await getattrLocked(sb, inode)) as CheckedAttr
}

function needsNoAcl(sb: SuperBlock, cred: Cred, inode: OvlInode, attr: Attr): boolean {
  if (!aclMatters(cred, attr)) return true
  inode.rights ??= knownRights(sb, inode.real)
  return inode.rights !== undefined
}

/** The attributes, read through a descriptor that is already open. @throws ESTALE no name is left and it is not open */
function attrAtHand(sb: SuperBlock, inode: OvlInode): Attr | undefined {
  if (sb.keepsOwners && inode.rights === undefined) return undefined
  const { real } = inode
  const shared = real instanceof LowerReal ? sharedAttr(inode, real) : undefined
  if (shared) {
    inode.attr = shared
    return shared
  }
  if (inode.upper && asksForAttributes(inode.upper.layer) && !inode.unlinked) return undefined
  const { file } = inode
  if (file && !inode.dataReal && (file.upper || !inode.upper)) return keepAttr(inode, statxFd(file.fd))
  if (inode.unlinked) throw new OverlayError('ESTALE', 'getattr')
  return real.fd >= 0 && !inode.dataReal ? keepAttr(inode, statxFd(real.fd)) : undefined
}

/** The attributes that all overlays of a stack show of the lower object `inode`; undefined if this overlay may show others. */
function sharedAttr(inode: OvlInode, real: LowerReal): CheckedAttr | undefined {
  if (real.layer.revalidates || inode.unlinked || inode.dataReal || inode.nlinkDelta !== undefined) return undefined
  const { attr: found } = real
  // It may have an identity of its own here, or stand for a device.
  if (found?.fileIdLo !== inode.fileIdLo || found.fileIdHi !== inode.fileIdHi || found.type !== inode.type)
    return undefined
  const known = inode.rights ?? real.rights
  const rights = known?.acl !== undefined || known?.owner !== undefined ? known : undefined
  const directory = inode.type === FileType.directory
  if (!directory && rights === undefined) return found
  const merges = directory && inode.lowers.length > 1
  if (real.shown?.rights !== rights || real.shown?.merges !== merges) {
    real.shown = { attr: attrOf(inode, found, rights, found), rights, merges }
  }
  return real.shown.attr
}

/** The attributes, read by name; undefined if another object is there. */
async function readAttr(sb: SuperBlock, inode: OvlInode): Promise<Attr | undefined> {
  for (;;) {
    const { real, changes } = inode
    const probe = await probeReal(sb, real)
    if (inode.changes !== changes || inode.real !== real) {
      const attr = attrAtHand(sb, inode)
      if (attr) return attr
      continue
    }
    if (!probe) return undefined
    const { dataReal } = inode
    const data = dataReal && (await sb.descriptors.probe(dataReal.parent as Real, dataReal.name))
    if (inode.changes !== changes) continue
    return keepAttr(inode, data ? { ...probe.stat, blocks: data.stat.blocks } : probe.stat)
  }
}

/** The attributes at the location of `real`, if it is still that object. */
async function probeReal(sb: SuperBlock, real: Real): Promise<Probe | undefined> {
  if (!real.parent) return { stat: await statxFdAsking(await sb.descriptors.of(real)), fd: -1 }
  const probe = await sb.descriptors.probe(real.parent, real.name)
  if (probe?.stat.ino === real.ino) {
    if (probe.fd >= 0) sb.descriptors.adopt(real, probe.fd)
    return probe
  }
  if (probe && probe.fd >= 0) sb.descriptors.retire(probe.fd)
  return undefined
}

/** Caches the attributes of `inode`, from those of its real object. */
export function keepAttr(inode: OvlInode, stat: Stat): CheckedAttr {
  const attr = attrOf(inode, stat)
  inode.attr = attr
  return attr
}

/**
 * The attributes of `inode`, from those of its real object, with the overlay's file id and link count (ovl_getattr).
 *
 * @param subject what the result refers to for the file id and the type
 */
export function attrOf(inode: OvlInode, stat: Stat, rights = inode.rights, subject: Subject = inode): CheckedAttr {
  const { mode, uid, gid } = rights?.owner ?? stat
  const { rdevMajor, rdevMinor } = rights?.owner && standsFor(rights.owner) ? rights.owner : stat
  let nlink = trueLinks(stat)
  if (inode.unlinked) nlink = 0
  else if (inode.type === FileType.directory) nlink = inode.lowers.length + (inode.upper ? 1 : 0) > 1 ? 1 : nlink
  else if (inode.nlinkDelta !== undefined) nlink += inode.nlinkDelta
  const ctime = inode.type === FileType.directory ? ctimeOf(inode, stat) : stat.ctime
  return new ObjectAttr(subject, stat, { mode, uid, gid, nlink, rdevMajor, rdevMinor, ctime, acl: rights?.acl })
}

/** The ctime; for a directory also that of a change of the stack of layers, or of a change noticed in a lower. */
function ctimeOf(inode: OvlInode, stat: Stat): Time {
  return later(later(stat.ctime, inode.real.layer.stackChanged), inode.lowerChanged)
}

function later(a: Time, b: Time | undefined): Time {
  return b === undefined || a.sec > b.sec || (a.sec === b.sec && a.nsec >= b.nsec) ? a : b
}

/** The subset of `mask` that the caller has. */
export function grantedAccess(cred: Cred, attr: CheckedAttr, mask: number): number {
  let granted = 0
  for (const bit of [READ, WRITE, EXECUTE]) if ((mask & bit) !== 0 && may(cred, attr, bit)) granted |= bit
  return granted
}

/** Checks that an object without a name is in the upper, because a lower is never written. @throws ESTALE */
export function needChangeable(inode: OvlInode, op: string): void {
  if (inode.unlinked && !inode.upper) throw new OverlayError('ESTALE', op)
}

/**
 * Names the real object for a system call (`provenPlace`). For a caller that holds the lock of `inode`, without which the place may change,
 * inside `Descriptors.run`.
 *
 * @throws ESTALE the object is no longer at its known place, and cannot be found another way
 */
export async function placeOf(
  sb: SuperBlock,
  inode: OvlInode,
): Promise<{ readonly fd: number; readonly name: string }> {
  if (inode.unlinked) {
    // A lower's descriptor is only for reading: the object behind it must not be changed.
    if (!inode.file?.upper) throw new OverlayError('ESTALE', 'inode')
    return { fd: inode.file.fd, name: '' }
  }
  const { real } = inode
  if (inode.type === FileType.directory) return { fd: await sb.descriptors.of(real), name: '' }
  return await provenPlace(sb, real)
}

/**
 * Runs `work` with the place of the real object, for a caller that holds the lock of `inode` and is about to replace it: no descriptor is left that would keep its
 * space. @throws ESTALE as `placeOf`
 */
export async function withPlaceFor<T>(
  sb: SuperBlock,
  inode: OvlInode,
  work: (fd: number, name: string) => Promise<T>,
): Promise<T> {
  const { real } = inode
  const fd = inode.unlinked || sb.xattrStore.byName || !real.parent ? -1 : await sb.descriptors.openObject(real)
  if (fd < 0) {
    const place = await placeOf(sb, inode)
    return await work(place.fd, place.name)
  }
  try {
    return await work(fd, '')
  } finally {
    closeSync(fd)
  }
}

/** Runs `work` with the place of the real object, which cannot move meanwhile. */
export function withPlace<T>(
  sb: SuperBlock,
  inode: OvlInode,
  work: (fd: number, name: string) => MaybePromise<T>,
): MaybePromise<T> {
  return sb.descriptors.run(() =>
    inode.nodeLock.shared(async () => {
      const { fd, name } = await placeOf(sb, inode)
      return await work(fd, name)
    }),
  )
}

/** The target of a symlink. @throws EINVAL it is not a symlink */
export function readlink(sb: SuperBlock, inode: OvlInode): MaybePromise<Uint8Array> {
  if (inode.type !== FileType.symlink) throw new OverlayError('EINVAL', 'readlink')
  return withPlace(sb, inode, readlinkAt)
}

/** @throws EACCES */
export function needAccess(sb: SuperBlock, cred: Cred, inode: OvlInode, mask: number, op: string): MaybePromise<void> {
  const attr = attrFor(sb, cred, inode)
  if (attr instanceof Promise) return attr.then((now) => need(cred, now, mask, op))
  need(cred, attr, mask, op)
}
