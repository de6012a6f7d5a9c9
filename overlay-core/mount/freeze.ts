import { join } from 'node:path'
import { bestEffort, OverlayError } from '../api/errno.ts'
import { type MountOptions, OptionError } from '../api/params.ts'
import type { FreshUpper } from '../api/types.ts'
import { type Layer, Real } from '../layer/layer.ts'
import { absentIndex, isAbsent, openIndexDirectory } from '../lookup/hardlink.ts'
import { readMarks } from '../lookup/marks.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { claimDir } from '../sys/claim.ts'
import { syncfs } from '../sys/data.ts'
import { mkdirAt, readdirFd } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from '../sys/flags.ts'
import { nameToHandle } from '../sys/handle.ts'
import { closeLater, closeSync, openAt, reopen } from '../sys/open.ts'
import { placesOfFd } from '../sys/place.ts'
import { statxFd } from '../sys/stat.ts'
import { dressAbove, dressLike } from './fresh-upper.ts'
import { FRESH_UPPER, FROZEN_INDEX, FROZEN_UPPER, type FreezeSite, moveUpper, openSite } from './frozen-place.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import { digestOf, type Layers } from './layers.ts'
import { decideTrust } from './link-trust.ts'
import {
  changeStack,
  checkChanges,
  forgetStack,
  keepRoots,
  leaveStack,
  type NextStack,
  ownRoots,
  type Present,
  prepare,
  type RemountParts,
} from './remount.ts'
import { closeLowers, type RootDir, type Roots } from './roots.ts'
import type { WorkdirAccess } from './workdir-access.ts'

/** How many times a freeze waits for running copy-ups before it closes the barrier; later copy-ups wait for the new upper. */
const PATIENCE = 3
/** The mode of a fresh upper until it gets that of the present one. */
const PRIVATE = 0o700

/** The parts of a mount that a freeze changes. */
export interface FreezeParts extends RemountParts {
  readonly workdir: WorkdirAccess
}

/** What the overlay consists of after a freeze. */
export interface Frozen {
  readonly frozen: Present
  /** Resolves when the frozen layer is durable. @throws the error of the disk */
  readonly durable: Promise<void>
}

/** The upper that takes the place of the present one. */
interface Fresh {
  readonly fd: number
  readonly claims: readonly number[]
  /** A descriptor of the present upper that stays open. */
  readonly upperFd: number
}

/** The arguments of `Overlay.freeze`. */
export interface FreezeOrder {
  readonly directory: string
  readonly options: MountOptions
  readonly prepared: boolean | FreshUpper
}

/** @see Overlay.freeze */
export async function freeze(
  sb: SuperBlock,
  present: Present,
  parts: FreezeParts,
  { directory, options, prepared }: FreezeOrder,
): Promise<Frozen> {
  const { roots, layers } = present
  const { keeper, nowMs } = parts.memory
  checkChanges(sb.options, options)
  const { upper } = needFreezable(sb, roots)
  const path = join(directory, FROZEN_UPPER)
  const keeps = keepsAll(sb.options, options, path)
  using opened = new DisposableStack()
  const site = await openSite({ upperdir: upper.path, workdir: (roots.work as RootDir).path, directory }, opened)
  const next = keeps ? undefined : await prepareNext(sb, roots, parts, options, opened)
  const fresh = await makeFresh(sb, site, { roots, prepared }, opened)
  const old = sb.upper as Layer
  keeper.root(sb.root)
  if (keeps) keeper.keepStack(digestOf({ lowers: [old, ...sb.lowers], data: sb.dataLayers }))
  await keeper.save()
  const places = await placesOfFd(fresh.fd)
  const trusted = await withUpperAsLower(sb, layers, path)
  for (let round = 0; round < PATIENCE && sb.copies.size > 0; round++) await Promise.allSettled([...sb.copies])
  const withIndex = sb.indexDir !== undefined && !isAbsent(sb.indexDir)
  const durable = await sb.barrier.alone(async () => {
    if (prepared === true) await needEmpty(sb, old)
    await sb.descriptors.run(async () => dressLike(sb, await sb.descriptors.of(old.root), fresh.fd))
    if (typeof prepared === 'object') await sb.descriptors.run(() => dressAbove(sb, prepared, fresh.fd))
    await moveUpper(site, withIndex)
    switchUpper(sb, parts, { fresh, directory, released: upper.shared, withIndex })
    if (prepared) await readPrepared(sb)
    if (next) changeStack(sb, options, next, nowMs)
    else addFrozen(sb, options, trusted, keeper)
    if (prepared) sb.files.dropIdleLower()
    // Before the first commit of a client.
    const sealed = makeDurable(sb, keeper)
    sealed.catch(() => undefined)
    return { sealed }
  })
  opened.move()
  closeSite(site)
  const own = { ...roots, upper: { ...upper, fd: fresh.fd, places }, claims: [...roots.claims, ...fresh.claims] }
  const below = { ...upper, given: path, path, fd: fresh.upperFd, shared: false }
  if (next) void sb.descriptors.ended().then(() => leaveStack(present))
  const frozen = next
    ? {
        ...{ roots: keepRoots(own, next.opened, next.layers), layers: next.layers },
        ...{ stack: undefined, endSharing: next.endSharing },
      }
    : {
        ...present,
        ...{ roots: { ...own, lowers: [below, ...own.lowers] }, layers: { ...layers, lowers: sb.lowers, trusted } },
      }
  return { frozen, durable: durable.sealed }
}

