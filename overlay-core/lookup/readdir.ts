import { isErrno } from '../api/errno.ts'
import { type DirEntry, type DirEntryPlus, FileType, type MaybePromise, type Name } from '../api/types.ts'
import { LargeMap } from '../base/large-map.ts'
import { inOrder } from '../base/listing-order.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { fileId, keyOf, keyOfFileId } from '../layer/identity.ts'
import { isNumberMadeUp, keepsIdentities, type Real } from '../layer/layer.ts'
import { holdsAttributeWhiteouts } from '../layer/whiteout.ts'
import { nameStateAt, WHITEOUT } from '../layer/whiteout-format.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { getattr } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { lowerReals } from '../stack/lower-listings.ts'
import { LowerReal } from '../stack/lower-real.ts'
import { cookieOf, firstAfter, type ListEntry, type Listing } from '../stack/merged-listing.ts'
import { descriptorsAreFew } from '../sys/descriptor-shares.ts'
import { type RawDirEntry, readdirFd } from '../sys/dir.ts'
import { separatesLinks } from './hardlink.ts'
import { isElsewhere } from './iget.ts'
import { lookupDentry } from './namei.ts'

/** The number of names that `readdirPlus` looks up together. */
const WINDOW = 64
const LEAST_WINDOW = 2

/** @see Overlay.readdir — the caller has checked the permission. */
export function readdir(
  sb: SuperBlock,
  dir: OvlInode,
  cookie: number,
  fill: (entry: DirEntry) => boolean,
): MaybePromise<boolean> {
  const listing = dir.listing ?? sharedListing(dir)
  let at = cookie
  if (listing) {
    const done = fillFrom(sb, dir, listing, cookie, fill)
    if (typeof done === 'boolean') return done
    at = (listing.entries[done.stopped - 1] as ListEntry | undefined)?.cookie ?? 0
  }
  return sb.descriptors.run(async () => {
    const fresh = await listingOf(sb, dir)
    for (;;) {
      const done = fillFrom(sb, dir, fresh, at, fill)
      if (typeof done === 'boolean') return done
      // The file id of this entry is known only to its inode. An entry that cannot be reached is left out, as by ovl_cache_update.
      const entry = fresh.entries[done.stopped] as ListEntry
      const inode = await reachable(sb, dir, entry.name)
      at = entry.cookie
      if (inode && inode !== UNREACHABLE && !fill(toEntry(entry, inode))) return false
    }
  })
}

/** Fills entries from memory; stops and returns the index of an entry whose file id needs a lookup. */
function fillFrom(
  sb: SuperBlock,
  dir: OvlInode,
  listing: Listing,
  cookie: number,
  fill: (entry: DirEntry) => boolean,
): boolean | { stopped: number } {
  const { entries } = listing
  // In a shared listing, this overlay may have given the number of an object to another one.
  const checks = dir.listing !== listing && (sb.dcache.hasUppers || sb.lowers[0]?.frozen === true)
  for (let i = firstAfter(listing, cookie); i < entries.length; i++) {
    const entry = entries[i] as ListEntry
    if (entry.fileIdHi === undefined || (checks && isGivenAway(sb, dir, entry))) {
      const inode = sb.dcache.get(dir, entry.name)?.inode
      if (!inode) return { stopped: i }
      if (!fill(toEntry(entry, inode))) return false
    } else if (!fill(entry as DirEntry)) return false
  }
  return true
}

/** Whether an object of this overlay elsewhere has the file id of `entry`, which then needs another one. */
function isGivenAway(sb: SuperBlock, dir: OvlInode, { name, fileIdHi, fileIdLo }: ListEntry): boolean {
  return fileIdHi !== undefined && isElsewhere(sb.dcache.inode(keyOfFileId(fileIdHi, fileIdLo)), dir, name)
}

function toEntry(entry: ListEntry, inode: OvlInode): DirEntry {
  const { fileIdHi, fileIdLo, type } = inode
  return { name: entry.name, cookie: entry.cookie, type, fileIdHi, fileIdLo }
}

/** @see Overlay.readdirPlus — `searchable` tells whether the caller may look up names; the caller has checked the read permission. */
export function readdirPlus(
  sb: SuperBlock,
  dir: OvlInode,
  cookie: number,
  searchable: boolean,
  fill: (entry: DirEntryPlus) => boolean,
): MaybePromise<boolean> {
  if (!searchable) {
    return readdir(sb, dir, cookie, (entry) => fill({ ...entry, inode: undefined, attr: undefined }))
  }
  let at = cookie
  const listing = dir.listing ?? sharedListing(dir)
  if (listing) {
    const result = fillPlusCached(sb, dir, listing, cookie, fill)
    if (typeof result === 'boolean') return result
    at = result.after
  }
  return fillPlusWaiting(sb, dir, at, fill)
}

