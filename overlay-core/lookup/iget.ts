import { bestEffort } from '../api/errno.ts'
import { FileType, type Name } from '../api/types.ts'
import { decodeIdentity, type Identity, identityOf, identityOfName } from '../layer/identity.ts'
import { type Found, keepsIdentities, type Layer, Real } from '../layer/layer.ts'
import { ctimeFingerprint } from '../objects/ctime-fingerprint.ts'
import { type Alias, OvlInode } from '../objects/dentry.ts'
import { isNameless } from '../objects/nameless.ts'
import { knownRights, shownType } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { versionOf } from '../stack/lower-real.ts'
import { closeSync } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import {
  deltaOfFrozen,
  findIndex,
  frozenCopy,
  type IndexEntry,
  indexOfUpper,
  isHardLink,
  joinIndex,
  separatesLinks,
} from './hardlink.ts'
import { readFileMarks } from './marks.ts'
import { resolveOrigin } from './origin.ts'

/** The objects of all layers at one name. */
export interface StackEntry {
  readonly upper: Found | undefined
  /** The origin attribute of the topmost object, if that is in the upper or in a layer that was the upper. */
  readonly origin: Uint8Array | undefined
  /** Its identity mark. */
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
  const source = await identitySource(sb, dir, name, entry, type)
  let { identity } = source
  // A copy has this identity already, under another name: its lower has become visible again (`restore`), as another object. That one may have been moved and restored, too.
  for (let salt = ''; !upper && isElsewhere(sb.dcache.inode(identity.key), dir, name); salt += '\0') {
    identity = identityOfName(top.real.layer, top.stat, dir.key, name + salt)
  }
  const { lowerNlink } = source
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
    lowerNlink: lowerNlink ?? top.stat.nlink,
  }
  let known = sb.dcache.inode(identity.key)
  // The object found is the copy that this inode is about to get.
  if (upper && known?.copying && !known.upper) await bestEffort(() => known?.copying)
  // An upper object keeps its inode for as long as that is cached, even if the lower that gave it its identity no longer exists.
  const byUpper = keepsIdentities(top.real.layer) ? sb.dcache.inodeOfUpper(top.real.ino) : undefined
  if (byUpper && byUpper !== known && byUpper.type === type) known = byUpper
  if (known && known !== sb.root && !known.unlinked && known.type === type) {
    leaveFrozenUpper(known)
    const same = upper
      ? known.upper?.ino === upper.real.ino ||
        isNewCopy(sb, known, identity, entry) ||
        gainsUpper(sb, known, { dir, name }, identity)
      : known === byUpper || known.generation === identity.generation
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

/** Whether the upper object has taken the place of all that `inode` had on the layers before they changed, as its identity mark says. */
function isNewCopy(sb: SuperBlock, inode: OvlInode, { generation }: Identity, { identity }: StackEntry): boolean {
  if (inode.upper || identity === undefined || inode.generation !== generation) return false
  return inode.stackVersion !== sb.stackVersion
}

/** Takes it into account that the upper object of `inode` is in a lower now: a freeze has made one of the upper. */
export function leaveFrozenUpper(inode: OvlInode): void {
  const { upper } = inode
  if (!upper || upper.layer.isUpper) return
  inode.lowers = inode.type === FileType.directory ? [upper, ...inode.lowers] : [upper]
  inode.upper = undefined
  inode.indexName = undefined
  inode.nlinkDelta = undefined
}

/** Whether `inode`, whose cached state is from another stack, is the object at `alias` that had no upper there: a freeze has put one in its place (`FreshUpper`). */
function gainsUpper(sb: SuperBlock, inode: OvlInode, { dir, name }: Alias, { generation }: Identity): boolean {
  if (inode.upper || inode.stackVersion === sb.stackVersion || inode.generation !== generation) return false
  return inode.aliases.some((alias) => alias.dir === dir && alias.name === name)
}

/** Whether the inode has an object in the upper, or in a layer that was the upper, that is not at this name. */
export function isElsewhere(known: OvlInode | undefined, dir: OvlInode, name: Name): boolean {
  if (!known || !keepsIdentities(known.real.layer) || known.unlinked || known.indexName !== undefined) return false
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
  const gained = inode.upper === undefined && made.upper !== undefined
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
  if (gained && made.hasOrigin) sb.dcache.addUpper(inode)
  inode.stackVersion = sb.stackVersion
  inode.recheck = false
  // The next reply with its handle records its place, if that is another one, or if the layers are.
  inode.retained = false
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
  found: Found,
  type: FileType,
  data: Found | undefined,
): Promise<OvlInode> {
  const lower = await frozenCopy(sb, found)
  const identity = { ...(await identityOfShared(sb, alias, lower, type)), type }
  const made = await madeOfShared(
    sb,
    lower,
    data ?? (lower === found ? undefined : await dataOfFrozen(sb, lower, found)),
  )
  const known = sb.dcache.inode(identity.key)
  if (!known || known.unlinked) return makeInode(sb, identity, made)
  leaveFrozenUpper(known)
  return known.stackVersion === sb.stackVersion && !known.recheck ? known : remakeInode(sb, known, alias, made)
}

async function identityOfShared(sb: SuperBlock, { dir, name }: Alias, lower: Found, type: FileType): Promise<Identity> {
  const own = lower.identity && decodeIdentity(lower.identity)
  if (own) return own
  const { layer } = lower.real
  if (separatesLinks(sb, layer)) return identityOfName(layer, lower.stat, dir.key, name)
  const { origin, identity } = lower
  const entry = { upper: undefined, origin, identity, lowers: [lower], data: undefined }
  return (await identitySource(sb, dir, name, entry, type)).identity
}

/** The file with the data of a metadata-only copy in a frozen index. */
async function dataOfFrozen(sb: SuperBlock, copy: Found, original: Found): Promise<Found | undefined> {
  const { metacopy } = await readFileMarks(sb, await sb.descriptors.of(copy.real.parent as Real), copy)
  return metacopy ? original : undefined
}

async function madeOfShared(sb: SuperBlock, lower: Found, data: Found | undefined): Promise<Made> {
  const hasOrigin = (lower.origin ?? lower.identity) !== undefined
  if (!sb.indexDir || !lower.real.layer.joinsLinks) return { ...ofOneLayer(lower, undefined, data), hasOrigin }
  const index = await findIndex(sb, lower)
  const { entry } = index
  const made = { top: entry ?? lower, upper: entry?.real, lowers: [lower], index, lowerNlink: lower.stat.nlink }
  if (!entry) return { ...made, index: { ...index, nlinkDelta: await deltaOfFrozen(sb, lower) }, data, hasOrigin }
  const marks = await readFileMarks(sb, await sb.descriptors.of(sb.indexDir), entry)
  entry.real.redirect = marks.redirect
  return { ...made, data: marks.metacopy ? (data ?? lower) : undefined, hasOrigin: true }
}

/** Where the identity of an object comes from. */
interface IdentitySource {
  readonly identity: Identity
  /** The link count of the lower object that the topmost one was copied up from; undefined if it is no copy, or that is unknown. */
  readonly lowerNlink: number | undefined
}

/** How many copies of copies are followed; there is one for each frozen layer at most. */
const MOST_COPIES = 500

/**
 * The identity of an object: that of the lower object that it is a copy of if the marks say so, and so on through layers that were the upper; otherwise its
 * own.
 */
export async function identitySource(
  sb: SuperBlock,
  dir: Pick<OvlInode, 'lowers'>,
  name: Name,
  entry: StackEntry,
  type: FileType,
): Promise<IdentitySource> {
  const below = entry.upper ? [...entry.lowers] : entry.lowers.slice(1)
  const top = (entry.upper ?? entry.lowers[0]) as Found
  const directory = top.stat.type === FileType.directory
  let at: Sourced = { layer: top.real.layer, stat: top.stat, origin: entry.origin, identity: entry.identity }
  let lowerNlink: number | undefined
  let hidden: Found[] | undefined
  for (let left = MOST_COPIES; left > 0; left--) {
    const own = at.identity && decodeIdentity(at.identity)
    if (own) return { identity: own, lowerNlink: lowerNlink ?? own.lowerNlink }
    if (at.origin === undefined) break
    const next = below.shift()
    hidden ??= next ? undefined : await hiddenLowers(sb, dir, name)
    const source: Sourced | undefined = next
      ? { ...next, layer: next.real.layer }
      : await resolveOrigin(sb, at.origin, hidden as Found[])
    if (!source) break
    const several = !directory && source.stat.nlink > 1
    if (source.stat.type !== at.stat.type && source.stat.type !== type) break
    if (several && separatesLinks(sb, source.layer)) break
    lowerNlink ??= source.stat.nlink
    at = source
  }
  return { identity: identityOf(at.layer, at.stat), lowerNlink }
}

/** An object with the marks that lead to its identity. */
type Sourced = Omit<Found, 'real'> & { readonly layer: Layer }

/** The objects in the lowers at a name that the upper hides, topmost first. */
export async function hiddenLowers(sb: SuperBlock, dir: Pick<OvlInode, 'lowers'>, name: Name): Promise<Found[]> {
  const result: Found[] = []
  for (const parent of dir.lowers) {
    const probe = await sb.descriptors.probe(parent, name)
    if (!probe) continue
    if (probe.fd >= 0) closeSync(probe.fd)
    result.push({ real: new Real(parent.layer, parent, name, probe.stat.ino), stat: probe.stat })
  }
  return result
}