/** @throws OptionError the upper cannot be frozen */
function needFreezable(sb: SuperBlock, { upper }: Roots): { upper: RootDir } {
  if (!sb.upper || !sb.work || !upper)
    throw new OptionError('upperdir', 'there is none that can be written, so nothing can be frozen; mount one')
  if (sb.xattrStore.byName || sb.intents || sb.upper.inodeNumbers)
    throw new OptionError(
      'upperdir',
      'its file system keeps whiteouts or attributes in files of the workdir, so it cannot be frozen; use ext4, xfs, btrfs or tmpfs',
    )
  if (sb.options.metacopy)
    throw new OptionError(
      'metacopy',
      'hard links of a frozen layer could show old data with it, so the upper cannot be frozen; mount with metacopy=off',
    )
  return { upper }
}

/** Whether the next lowers are the present ones with the frozen upper above them. @throws OptionError they are neither that nor without it */
function keepsAll(now: MountOptions, next: MountOptions, path: string): boolean {
  if (!next.lowerdir.includes(path)) return false
  const same = JSON.stringify([next.lowerdir, next.datadir]) === JSON.stringify([[path, ...now.lowerdir], now.datadir])
  if (!same || (next.frozen ?? 0) !== (now.frozen ?? 0) + 1)
    throw new OptionError('lowerdir', `must be '${path}' above the present lowers, or not contain it`)
  return true
}

async function prepareNext(
  sb: SuperBlock,
  roots: Roots,
  parts: FreezeParts,
  options: MountOptions,
  opened: DisposableStack,
): Promise<NextStack> {
  const next = await sb.descriptors.run(async () => prepare(sb, await ownRoots(sb, roots), parts, options))
  opened.defer(() => closeLowers(next.opened))
  return next
}

