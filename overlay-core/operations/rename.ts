import { OverlayError } from '../api/errno.ts'
import { type Attr, type ChangeInfo, type Cred, FileType, type Name } from '../api/types.ts'
import type { RwLock } from '../base/lock.ts'
import { copyForWriters, copyingUpFirst, copyUp, type LongCopy, longCopyOf } from '../copy-up/copy-up.ts'
import type { Probe, Real } from '../layer/layer.ts'
import { removeTempDir } from '../layer/whiteout.ts'
import { clearWorkDir } from '../layer/workdir.ts'
import { saveNlink } from '../lookup/hardlink.ts'
import { setImpure } from '../lookup/marks.ts'
import { checkName, lookupLocked, lowerPositive, needMakeable } from '../lookup/namei.ts'
import { isEmptyLocked } from '../lookup/readdir.ts'
import { setRedirect } from '../lookup/redirect.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor } from '../objects/inode.ts'
import { EXECUTE, need, needEntryChange, WRITE } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { chmodAt, chownAt, utimesAt } from '../sys/attr.ts'
import { mkdirAt, readdirFd } from '../sys/dir.ts'
import { statxFd } from '../sys/stat.ts'
import { enterLocked, leaveLocked, withNodesLocked } from './changing-name.ts'
import { probeTemp } from './dir.ts'
import { removingName, separateLink } from './remove.ts'

/** @see Overlay.rename */
export interface RenameOptions {
  noReplace?: boolean
  exchange?: boolean
  fromInfo?: ChangeInfo
  toInfo?: ChangeInfo
  check?: (source: OvlInode, target: OvlInode | undefined) => void
}

interface NameIn {
  readonly dir: OvlInode
  readonly name: Name
}

/** A rename after both names were looked up and the permissions checked; the directories are locked. */
interface Move {
  readonly from: NameIn
  readonly to: NameIn
  readonly source: OvlInode
  readonly target: OvlInode | undefined
  readonly exchange: boolean
  /** The attributes of the directories before the rename. */
  readonly fromAttr: Attr
  readonly toAttr: Attr
}

/**
 * Moves a name. Between two directories it holds the lock of the overlay's shape, and then the locks of both directories, ancestor first.
 *
 * @see fs/overlayfs/dir.c ovl_rename
 */
export async function rename(
  sb: SuperBlock,
  cred: Cred,
  from: NameIn,
  to: NameIn,
  options: RenameOptions,
): Promise<void> {
  checkName('rename', from.name)
  checkName('rename', to.name)
  if (options.noReplace && options.exchange) throw new OverlayError('EINVAL', 'rename')
  await copyingUpFirst(sb, (patient) =>
    sb.descriptors.run(() =>
      withBothLocked(sb, from.dir, to.dir, async () => {
        const move = await prepare(sb, cred, from, to, options)
        if (!move) return undefined
        return (patient ? undefined : longCopyFor(sb, move)) ?? (await renameLocked(sb, move, options))
      }),
    ),
  )
}

async function withBothLocked<T>(sb: SuperBlock, a: OvlInode, b: OvlInode, work: () => Promise<T>): Promise<T> {
  if (a === b) return await a.dirLock.exclusive(work)
  return await sb.renameLock.exclusive(async () => {
    const aFirst = isWithin(b, a) || (!isWithin(a, b) && a.key < b.key)
    const [first, second] = aFirst ? [a, b] : [b, a]
    return await first.dirLock.exclusive(() => second.dirLock.exclusive(work))
  })
}

/** Returns the long copy-up that the move needs, if any. A replaced object is only copied up if its index entry must count its names. */
function longCopyFor(sb: SuperBlock, { source, target, exchange }: Move): LongCopy | undefined {
  const counted = exchange || target?.indexName !== undefined
  return longCopyOf(sb, source) ?? (counted ? longCopyOf(sb, target) : undefined) ?? copyForWriters(target)
}

/** Whether `inode` is `ancestor` or one of its descendants. */
function isWithin(inode: OvlInode, ancestor: OvlInode): boolean {
  for (let at: OvlInode | undefined = inode; at; at = at.alias?.dir) if (at === ancestor) return true
  return false
}

async function renameLocked(sb: SuperBlock, move: Move, options: RenameOptions): Promise<void> {
  const { from, to, source, target } = move
  const targetLock = target?.type === FileType.directory && !move.exchange ? target.dirLock : undefined
  await locked(targetLock, async () => {
    // This comes before the copy-ups, because a refused rename must not copy up.
    if (targetLock && target && !(await isEmptyLocked(sb, target)))
      throw new OverlayError('ENOTEMPTY', 'rename', to.name)
    await copyUp(sb, from.dir)
    await copyUp(sb, source, 'metadata')
    await copyUp(sb, to.dir)
    if (target && move.exchange) await copyUp(sb, target, 'metadata')
    if (source.type !== FileType.directory) await separateLink(sb, source, from.dir, from.name)
    if (target && target.type !== FileType.directory) await separateLink(sb, target, to.dir, to.name)
    await withNodesLocked(source, target, () => moveOrStay(sb, move))
  })
  source.changed()
  target?.changed()
  await leaveLocked(sb, from.dir, move.fromAttr, options.fromInfo)
  if (from.dir !== to.dir) await leaveLocked(sb, to.dir, move.toAttr, options.toInfo)
  else if (options.toInfo && options.fromInfo) Object.assign(options.toInfo, options.fromInfo)
}

