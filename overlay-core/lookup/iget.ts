import { bestEffort } from '../api/errno.ts'
import { FileType, type Name } from '../api/types.ts'
import { decodeIdentity, type Identity, identityOf, identityOfName } from '../layer/identity.ts'
import { type Found, type Layer, Real } from '../layer/layer.ts'
import { ctimeFingerprint } from '../objects/ctime-fingerprint.ts'
import { type Alias, OvlInode } from '../objects/dentry.ts'
import { isNameless } from '../objects/nameless.ts'
import { knownRights, shownType } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { versionOf } from '../stack/lower-real.ts'
import { closeSync } from '../sys/open.ts'
import { type Stat, statxFd } from '../sys/stat.ts'
import { findIndex, type IndexEntry, indexOfUpper, isHardLink, joinIndex, separatesLinks } from './hardlink.ts'
import { readFileMarks } from './marks.ts'
import { resolveOrigin } from './origin.ts'

/** The objects of all layers at one name. */
export interface StackEntry {
  readonly upper: Found | undefined
  /** The upper object's origin attribute. */
  readonly origin: Uint8Array | undefined
  /** The identity mark of the upper object. */
  readonly identity: Uint8Array | undefined
  /** Merged directories topmost first, or one non-directory. */
  readonly lowers: readonly Found[]
  /** The file with the data of a metadata-only regular file. */
  readonly data: Found | undefined
}

/** Finds or creates the inode of a stack entry: one object for all its hard links. */
export async function inodeFor(sb: SuperBlock, dir: OvlInode, name: Name, entry: StackEntry): Promise<OvlInode> {
  const { upper } = entry
  const lower = entry.lowers[0]
  const top = (upper ?? lower) as Found
  const type = sb.keepsOwners ? await shownType(sb, top) : top.stat.type
  if (!upper && lower !== undefined && isHardLink(lower.stat))
    return await sharedLowerInode(sb, { dir, name }, lower, type, entry.data)
  const own = entry.identity && decodeIdentity(entry.identity)
  const source = await identitySource(sb, dir, name, entry, type)
  let identity = own ?? identityOf(source.layer, source.stat)
  // A copy has this identity already, under another name: its lower has become visible again (`restore`), as another object. That one may have been moved and restored, too.
  for (let salt = ''; !upper && isElsewhere(sb.dcache.inode(identity.key), dir, name); salt += '\0') {
    identity = identityOfName(top.real.layer, top.stat, dir.key, name + salt)
  }
  const lowerNlink = own?.lowerNlink ?? (source.layer.isUpper ? undefined : source.stat.nlink)
  const linked = upper !== undefined && upper.stat.type !== FileType.directory && upper.stat.nlink > 1
  const indexed = linked && sb.indexDir !== undefined && entry.origin !== undefined && lowerNlink !== undefined
  const index = indexed ? await indexOfUpper(sb, upper, entry.origin as Uint8Array, lowerNlink) : undefined
  // Through its index entry it is found whichever of its names is removed.
  if (index?.entry) index.entry.real.redirect = (upper as Found).real.redirect
  const made: Made = {
    top,
    upper: (index?.entry ?? upper)?.real,
    lowers: entry.lowers,
    data: entry.data,
    hasOrigin: (entry.origin ?? entry.identity) !== undefined,
    index,
    lowerNlink: lowerNlink ?? source.stat.nlink,
  }
  let known = sb.dcache.inode(identity.key)
  // The object found is the copy that this inode is about to get.
  if (upper && known?.copying && !known.upper) await bestEffort(() => known?.copying)
  // An upper object keeps its inode for as long as that is cached, even if the lower that gave it its identity no longer exists.
  const byUpper = upper && sb.dcache.inodeOfUpper(upper.real.ino)
  if (byUpper && byUpper !== known && byUpper.type === type) known = byUpper
  if (known && known !== sb.root && !known.unlinked && known.type === type) {
    const same = upper ? known.upper?.ino === upper.real.ino : known.generation === identity.generation
    if (same) {
      if (isOutdated(sb, known, { dir, name })) return remakeInode(sb, known, { dir, name }, made)
      revive(sb, known, entry)
      return known
    }
  }
  const clash = known !== undefined && known.generation === identity.generation && upper !== undefined
  let given: Identity = clash ? identityOf(upper.real.layer, upper.stat) : identity
  // The root keeps its identity when the lower that it came from leaves the stack; that lower may then appear as an ordinary directory.
  if (known === sb.root) given = identityOfName(top.real.layer, top.stat, dir.key, name)
  return makeInode(sb, { ...given, type }, made)
}