/** Creates the upper that takes the place of the present one, and claims it if that is claimed. */
async function makeFresh(
  sb: SuperBlock,
  site: FreezeSite,
  { roots, prepared }: { readonly roots: Roots; readonly prepared: boolean | FreshUpper },
  opened: DisposableStack,
): Promise<Fresh> {
  if (!prepared) await mkdirAt(site.layerFd, FRESH_UPPER, PRIVATE)
  const open = async (dirFd: number, name: string) => {
    const fd = await openAt(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    opened.defer(() => closeSync(fd))
    return fd
  }
  const fd = await open(site.layerFd, FRESH_UPPER)
  const upper = roots.upper as RootDir
  const upperFd = upper.shared ? await open(site.homeFd, site.upperName) : upper.fd
  const own = statxFd(await sb.descriptors.run(() => sb.descriptors.of((sb.upper as Layer).root)))
  const { devMajor, devMinor } = statxFd(fd)
  if (devMajor !== own.devMajor || devMinor !== own.devMinor)
    throw new OptionError(
      'upperdir',
      'the directory of the frozen layer is on another file system; use one on the same',
    )
  const claims: number[] = []
  if (roots.claims.length > 0) {
    const claim = await claimDir(fd)
    if (claim !== undefined) {
      claims.push(claim)
      opened.defer(() => closeSync(claim))
    }
  }
  return { fd, claims, upperFd }
}

/** @throws EBUSY the upper contains something */
async function needEmpty(sb: SuperBlock, { root }: Layer): Promise<void> {
  const names = await sb.descriptors.run(async () => readdirFd(await sb.descriptors.of(root)))
  if (names.length > 0) throw new OverlayError('EBUSY', 'freeze')
}

/** Makes the present upper a lower and the fresh one the upper. No call is running, and nothing here can fail. */
function switchUpper(
  sb: SuperBlock,
  { workdir }: FreezeParts,
  { fresh, directory, released, withIndex }: { fresh: Fresh; directory: string; released: boolean; withIndex: boolean },
): void {
  const { descriptors } = sb
  const [old, oldWork] = [sb.upper as Layer, sb.work as Real]
  const oldWorkdir = oldWork.parent as Real
  const upper = { ...old }
  Object.assign(upper, { root: new Real(upper, undefined, '', statxFd(fresh.fd).ino) })
  const newWorkdir = new Real(upper, undefined, '', oldWorkdir.ino)
  const newWork = new Real(upper, newWorkdir, oldWork.name, oldWork.ino)
  const { place } = old.root
  upper.root.fd = fresh.fd
  if (released && place) {
    descriptors.release(upper.root, place.path)
    descriptors.drop(old.root)
    old.root.place = undefined
    old.root.fd = fresh.upperFd
    newWorkdir.place = oldWorkdir.place
    descriptors.drop(oldWorkdir)
    workdir.moved(descriptors, newWorkdir)
  } else newWorkdir.fd = oldWorkdir.fd
  descriptors.drop(oldWork)
  old.isUpper = false
  old.frozen = true
  old.index = (sb.lowers[0]?.index ?? 1) - 1
  if (sb.indexDir && withIndex) {
    const { devMajor, devMinor } = statxFd(old.root.fd)
    old.frozenIndex = Object.assign(sb.indexDir, { parent: undefined, name: '' })
    old.frozenIndex.place = { path: join(directory, FROZEN_INDEX), devMajor, devMinor }
  }
  if (sb.indexDir) sb.indexDir = absentIndex(newWorkdir)
  sb.upper = upper
  sb.work = newWork
  sb.lowers = [old, ...sb.lowers]
  sb.root.upper = upper.root
  sb.protocolData?.moved(upper, newWorkdir)
  sb.files.freeze()
  if (sb.charges) sb.charges.quota.doubtful = true
}

/** Reads what a prepared upper has brought: the marks of its root, and its index, without which its hard links are separate until the next mount. */
async function readPrepared(sb: SuperBlock): Promise<void> {
  const workdir = sb.work?.parent
  await bestEffort(() =>
    sb.descriptors.run(async () => {
      await readMarks(sb, (sb.upper as Layer).root)
      if (sb.indexDir && workdir) sb.indexDir = await openIndexDirectory(sb, workdir)
    }),
  )
}

/** Adds the frozen upper to the stack, whose objects stay as they were. */
function addFrozen(sb: SuperBlock, options: MountOptions, trusted: Layers['trusted'], keeper: IdentityKeeper): void {
  sb.options = options
  const [frozen] = sb.lowers
  decideTrust(trusted, (layer) => layer === frozen, sb.indexDir ? [] : undefined, keeper)
  forgetStack(sb)
}

/** The layers of the next stack, and how far they are trusted, with the present upper above the present lowers. */
async function withUpperAsLower(sb: SuperBlock, layers: Layers, path: string): Promise<Layers['trusted']> {
  const { upperFileSystem: fileSystem, trusted } = layers
  const layer = sb.upper as Layer
  const hasHandles = await sb.descriptors.run(async () => nameToHandle(await sb.descriptors.of(layer.root), ''))
  return fileSystem ? [{ layer, path, fileSystem, hasHandles: hasHandles !== undefined }, ...trusted] : trusted
}

function closeSite({ homeFd, workdirFd, layerFd }: FreezeSite): void {
  for (const fd of [homeFd, workdirFd, layerFd]) closeSync(fd)
}

/** Makes what was changed before the freeze durable, with the names of the layers. Commits of clients wait for it. */
async function makeDurable(sb: SuperBlock, keeper: IdentityKeeper): Promise<void> {
  if (sb.options.volatile) return
  await sb.durability.seal(async () => {
    await keeper.save()
    const fd = await sb.descriptors.run(async () => reopen(await sb.descriptors.of((sb.upper as Layer).root), O_RDONLY))
    try {
      await syncfs(fd)
    } finally {
      closeLater(fd)
    }
  })
}