function fillPlusCached(
  sb: SuperBlock,
  dir: OvlInode,
  listing: Listing,
  cookie: number,
  fill: (entry: DirEntryPlus) => boolean,
): boolean | { after: number } {
  let after = cookie
  for (let i = firstAfter(listing, cookie); i < listing.entries.length; i++) {
    const entry = listing.entries[i] as ListEntry
    const inode = sb.dcache.get(dir, entry.name)?.inode
    const attr = inode?.attr
    if (!inode || !attr) return { after }
    const { type, fileIdHi, fileIdLo } = inode
    if (!fill({ name: entry.name, cookie: entry.cookie, type, fileIdHi, fileIdLo, inode, attr })) return false
    after = entry.cookie
  }
  return true
}

async function fillPlusWaiting(
  sb: SuperBlock,
  dir: OvlInode,
  cookie: number,
  fill: (entry: DirEntryPlus) => boolean,
): Promise<boolean> {
  const { descriptors } = sb
  // Looking up a directory opens a descriptor.
  const window = descriptorsAreFew() ? LEAST_WINDOW : Math.max(LEAST_WINDOW, Math.min(WINDOW, descriptors.limit))
  let epoch = descriptors.enter()
  try {
    const listing = await listingOf(sb, dir)
    for (let after = cookie; ; ) {
      // One window in each turn of the event loop, also when many callers have waited for the same listing.
      await loopBudget.rest()
      epoch = descriptors.renew(epoch)
      const start = firstAfter(listing, after)
      const part = listing.entries.slice(start, start + window)
      if (part.length === 0) return true
      const found = await Promise.all(part.map((entry) => plusEntry(sb, dir, entry)))
      for (const entry of found) if (entry && !fill(entry)) return false
      after = (part.at(-1) as ListEntry).cookie
    }
  } finally {
    descriptors.leave(epoch)
  }
}

/** The entry with its object, or without it if that cannot be reached; undefined if the name was removed meanwhile. */
async function plusEntry(sb: SuperBlock, dir: OvlInode, entry: ListEntry): Promise<DirEntryPlus | undefined> {
  for (;;) {
    const inode = await reachable(sb, dir, entry.name)
    if (inode === UNREACHABLE)
      return entry.fileIdHi === undefined ? undefined : { ...(entry as DirEntry), inode: undefined, attr: undefined }
    if (!inode) return undefined
    try {
      return { ...toEntry(entry, inode), inode, attr: await getattr(sb, inode) }
    } catch (error) {
      // The name may have been given to another object after the lookup, as by every atomic save.
      if (isErrno(error, 'ESTALE') && !dir.unlinked && sb.dcache.get(dir, entry.name)?.inode !== inode) continue
      if (!isOfOneEntry(error)) throw error
      return { ...toEntry(entry, inode), inode: undefined, attr: undefined }
    }
  }
}

/** The marks of the object do not allow a lookup. */
const UNREACHABLE = Symbol('unreachable')

/** Looks up a listed name. An object with malformed or forbidden marks must not hide the other entries. */
async function reachable(
  sb: SuperBlock,
  dir: OvlInode,
  name: Name,
): Promise<OvlInode | typeof UNREACHABLE | undefined> {
  try {
    return (await lookupDentry(sb, dir, name)).inode
  } catch (error) {
    if (isOfOneEntry(error)) return UNREACHABLE
    throw error
  }
}

/** Errors of the listing itself or of the whole server, which leaving out the entry would hide. */
const OF_ALL = ['ESTALE', 'EMFILE', 'ENFILE', 'ENOMEM', 'EINTR'] as const

/** Whether an error concerns only this entry: its marks, its attributes, or an impossible redirect. */
function isOfOneEntry(error: unknown): boolean {
  return isErrno(error) && !isErrno(error, ...OF_ALL)
}

/** The merged listing, read from the layers if it is not cached. */
async function listingOf(sb: SuperBlock, dir: OvlInode): Promise<Listing> {
  return (
    dir.listing ??
    sharedListing(dir) ??
    (await sb.listings.once(dir, async () => await dir.dirLock.shared(() => listingLocked(sb, dir))))
  )
}

/** Like `listingOf`, for a caller that holds the lock of `dir`. */
export async function listingLocked(sb: SuperBlock, dir: OvlInode): Promise<Listing> {
  if (dir.listing) return dir.listing
  if (dir.unlinked) return { entries: [] }
  const { upper, lowers } = dir
  const shared = lowerReals(lowers)
  if (!upper) return shared ? await lowerListing(sb, shared) : keep(sb, dir, await merge(sb, dir, lowers))
  if (!shared) return keep(sb, dir, await merge(sb, dir, [upper, ...lowers]))
  return keep(sb, dir, await merge(sb, dir, [upper], await lowerListing(sb, shared)))
}

function keep(sb: SuperBlock, dir: OvlInode, listing: Listing): Listing {
  sb.listings.add(dir, listing)
  return listing
}