/** Whether the inode has an upper object that is not at this name. */
export function isElsewhere(known: OvlInode | undefined, dir: OvlInode, name: Name): boolean {
  if (!known?.upper || known.unlinked || known.indexName !== undefined) return false
  if (known.aliases.length === 0) return isNameless(known)
  return !known.aliases.some((alias) => alias.dir === dir && alias.name === name)
}

/** Whether the cached state of `inode`, found at `alias`, is from another stack or from a name that it no longer has. */
function isOutdated(sb: SuperBlock, inode: OvlInode, { dir, name }: Alias): boolean {
  if (inode.stackVersion !== sb.stackVersion || inode.recheck || inode.alias?.dir.unlinked) return true
  // Objects of other types may have several names.
  const oneName = inode.type === FileType.directory || !inode.upper
  return oneName && inode.aliases.length > 0 && !inode.aliases.some((known) => known.dir === dir && known.name === name)
}

/** Gives an inode whose known names are all gone the place at which it was found again. */
function revive(sb: SuperBlock, inode: OvlInode, entry: StackEntry): void {
  if (inode.aliases.length > 0 || inode.indexName !== undefined) return
  sb.nameless.release(inode)
  inode.upper = entry.upper?.real
  inode.lowers = entry.lowers.map(({ real }) => real)
}

/** The real objects of an inode. */
interface Made {
  readonly top: Found
  readonly upper: Real | undefined
  readonly lowers: readonly Found[]
  readonly data: Found | undefined
  readonly hasOrigin: boolean
  readonly index: IndexEntry | undefined
  readonly lowerNlink: number
}

export function ofOneLayer(top: Found, upper: Real | undefined, data?: Found): Made {
  const lowers = upper ? [] : [top]
  return { top, upper, lowers, data, hasOrigin: false, index: undefined, lowerNlink: 0 }
}

export function makeInode(sb: SuperBlock, identity: Identity & { readonly type: FileType }, made: Made): OvlInode {
  const inode = new OvlInode(identity, made.upper, [])
  inode.stackVersion = sb.stackVersion
  fillInode(sb, inode, made)
  if (inode.type === FileType.directory) inode.seenVersion = versionOf(inode.lowers)
  sb.dcache.addInode(inode)
  if (made.hasOrigin) sb.dcache.addUpper(inode)
  return inode
}

function fillInode(sb: SuperBlock, inode: OvlInode, { top, lowers, data, hasOrigin, index, lowerNlink }: Made): void {
  inode.lowers = lowers.map(({ real }) => real)
  if (sb.options.revalidate !== 'never') for (const lower of lowers) recordCtime(sb, lower)
  inode.rights = knownRights(sb, top.real)
  inode.dataReal = data?.real
  inode.metacopy = data !== undefined
  inode.hasOrigin = hasOrigin
  if (index) joinIndex(inode, index, lowerNlink)
}

/** Records the ctime of a directory at which its names are read. */
function recordCtime(sb: SuperBlock, { real, stat }: Found): void {
  if (real.ctimeNs === 0 && stat.type === FileType.directory) real.ctimeNs = ctimeFingerprint(sb, stat.ctime)
}

/**
 * Updates an inode that must be looked up again, and was found at `alias`, to what the layers contain now. It keeps its locks, open
 * files, the identity that clients know, and the real objects that are still the same.
 */
function remakeInode(sb: SuperBlock, inode: OvlInode, alias: Alias, made: Made): OvlInode {
  const otherStack = inode.stackVersion !== sb.stackVersion
  const before = inode.dataReal ?? inode.real
  sb.nameless.release(inode)
  if (inode.upper && made.upper) moveReal(sb, inode.upper, made.upper)
  // If it was copied up in the meantime, its state is newer than what was found.
  if (made.upper || !inode.upper || otherStack) {
    inode.upper ??= made.upper
    inode.indexName = undefined
    inode.nlinkDelta = undefined
    fillInode(sb, inode, { ...made, lowers: keepReals(sb, inode, made.lowers, otherStack) })
  }
  if (otherStack || inode.type === FileType.directory || !inode.upper || inode.alias?.dir.unlinked) inode.aliases = []
  inode.addAlias(alias.dir, alias.name)
  inode.stackVersion = sb.stackVersion
  inode.recheck = false
  inode.changed()
  const after = inode.dataReal ?? inode.real
  if (after.layer !== before.layer || after.ino !== before.ino) sb.files.drop(inode)
  return inode
}

/**
 * Returns the lowers of `inode` as found, reusing known real objects that are still the same. If all are the same, in the same stack,
 * the names in the directory are kept; otherwise they are forgotten.
 */
