import { OverlayError } from '../api/errno.ts'
import { after } from '../api/maybe-promise.ts'
import {
  type ChangeInfo,
  type CreateOptions,
  type Cred,
  FileType,
  type MaybePromise,
  type Name,
  type Ownership,
} from '../api/types.ts'
import { copyingUpFirst, copyUp, longCopyOf } from '../copy-up/copy-up.ts'
import { applyOwnership, inherit, type NewObjectSpec } from '../copy-up/owner.ts'
import { type Probe, Real } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import type { Rights } from '../layer/object-rights.ts'
import { setTimes } from '../layer/storage.ts'
import { removeTemp, removeTempDir } from '../layer/whiteout.ts'
import { isHidden, WHITEOUT } from '../layer/whiteout-format.ts'
import { saveNlink } from '../lookup/hardlink.ts'
import { setImpure } from '../lookup/marks.ts'
import { cachedDentry, checkName, lookupLocked, needMakeable, rememberUpper } from '../lookup/namei.ts'
import { setRedirect } from '../lookup/redirect.ts'
import { adding } from '../objects/charges.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { takePlace } from '../objects/nameless.ts'
import { EXECUTE, inGroup, may, need, newOwner, WRITE } from '../objects/permission.ts'
import { loadRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { truncateFd } from '../sys/attr.ts'
import { mkdirAt, mkdirFor, mknodAt, symlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_EXCL, O_RDWR } from '../sys/flags.ts'
import { closeLater, openAt } from '../sys/open.ts'
import { changingName, enterLocked, leaveLocked } from './changing-name.ts'
import { makeDirectory } from './new-directory.ts'
import { makeFile } from './new-file.ts'

/** Creates the bare object as `temp` in the work directory. */
type Build = (workFd: number, temp: Name, birth: NewObjectSpec) => Promise<void>

/** Internal options, which also contain the device number. */
type NodeOptions = CreateOptions & { readonly rdev?: { readonly major: number; readonly minor: number } }

/** A new object: its name, and how its bare form is created. */
interface NewNode {
  readonly dir: OvlInode
  readonly name: Name
  readonly type: FileType
  readonly options: NodeOptions
  readonly build: Build
}

/** @see Overlay.create */
export function create(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  options: CreateOptions,
  changeInfo?: ChangeInfo,
): MaybePromise<OvlInode> {
  const size = options.size ?? 0
  const build: Build = async (workFd, temp) => {
    const fd = await openAt(workFd, temp, O_RDWR | O_CREAT | O_EXCL, 0o600)
    try {
      if (size > 0) await truncateFd(fd, size)
    } finally {
      closeLater(fd)
    }
  }
  return make(sb, cred, { dir, name, type: FileType.regular, options, build }, changeInfo)
}

/** @see Overlay.mkdir */
export function mkdir(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  options: CreateOptions,
  changeInfo?: ChangeInfo,
): MaybePromise<OvlInode> {
  const build: Build = (workFd, temp, birth) =>
    startsComplete(sb, birth) ? mkdirFor(workFd, temp, birth.mode, birth) : mkdirAt(workFd, temp, 0o700)
  return make(sb, cred, { dir, name, type: FileType.directory, options, build }, changeInfo)
}

/** @see Overlay.symlink */
export function symlink(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  target: Uint8Array,
  options: CreateOptions,
  changeInfo?: ChangeInfo,
): MaybePromise<OvlInode> {
  if (target.length === 0) throw new OverlayError('ENOENT', 'symlink', name)
  if (target.length >= 4096) throw new OverlayError('ENAMETOOLONG', 'symlink', name)
  if (target.includes(0)) throw new OverlayError('EINVAL', 'symlink', name)
  const build: Build = (workFd, temp) => symlinkAt(target, workFd, temp)
  return make(sb, cred, { dir, name, type: FileType.symlink, options, build }, changeInfo)
}

/** @see Overlay.mknod */
export function mknod(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  type: FileType,
  rdev: { major: number; minor: number },
  options: CreateOptions,
  changeInfo?: ChangeInfo,
): MaybePromise<OvlInode> {
  const device = type === FileType.character || type === FileType.block
  if (!device && type !== FileType.fifo && type !== FileType.socket) throw new OverlayError('EINVAL', 'mknod', name)
  const whiteout = type === FileType.character && rdev.major === 0 && rdev.minor === 0
  if (whiteout || (device && cred.uid !== 0)) return refuseDevice(sb, cred, dir, name, changeInfo)
  const { major, minor } = device ? rdev : { major: 0, minor: 0 }
  const build: Build = (workFd, temp, { stub }) =>
    mknodAt(workFd, temp, (stub ? FileType.regular : type) | 0o600, stub ? 0 : major, stub ? 0 : minor)
  return make(sb, cred, { dir, name, type, options: { ...options, rdev: { major, minor } }, build }, changeInfo)
}

/** @throws EPERM after the errors that the kernel reports first: the name exists, or nothing may be created here */
async function refuseDevice(
  sb: SuperBlock,
  cred: Cred,
  dir: OvlInode,
  name: Name,
  changeInfo: ChangeInfo | undefined,
): Promise<OvlInode> {
  checkName('mknod', name)
  return await sb.descriptors.run(() =>
    dir.dirLock.exclusive(async () => {
      await needNewName(sb, cred, dir, await enterLocked(sb, cred, dir, changeInfo), name)
      throw new OverlayError('EPERM', 'mknod', name)
    }),
  )
}

function make(sb: SuperBlock, cred: Cred, node: NewNode, changeInfo: ChangeInfo | undefined): MaybePromise<OvlInode> {
  const { dir, name } = node
  checkName('create', name)
  return changingName(sb, cred, dir, name, changeInfo, (dirAttr) => {
    const made = mayMakeQuickly(sb, cred, dirAttr, node) ? makeQuickly(sb, cred, dirAttr, node) : undefined
    return after(made, (file) =>
      after(file ?? makeSlowly(sb, cred, dirAttr, node), (inode) => {
        sb.listings.insert(dir, name, inode)
        return inode
      }),
    )
  })
}

/** See `makeFile` and `makeDirectory`. */
function makeQuickly(
  sb: SuperBlock,
  cred: Cred,
  dirAttr: CheckedAttr,
  { dir, name, type, options }: NewNode,
): MaybePromise<OvlInode | undefined> {
  const owner = newOwner(cred, dirAttr, type, options.mode & 0o7777)
  return after(loadRights(sb, dir), (rights) => {
    const birth = inherit(sb, rights, type, owner, options.rdev)
    return adding(sb.charges, 0, 'create', () =>
      type === FileType.directory
        ? makeDirectory(sb, dir, name, birth, options)
        : makeFile(sb, dir, dirAttr, name, birth, options),
    )
  })
}

async function makeSlowly(sb: SuperBlock, cred: Cred, dirAttr: CheckedAttr, node: NewNode): Promise<OvlInode> {
  const { dir, name, type, options } = node
  await needNewName(sb, cred, dir, dirAttr, name)
  const owner = chosenOwner(cred, newOwner(cred, dirAttr, type, options.mode & 0o7777), options, name)
  const birth = inherit(sb, await loadRights(sb, dir), type, owner, options.rdev)
  await copyUp(sb, dir)
  const bytes = type === FileType.regular ? (options.size ?? 0) : 0
  return await adding(sb.charges, bytes, 'create', () => makeAside(sb, node, birth))
}

/** Creates an object in the work directory and gives it its name. */
async function makeAside(sb: SuperBlock, node: NewNode, birth: NewObjectSpec): Promise<OvlInode> {
  const { dir, name, type } = node
  const temp = sb.tempName()
  const { rights, probe } = await buildTemp(sb, temp, node, birth)
  const inode = rememberUpper(sb, dir, name, await publishNew(sb, node, temp, probe), rights)
  // Only the kernel's tools mark a directory for whiteouts in attribute form, and never a new one.
  if (type === FileType.directory) (inode.upper as Real).xwhiteouts = false
  return inode
}

/** Whether a directory can be created with its final owner and mode, so that only its ACLs are missing. */
function startsComplete(sb: SuperBlock, birth: NewObjectSpec): boolean {
  return !sb.keepsOwners && birth.access === undefined
}

/** Whether a file or directory may be created without looking up its name first: creating it reveals whether the name exists, and nothing else can go wrong. */
function mayMakeQuickly(
  sb: SuperBlock,
  cred: Cred,
  dirAttr: CheckedAttr,
  { dir, name, type, options }: NewNode,
): boolean {
  const known = type === FileType.regular || (type === FileType.directory && dir.lowers.length === 0)
  if (!known || sb.readOnly || sb.charges?.quota.admits(0, 1) === false) return false
  if (!dir.upper || sb.upper?.marks.reserves(name) !== false || !may(cred, dirAttr, WRITE | EXECUTE)) return false
  return options.uid === undefined && options.gid === undefined && cachedDentry(sb, dir, name)?.inode === undefined
}

/** @throws EEXIST · EACCES · EROFS in the order of the kernel */
async function needNewName(sb: SuperBlock, cred: Cred, dir: OvlInode, dirAttr: CheckedAttr, name: Name): Promise<void> {
  need(cred, dirAttr, EXECUTE, 'lookup')
  const dentry = await lookupLocked(sb, dir, name)
  if (dentry.inode) throw new OverlayError('EEXIST', 'create', name)
  if (sb.readOnly) throw new OverlayError('EROFS', 'create', name)
  need(cred, dirAttr, WRITE | EXECUTE, 'create')
  needMakeable(sb, 'create', name)
}

function chosenOwner(cred: Cred, owner: Ownership, options: CreateOptions, name: Name): Ownership {
  const uid = options.uid ?? owner.uid
  const gid = options.gid ?? owner.gid
  const mayGive = cred.uid === 0 || (uid === cred.uid && (gid === owner.gid || inGroup(cred, gid)))
  if (!mayGive) throw new OverlayError('EPERM', 'chown', name)
  return { uid, gid, mode: owner.mode }
}

/** Builds a new object as `temp` in the work directory. Also returns its probe if that is known already. */
async function buildTemp(
  sb: SuperBlock,
  temp: Name,
  { type, options, build }: NewNode,
  birth: NewObjectSpec,
): Promise<{ rights: Rights; probe: Probe | undefined }> {
  const workFd = await sb.descriptors.of(sb.work as Real)
  let probe: Probe | undefined
  try {
    await build(workFd, temp, birth)
    if (type === FileType.directory && startsComplete(sb, birth)) probe = await probeTemp(sb, temp)
    const rights = await applyOwnership(sb, workFd, temp, type, birth, probe?.stat)
    const { atime, mtime } = options
    if (atime ?? mtime)
      await setTimes(sb, { fd: workFd, name: temp }, { ...(atime && { atime }), ...(mtime && { mtime }) })
    return { rights, probe }
  } catch (error) {
    if (probe && probe.fd >= 0) sb.descriptors.retire(probe.fd)
    await discardTemp(sb, temp, type)
    throw error
  }
}

/** Gives the finished object its name in the upper directory, in one step even if a whiteout is there. Returns the new object. */
async function publishNew(
  sb: SuperBlock,
  { dir, name, type }: NewNode,
  temp: Name,
  probe: Probe | undefined,
): Promise<Probe> {
  const upper = dir.upper as Real
  const { marks } = upper.layer
  let built = probe
  try {
    const present = (await isHidden(sb, upper, name)) ? WHITEOUT : undefined
    const isDirectory = type === FileType.directory
    if (isDirectory && (present || dir.lowers.length > 0))
      await marks.setOpaque(sb, await sb.descriptors.of(sb.work as Real), temp)
    // This comes before the object has its name, because afterwards nothing may fail.
    built ??= await probeTemp(sb, temp)
    await marks.publish(sb, temp, upper, name, isDirectory, present)
    return built
  } catch (error) {
    if (built && built.fd >= 0) sb.descriptors.retire(built.fd)
    await discardTemp(sb, temp, type)
    throw error
  }
}

/** The finished object with the name `temp` in the work directory. */
export async function probeTemp(sb: SuperBlock, temp: Name): Promise<Probe> {
  const probe = await sb.descriptors.probe(sb.work as Real, temp)
  if (!probe) throw new OverlayError('EIO', 'create')
  return probe
}

async function discardTemp(sb: SuperBlock, temp: Name, type: FileType): Promise<void> {
  if (type === FileType.directory) await removeTempDir(sb, temp)
  else await removeTemp(sb, temp)
}

/** @see Overlay.link */
export async function link(
  sb: SuperBlock,
  cred: Cred,
  inode: OvlInode,
  dir: OvlInode,
  name: Name,
  changeInfo?: ChangeInfo,
): Promise<void> {
  checkName('link', name)
  await copyingUpFirst(sb, (patient) =>
    sb.descriptors.run(() =>
      dir.dirLock.exclusive(async () => {
        const dirAttr = await enterLocked(sb, cred, dir, changeInfo)
        await needNewName(sb, cred, dir, dirAttr, name)
        if (inode.type === FileType.directory) throw new OverlayError('EPERM', 'link', name)
        if (inode.unlinked) throw new OverlayError('ESTALE', 'link', name)
        const long = patient ? undefined : longCopyOf(sb, inode)
        if (long) return long
        await copyUp(sb, inode, 'metadata')
        await copyUp(sb, dir)
        await inode.nodeLock.exclusive(() => linkLocked(sb, inode, dir, name))
        await leaveLocked(sb, dir, dirAttr, changeInfo)
      }),
    ),
  )
}

async function linkLocked(sb: SuperBlock, inode: OvlInode, dir: OvlInode, name: Name): Promise<void> {
  if (inode.unlinked) throw new OverlayError('ESTALE', 'link', name)
  const upper = dir.upper as Real
  await saveNlink(sb, inode)
  if (inode.hasOrigin) await setImpure(sb, upper)
  if (inode.metacopy) await setRedirect(sb, inode, name, false)
  const source = inode.upper as Real
  await upper.layer.marks.link(sb, source, upper, name)
  inode.changed()
  if (!source.parent) takePlace(sb, inode, new Real(source.layer, upper, name, source.ino))
  sb.dcache.set(dir, name, inode)
  inode.addAlias(dir, name)
  sb.listings.insert(dir, name, inode)
  if (!source.parent) sb.handles.remember(inode)
}