async function locked(lock: RwLock | undefined, work: () => Promise<void>): Promise<void> {
  return lock ? await lock.exclusive(work) : await work()
}

/** Looks up both names and checks everything; undefined if there is nothing to do because both names belong to the same object. */
async function prepare(
  sb: SuperBlock,
  cred: Cred,
  from: NameIn,
  to: NameIn,
  options: RenameOptions,
): Promise<Move | undefined> {
  const fromAttr = await enterLocked(sb, cred, from.dir, options.fromInfo)
  const toAttr = from.dir === to.dir ? fromAttr : await enterLocked(sb, cred, to.dir, options.toInfo)
  need(cred, fromAttr, EXECUTE, 'rename')
  need(cred, toAttr, EXECUTE, 'rename')
  const source = (await lookupLocked(sb, from.dir, from.name)).inode
  if (!source) throw new OverlayError('ENOENT', 'rename', from.name)
  const target = (await lookupLocked(sb, to.dir, to.name)).inode
  if (options.noReplace && target) throw new OverlayError('EEXIST', 'rename', to.name)
  if (options.exchange && !target) throw new OverlayError('ENOENT', 'rename', to.name)
  if (isWithin(to.dir, source)) throw new OverlayError('EINVAL', 'rename', to.name)
  if (target && isWithin(from.dir, target))
    throw new OverlayError(options.exchange ? 'EINVAL' : 'ENOTEMPTY', 'rename', to.name)
  if (sb.readOnly) throw new OverlayError('EROFS', 'rename', from.name)
  if (source === target) return undefined
  const sourceAttr = await attrFor(sb, cred, source)
  const targetAttr = target && (await attrFor(sb, cred, target))
  needEntryChange(cred, fromAttr, sourceAttr, 'rename')
  needEntryChange(cred, toAttr, targetAttr, 'rename')
  if (target && !options.exchange) needSameKind(source, target, to.name)
  if (from.dir !== to.dir) {
    if (source.type === FileType.directory) need(cred, sourceAttr, WRITE, 'rename')
    if (options.exchange && targetAttr?.type === FileType.directory) need(cred, targetAttr, WRITE, 'rename')
  }
  needMakeable(sb, 'rename', to.name)
  needMovable(sb, source, from.name)
  if (target && options.exchange) needMovable(sb, target, to.name)
  options.check?.(source, target)
  return { from, to, source, target, exchange: options.exchange === true, fromAttr, toAttr }
}

function needSameKind(source: OvlInode, target: OvlInode, name: Name): void {
  const sourceDir = source.type === FileType.directory
  const targetDir = target.type === FileType.directory
  if (sourceDir && !targetDir) throw new OverlayError('ENOTDIR', 'rename', name)
  if (!sourceDir && targetDir) throw new OverlayError('EISDIR', 'rename', name)
}

/** @throws EXDEV the directory has lowers, and can only move if redirects are written */
function needMovable(sb: SuperBlock, inode: OvlInode, name: Name): void {
  if (inode.type !== FileType.directory || inode.lowers.length === 0) return
  if (sb.options.redirectDir !== 'on') throw new OverlayError('EXDEV', 'rename', name)
}

/** Marks a directory for its new place: with a redirect to its lowers, or as opaque so that it does not merge with other lowers there. */
async function markForMove(sb: SuperBlock, inode: OvlInode, from: NameIn, to: NameIn): Promise<void> {
  if (inode.hasOrigin || inode.lowers.length > 0) await setImpure(sb, to.dir.upper as Real)
  if (inode.metacopy) await setRedirect(sb, inode, from.name, from.dir === to.dir)
  if (inode.type !== FileType.directory) return
  const upper = inode.upper as Real
  if (inode.lowers.length > 0) {
    await setRedirect(sb, inode, from.name, from.dir === to.dir)
  } else if (to.dir.lowers.length > 0 && !upper.opaque) {
    await upper.layer.marks.setOpaque(sb, await sb.descriptors.of(upper), '')
    upper.opaque = true
  }
}

/** Moves; if that fails, the objects are recorded again at their old names. */
async function moveOrStay(sb: SuperBlock, move: Move): Promise<void> {
  try {
    await (move.exchange ? exchangeNames(sb, move) : moveName(sb, move))
  } catch (error) {
    sb.handles.remember(move.source)
    if (move.target) sb.handles.remember(move.target)
    throw error
  }
}