function keepReals(sb: SuperBlock, inode: OvlInode, found: readonly Found[], otherStack: boolean): readonly Found[] {
  const { lowers } = inode
  const kept = found.map(({ real, stat }) => {
    const known = lowers.find(({ layer, ino }) => layer === real.layer && ino === real.ino)
    // This directory may have got the inode number of one that was removed.
    if (!known || (known.fd >= 0 && statxFd(known.fd).nlink === 0)) return { real, stat }
    moveReal(sb, known, real)
    return { real: known, stat }
  })
  const same = kept.length === lowers.length && kept.every(({ real }, at) => real === lowers[at])
  // Versions of other directories say nothing about these.
  if (!same && inode.type === FileType.directory) inode.seenVersion = versionOf(kept.map(({ real }) => real))
  if (otherStack) {
    inode.children = undefined
    inode.listing = undefined
  } else if (!same) forgetNames(sb, inode)
  return kept
}

/**
 * Forgets the cached names in `dir`; the objects there are looked up again on next use. Files with their data in the upper are kept, because
 * no change of a lower affects them.
 */
export function forgetNames(sb: SuperBlock, dir: OvlInode): void {
  for (const [name, { inode }] of [...(dir.children ?? [])]) {
    if (inode?.upper && inode.type !== FileType.directory && !inode.dataReal) continue
    if (inode) inode.recheck = true
    sb.dcache.remove(dir, name)
  }
  sb.listings.drop(dir)
}

/** Moves `real` to the place of `found`, which is the same object. */
function moveReal(sb: SuperBlock, real: Real, found: Real): void {
  if (real === found) return
  real.parent = found.parent
  real.name = found.name
  real.opaque = found.opaque
  real.redirect = found.redirect
  real.xwhiteouts = found.xwhiteouts
  real.impure = found.impure
  real.plain = found.plain
  sb.descriptors.drop(found)
}

/** The inode of a lower file with several names: with index=on the one of its index entry, otherwise one for each name. */
async function sharedLowerInode(
  sb: SuperBlock,
  alias: Alias,
  lower: Found,
  type: FileType,
  data: Found | undefined,
): Promise<OvlInode> {
  const identity = separatesLinks(sb, lower.real.layer)
    ? { ...identityOfName(lower.real.layer, lower.stat, alias.dir.key, alias.name), type }
    : { ...identityOf(lower.real.layer, lower.stat), type }
  const made = await madeOfShared(sb, lower, data)
  const known = sb.dcache.inode(identity.key)
  if (!known || known.unlinked) return makeInode(sb, identity, made)
  return known.stackVersion === sb.stackVersion && !known.recheck ? known : remakeInode(sb, known, alias, made)
}

async function madeOfShared(sb: SuperBlock, lower: Found, data: Found | undefined): Promise<Made> {
  if (!sb.indexDir || !lower.real.layer.joinsLinks) return ofOneLayer(lower, undefined, data)
  const index = await findIndex(sb, lower)
  const { entry } = index
  const made = { top: entry ?? lower, upper: entry?.real, lowers: [lower], index, lowerNlink: lower.stat.nlink }
  if (!entry) return { ...made, data, hasOrigin: false }
  const marks = await readFileMarks(sb, await sb.descriptors.of(sb.indexDir), entry)
  entry.real.redirect = marks.redirect
  return { ...made, data: marks.metacopy ? (data ?? lower) : undefined, hasOrigin: true }
}

/** The real object whose inode number becomes the file id: the lower one if the upper object records it, otherwise the upper one. */
async function identitySource(
  sb: SuperBlock,
  dir: OvlInode,
  name: Name,
  entry: StackEntry,
  type: FileType,
): Promise<{ layer: Layer; stat: Stat }> {
  const { upper, origin } = entry
  const lower = entry.lowers[0]
  if (!upper) {
    const { real, stat } = lower as Found
    return { layer: real.layer, stat }
  }
  if (origin === undefined) return { layer: upper.real.layer, stat: upper.stat }
  const source = lower
    ? { layer: lower.real.layer, stat: lower.stat }
    : await resolveOrigin(sb, origin, await hiddenLowers(sb, dir, name))
  const several = source !== undefined && upper.stat.type !== FileType.directory && source.stat.nlink > 1
  const sameType = source?.stat.type === upper.stat.type || source?.stat.type === type
  if (source && sameType && !(several && separatesLinks(sb, source.layer))) return source
  return { layer: upper.real.layer, stat: upper.stat }
}

/** The objects in the lowers at a name that the upper hides, topmost first. */
export async function hiddenLowers(sb: SuperBlock, dir: OvlInode, name: Name): Promise<Found[]> {
  const result: Found[] = []
  for (const parent of dir.lowers) {
    const probe = await sb.descriptors.probe(parent, name)
    if (!probe) continue
    if (probe.fd >= 0) closeSync(probe.fd)
    result.push({ real: new Real(parent.layer, parent, name, probe.stat.ino), stat: probe.stat })
  }
  return result
}