/** The listing of a directory without an upper, if it is known for all overlays of the stack. */
function sharedListing(dir: OvlInode): Listing | undefined {
  const top = dir.lower
  if (dir.upper || dir.unlinked || !(top instanceof LowerReal)) return undefined
  return top.layer.listings.get(top, dir.lowers)
}

/** The merged listing of lowers of a stack, for all of its overlays. */
function lowerListing(sb: SuperBlock, lowers: readonly [LowerReal, ...LowerReal[]]): MaybePromise<Listing> {
  const [top] = lowers
  const { listings } = top.layer
  return listings.get(top, lowers) ?? listings.once(top, lowers, () => merge(sb, undefined, lowers))
}

type Merged = LargeMap<Name, Omit<ListEntry, 'name' | 'cookie'> | undefined>

/**
 * Merges the names of `layers`, topmost first, and below them those of `rest`.
 *
 * @param dir the merged directory; undefined to merge lowers for all overlays
 */
async function merge(
  sb: SuperBlock,
  dir: OvlInode | undefined,
  layers: readonly Real[],
  rest?: Listing,
): Promise<Listing> {
  const merged: Merged = new LargeMap()
  for (const real of layers) await mergeLayer(sb, dir, real, merged)
  const entries: ListEntry[] = []
  for (const [name, entry] of merged) {
    if (entry) entries.push({ name, cookie: cookieOf(sb.cookieSeed, name), ...entry })
    if (loopBudget.spent) await loopBudget.rest()
  }
  for (const entry of rest?.entries ?? []) {
    if (loopBudget.spent) await loopBudget.rest()
    if (merged.has(entry.name)) continue
    const own = dir && isGivenAway(sb, dir, entry)
    entries.push(own ? { ...entry, fileIdHi: undefined, fileIdLo: 0 } : entry)
  }
  return { entries: await inOrder(entries) }
}

/** Adds the names of one layer that no higher layer has; `undefined` represents a whiteout. */
async function mergeLayer(sb: SuperBlock, dir: OvlInode | undefined, real: Real, merged: Merged): Promise<void> {
  const { inodeNumbers } = real.layer
  const { layer } = real
  const merges = layer.isUpper ? dir?.lowers.length !== 0 : dir?.lowers.length !== 1
  const mixed = isNumberMadeUp(real) || (keepsIdentities(layer) && (real.impure || merges))
  const { marks } = real.layer
  const hidden: Name[] = []
  const attributes = marks.whiteouts === 'device' && (await holdsAttributeWhiteouts(sb, real))
  for (const raw of await readdirFd(await sb.descriptors.of(real))) {
    if (loopBudget.spent) await loopBudget.rest()
    if (merged.has(raw.name)) continue
    if (marks.reserves(raw.name) || sb.upper?.marks.reserves(raw.name)) {
      const name = marks.hiddenBy(raw.name)
      if (name !== undefined) hidden.push(name)
      continue
    }
    let { type } = raw
    if (type === 0 || type === FileType.character || (attributes && type === FileType.regular)) {
      const standing = await standingType(sb, real, raw)
      if (standing === undefined) continue
      if (standing === WHITEOUT) {
        merged.set(raw.name, undefined)
        continue
      }
      type = standing
    }
    // A name of a lower hard link may have its own file id.
    const linked = !real.layer.isUpper && separatesLinks(sb, real.layer) && type !== FileType.directory
    const plain = !mixed && !linked && !(inodeNumbers && type === FileType.directory) && Number.isSafeInteger(raw.ino)
    const number = { inoHi: Math.floor(raw.ino / 2 ** 32), inoLo: raw.ino >>> 0 }
    const restored =
      plain &&
      dir !== undefined &&
      !real.layer.isUpper &&
      isElsewhere(sb.dcache.inode(keyOf(real.layer, number)), dir, raw.name)
    const ids = plain && !restored ? fileId(real.layer, number) : undefined
    merged.set(raw.name, { type: type as FileType, fileIdHi: ids?.fileIdHi, fileIdLo: ids?.fileIdLo ?? 0 })
  }
  // Whiteouts come after the objects: an object with the same name in the same layer is visible.
  for (const name of hidden) if (!merged.has(name)) merged.set(name, undefined)
}

/** The state of a listed name in a layer: the type of an object, a whiteout, or undefined if it is gone. */
async function standingType(
  sb: SuperBlock,
  real: Real,
  raw: RawDirEntry,
): Promise<FileType | typeof WHITEOUT | undefined> {
  try {
    const standing = await nameStateAt(sb, real, raw.name)
    if (standing === undefined || standing === WHITEOUT) return standing
    if (standing.fd >= 0) sb.descriptors.retire(standing.fd)
    return standing.stat.type
  } catch (error) {
    if (!isOfOneEntry(error)) throw error
    return raw.type === 0 ? FileType.regular : raw.type
  }
}

/** Whether the merged directory looks empty, for a caller that holds its lock. */
export async function isEmptyLocked(sb: SuperBlock, dir: OvlInode): Promise<boolean> {
  return (await listingLocked(sb, dir)).entries.length === 0
}