async function exchangeNames(sb: SuperBlock, move: Move): Promise<void> {
  const { from, to, source } = move
  const target = move.target as OvlInode
  await markForMove(sb, source, from, to)
  await markForMove(sb, target, to, from)
  const fromUpper = from.dir.upper as Real
  await sb.handles.moving(source, to.dir, to.name)
  await sb.handles.moving(target, from.dir, from.name)
  await fromUpper.layer.marks.exchange(sb, fromUpper, from.name, to.dir.upper as Real, to.name)
  unplace(sb, source, from)
  unplace(sb, target, to)
  place(sb, source, from, to)
  place(sb, target, to, from)
}

async function moveName(sb: SuperBlock, move: Move): Promise<void> {
  const { from, to, source, target } = move
  await markForMove(sb, source, from, to)
  await saveNlink(sb, source)
  const work = async (forget?: () => void) => {
    await sb.handles.moving(source, to.dir, to.name)
    await moveUpper(sb, move)
    forget?.()
    unplace(sb, source, from)
    place(sb, source, from, to)
  }
  await (target ? removingName(sb, target, to.dir, to.name, work) : work())
}

/** Moves the upper object. If a lower would become visible at the old name, the same system call puts a whiteout there. */
async function moveUpper(sb: SuperBlock, move: Move): Promise<void> {
  const { from, to, source, target } = move
  const fromUpper = from.dir.upper as Real
  const toUpper = to.dir.upper as Real
  const { marks } = toUpper.layer
  const cover = await lowerPositive(sb, from.dir, from.name)
  const directory = source.type === FileType.directory
  const replacesDirectory = directory && target?.upper !== undefined
  if (replacesDirectory && !marks.replacesDirectories) await clearUpperDir(sb, toUpper, to.name, target)
  const places = { from: fromUpper, fromName: from.name, to: toUpper, toName: to.name }
  await marks.move(sb, { ...places, directory, replacesDirectory, cover })
}

/**
 * Replaces a directory that looks empty but contains whiteouts by an empty opaque directory with the same attributes, so that rename can
 * replace it (ovl_clear_empty). Clients see no change.
 */
async function clearUpperDir(sb: SuperBlock, parent: Real, name: Name, target: OvlInode): Promise<void> {
  const old = target.upper as Real
  const oldFd = await sb.descriptors.of(old)
  if ((await readdirFd(oldFd)).length === 0) return
  const temp = sb.tempName()
  const workFd = await sb.descriptors.of(sb.work as Real)
  await mkdirAt(workFd, temp, 0o700)
  let fresh: Probe
  try {
    await makeLike(sb, old, workFd, temp)
    fresh = await probeTemp(sb, temp)
    await parent.layer.marks.exchange(sb, sb.work as Real, temp, parent, name)
  } catch (error) {
    await removeTempDir(sb, temp)
    throw error
  }
  for (const real of [old, ...target.lowers]) sb.descriptors.drop(real)
  target.upper = sb.descriptors.found(parent, name, fresh).real
  target.upper.opaque = true
  target.lowers = []
  target.changed()
  await clearWorkDir(sb, temp)
}

/** Gives a directory in the work directory the attributes of the upper directory `old`, and makes it opaque. */
async function makeLike(sb: SuperBlock, old: Real, workFd: number, temp: Name): Promise<void> {
  const oldFd = await sb.descriptors.of(old)
  const { opaque, redirect, impure } = sb.overlayXattrs
  const stat = statxFd(oldFd)
  if (stat.uid !== sb.serverUid || stat.gid !== sb.serverGid) await chownAt(workFd, temp, stat.uid, stat.gid)
  for (const attr of await sb.xattrStore.list(oldFd, '')) {
    if (attr === opaque || attr === redirect || attr === impure) continue
    const value = await sb.xattrStore.get(oldFd, '', attr)
    if (value) await sb.xattrStore.set(workFd, temp, attr, value)
  }
  await old.layer.marks.setOpaque(sb, workFd, temp)
  await chmodAt(workFd, temp, stat.mode)
  await utimesAt(workFd, temp, stat.atime, stat.mtime)
}

function unplace(sb: SuperBlock, inode: OvlInode, at: NameIn): void {
  inode.removeAlias(at.dir, at.name)
  sb.dcache.set(at.dir, at.name, undefined)
  sb.listings.remove(at.dir, at.name)
}

/** Records that `inode`, which was at `from`, is now at `to`. */
function place(sb: SuperBlock, inode: OvlInode, from: NameIn, to: NameIn): void {
  const upper = inode.upper as Real
  if (upper.parent === from.dir.upper && upper.name === from.name) {
    upper.parent = to.dir.upper
    upper.name = to.name
    upper.coversNothingIn = -1
  }
  inode.addAlias(to.dir, to.name)
  sb.dcache.set(to.dir, to.name, inode)
  sb.listings.insert(to.dir, to.name, inode)
}
