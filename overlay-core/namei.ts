import { type Alias, type Dentry, OvlInode } from './dentry.ts'
import { OverlayError } from './errno.ts'
import { findIndex, type IndexEntry, indexOfUpper, joinIndex, separatesLinks } from './hardlink.ts'
import { decodeIdentity, type Identity, identityOf, identityOfName } from './identity.ts'
import { type Found, type Layer, type Probe, Real } from './layer.ts'
import { isObject, standingAt, WHITEOUT } from './mark-form.ts'
import { type Marks, maybeMetadataOnly, NO_MARKS, readFileMarks, readMarks } from './marks.ts'
import { resolveOrigin } from './origin.ts'
import { standsFor } from './override-stat.ts'
import { type LayerStep, lookupRedirect, redirected } from './redirect.ts'
import { knownRights, type Rights, setRights, shownType } from './rights.ts'
import type { SuperBlock } from './superblock.ts'
import { closeSync } from './sys/open.ts'
import type { Stat } from './sys/stat.ts'
import { FileType, type Maybe, type Name } from './types.ts'

/** What the stack of layers holds at one name. */
interface StackEntry {
  readonly upper: Found | undefined
  /** The upper object's origin attribute. */
  readonly origin: Uint8Array | undefined
  /** The upper object's identity of its own. */
  readonly identity: Uint8Array | undefined
  /** Merged directories topmost first, or one non-directory. */
  readonly lowers: readonly Found[]
  /** Where the data of a metadata-only regular file is. */
  readonly data: Found | undefined
}

/** @throws EINVAL | ENAMETOOLONG `name` is not one component */
export function checkName(op: string, name: Name): void {
  if (name.length > 255) throw new OverlayError('ENAMETOOLONG', op)
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new OverlayError('EINVAL', op, name)
  }
}

/** @throws EPERM `name` belongs to the marks of the upper: nobody can make it */
export function needMakeable(sb: SuperBlock, op: string, name: Name): void {
  if (sb.upper?.marks.reserves(name)) throw new OverlayError('EPERM', op, name)
}

/** The dentry of `name` in `dir`: from the cache at once, else from the layers. */
export function lookupDentry(sb: SuperBlock, dir: OvlInode, name: Name): Maybe<Dentry> {
  const cached = cachedDentry(sb, dir, name)
  if (cached) return cached
  return sb.descriptors.run(() => dir.dirLock.shared(() => lookupLocked(sb, dir, name)))
}

/** What the cache knows of `name` in `dir`. */
export function cachedDentry(sb: SuperBlock, dir: OvlInode, name: Name): Dentry | undefined {
  const cached = sb.dcache.get(dir, name)
  cached?.inode?.foundAt(dir, name)
  return cached
}

/** As `lookupDentry`, for a caller that holds the lock of `dir`. @throws ESTALE `dir` was removed */
export async function lookupLocked(sb: SuperBlock, dir: OvlInode, name: Name): Promise<Dentry> {
  const cached = cachedDentry(sb, dir, name)
  if (cached) return cached
  if (dir.unlinked) throw new OverlayError('ESTALE', 'lookup')
  const entry = await searchStack(sb, dir, name)
  const inode = entry && (await inodeFor(sb, dir, name, entry))
  // Another reader of this directory may have been faster: one dentry per name.
  return sb.dcache.get(dir, name) ?? remember(sb, dir, name, inode)
}

function remember(sb: SuperBlock, dir: OvlInode, name: Name, inode: OvlInode | undefined): Dentry {
  if (inode) {
    inode.addAlias(dir, name)
    inode.foundAt(dir, name)
  }
  return sb.dcache.set(dir, name, inode)
}

/**
 * Searches the layers from the top (fs/overlayfs/namei.c ovl_lookup): a whiteout or an opaque directory ends the search, a
 * non-directory hides all below it and ends a merge of directories, a metadata-only file takes its data from below.
 */
async function searchStack(sb: SuperBlock, dir: OvlInode, name: Name): Promise<StackEntry | undefined> {
  if (sb.upper?.marks.reserves(name)) return undefined
  const probe = dir.upper && (await standingAt(sb, dir.upper, name))
  if (!dir.upper || !probe) {
    const { lowers, data } = await searchLowers(sb, dir, { name, redirect: undefined, above: undefined })
    return lowers.length === 0 ? undefined : { upper: undefined, ...NO_MARKS, lowers, data }
  }
  if (probe === WHITEOUT) return undefined
  const upper = sb.descriptors.found(dir.upper, name, probe)
  const marks = await marksOfUpper(sb, dir.upper, upper)
  const directory = upper.stat.type === FileType.directory
  if (marks.opaque || (!directory && !marks.metacopy)) return { upper, ...marks, lowers: [], data: undefined }
  const above = directory ? 'directory' : 'metacopy'
  const { lowers, data } = await searchLowers(sb, dir, { name, redirect: marks.redirect, above })
  if (above === 'metacopy' && !data) throw new OverlayError('EIO', 'lookup', name)
  return { upper, ...marks, lowers: directory ? lowers : lowers.slice(0, 1), data }
}

async function marksOfUpper(sb: SuperBlock, dir: Real, { real, stat }: Found): Promise<Marks> {
  if (stat.type === FileType.directory) return await readMarks(sb, real)
  // What was copied up or moved in has made the directory impure; others carry no marks, but for a hard link that has no origin, which the
  // kernel may have moved. Its marks always count or never: they say which object it is.
  const marked = dir.impure || separatesLinks(sb) || sb.options.metacopy || sb.dataLayers.length > 0
  if (!marked && !maybeMetadataOnly(sb, real, stat)) return NO_MARKS
  const marks = await readFileMarks(sb, await sb.descriptors.of(dir), { real, stat })
  if (!marked) return NO_MARKS
  real.redirect = marks.redirect
  return marks
}

interface LowerSearch {
  readonly name: Name
  readonly redirect: string | undefined
  /** What was found above: lowers that merge with a directory, or that hold the data of a metadata-only file. */
  readonly above: 'directory' | 'metacopy' | undefined
}

/** The lowers of a name: directories that merge, or one file; and the file with the data, for metadata-only ones. */
async function searchLowers(
  sb: SuperBlock,
  dir: OvlInode,
  search: LowerSearch,
): Promise<{ lowers: Found[]; data: Found | undefined }> {
  const lowers: Found[] = []
  let { redirect, above } = search
  // Below an absolute redirect all layers are searched from their roots, not only those that the parent merges.
  let parents: readonly Real[] = redirect?.startsWith('/') ? sb.lowers.map((layer) => layer.root) : dir.lowers
  for (let i = 0; i < parents.length; i++) {
    const parent = parents[i] as Real
    const last = parent.layer.index === sb.lowers.length && sb.dataLayers.length === 0
    const { at, stop, redirect: onward } = await findInLower(sb, parent, redirect ?? search.name, last)
    redirect = onward ?? redirect
    if (at === undefined) {
      if (stop) break
      continue
    }
    const directory = at.stat.type === FileType.directory
    if (above !== undefined && directory !== (above === 'directory')) break
    const marks = await marksOfLower(sb, at, last)
    lowers.push(at)
    above = directory ? 'directory' : 'metacopy'
    if (!directory && !marks.metacopy) return { lowers, data: lowers.length > 1 || search.above ? at : undefined }
    const absolute = marks.redirect?.startsWith('/') === true
    if (marks.opaque || (stop && !absolute)) break
    if (marks.redirect !== undefined) redirect = redirected(redirect, marks.redirect)
    if (absolute) {
      parents = sb.lowers.filter((layer) => layer.index > parent.layer.index).map((layer) => layer.root)
      i = -1
    }
  }
  if (above !== 'metacopy') return { lowers, data: undefined }
  const data = redirect?.startsWith('/') ? await findInDataLayers(sb, redirect) : undefined
  if (!data) throw new OverlayError('EIO', 'lookup', search.name)
  return { lowers, data }
}

async function marksOfLower(sb: SuperBlock, { real, stat }: Found, last: boolean): Promise<Marks> {
  if (stat.type === FileType.directory) return last ? NO_MARKS : await readMarks(sb, real)
  if (stat.type !== FileType.regular) return NO_MARKS
  return await readFileMarks(sb, await sb.descriptors.of(real.parent as Real), { real, stat })
}

/** Data-only layers are searched by absolute redirect alone. */
async function findInDataLayers(sb: SuperBlock, redirect: string): Promise<Found | undefined> {
  for (const layer of sb.dataLayers) {
    const { at } = await lookupRedirect(sb, layer, redirect, true)
    if (at?.stat.type === FileType.regular) return at
  }
  return undefined
}

/** Finds a name, or an absolute redirect from the layer's root, below `parent`. */
async function findInLower(sb: SuperBlock, parent: Real, name: string, lowest: boolean): Promise<LayerStep> {
  if (name.startsWith('/')) return await lookupRedirect(sb, parent.layer, name, lowest)
  const nothing = { at: undefined, redirect: undefined }
  const probe = await standingAt(sb, parent, name)
  if (!probe) return { ...nothing, stop: false }
  if (probe === WHITEOUT) return { ...nothing, stop: true }
  return { at: sb.descriptors.found(parent, name, probe), stop: false, redirect: undefined }
}

/** Finds or makes the inode of a stack entry: one object for all its hard links. */
async function inodeFor(sb: SuperBlock, dir: OvlInode, name: Name, entry: StackEntry): Promise<OvlInode> {
  const { upper } = entry
  const lower = entry.lowers[0]
  const top = (upper ?? lower) as Found
  const type = sb.keepsOwners ? await shownType(sb, top) : top.stat.type
  const shared = !upper && lower !== undefined && lower.stat.type !== FileType.directory && lower.stat.nlink > 1
  if (shared) return await sharedLowerInode(sb, { dir, name }, lower, type, entry.data)
  const source = await identitySource(sb, dir, name, entry, type)
  const identity = (entry.identity && decodeIdentity(entry.identity)) ?? identityOf(source.layer, source.stat)
  const linked = upper !== undefined && upper.stat.type !== FileType.directory && upper.stat.nlink > 1
  const indexed = linked && sb.indexDir !== undefined && entry.origin !== undefined && !source.layer.isUpper
  const index = indexed ? await indexOfUpper(sb, upper, entry.origin as Uint8Array, source.stat.nlink) : undefined
  // By its index entry it is found whichever of its names goes.
  if (index?.entry) index.entry.real.redirect = (upper as Found).real.redirect
  const made: Made = {
    top,
    upper: (index?.entry ?? upper)?.real,
    lowers: entry.lowers,
    data: entry.data,
    hasOrigin: (entry.origin ?? entry.identity) !== undefined,
    index,
    lowerNlink: source.stat.nlink,
  }
  const known = sb.dcache.inode(identity.key)
  if (
    known &&
    known !== sb.root &&
    !known.unlinked &&
    known.generation === identity.generation &&
    known.type === type
  ) {
    if (!upper || known.upper?.ino === upper.real.ino) {
      if (known.epoch !== sb.epoch) return remakeInode(sb, known, { dir, name }, made)
      revive(known, entry)
      return known
    }
  }
  const clash = known !== undefined && known.generation === identity.generation && upper !== undefined
  let own = clash ? identityOf(upper.real.layer, upper.stat) : identity
  // The root keeps its identity when the lower that it was made of goes, which may then show as an ordinary directory.
  if (known === sb.root) own = identityOfName(top.stat, dir.key, name)
  return makeInode(sb, { ...own, type }, made)
}

/** Makes the inode of an object that has just got its name in the upper directory, at once, by what is known of it; takes over the descriptor of `probe`. */
export function rememberUpper(sb: SuperBlock, dir: OvlInode, name: Name, probe: Probe, rights: Rights): OvlInode {
  const parent = dir.upper as Real
  const top = sb.descriptors.found(parent, name, probe)
  const type = standsFor(rights.owner) ?? top.stat.type
  const inode = makeInode(sb, { ...identityOf(parent.layer, top.stat), type }, ofOneLayer(top, top.real))
  setRights(inode, rights)
  remember(sb, dir, name, inode)
  return inode
}

/** An object whose known names are all gone, but which was found at another one, lives there from now on. */
function revive(inode: OvlInode, entry: StackEntry): void {
  if (inode.aliases.length > 0 || inode.indexName !== undefined) return
  inode.upper = entry.upper?.real
  inode.lowers = entry.lowers.map(({ real }) => real)
}

/** What an inode is made of. */
interface Made {
  readonly top: Found
  readonly upper: Real | undefined
  readonly lowers: readonly Found[]
  readonly data: Found | undefined
  readonly hasOrigin: boolean
  readonly index: IndexEntry | undefined
  readonly lowerNlink: number
}

function ofOneLayer(top: Found, upper: Real | undefined, data?: Found): Made {
  const lowers = upper ? [] : [top]
  return { top, upper, lowers, data, hasOrigin: false, index: undefined, lowerNlink: 0 }
}

function makeInode(sb: SuperBlock, identity: Identity & { readonly type: FileType }, made: Made): OvlInode {
  const inode = new OvlInode(identity, made.upper, [])
  inode.epoch = sb.epoch
  fillInode(sb, inode, made)
  sb.dcache.addInode(inode)
  return inode
}

function fillInode(sb: SuperBlock, inode: OvlInode, { top, lowers, data, hasOrigin, index, lowerNlink }: Made): void {
  inode.lowers = lowers.map(({ real }) => real)
  inode.rights = knownRights(sb, top.real)
  inode.dataReal = data?.real
  inode.metacopy = data !== undefined
  inode.hasOrigin = hasOrigin
  if (index) joinIndex(inode, index, lowerNlink)
}

/**
 * Makes an inode of an earlier stack, found again at `alias`, of what the present one has of the object. It keeps its locks, open files and
 * what clients know it by, and its upper object, which has not changed with the stack.
 */
function remakeInode(sb: SuperBlock, inode: OvlInode, alias: Alias, made: Made): OvlInode {
  const before = inode.dataReal ?? inode.real
  if (inode.upper && made.upper) moveReal(sb, inode.upper, made.upper)
  else inode.upper ??= made.upper
  inode.epoch = sb.epoch
  inode.aliases = [alias]
  inode.indexName = undefined
  inode.nlinkDelta = undefined
  fillInode(sb, inode, made)
  inode.children = undefined
  inode.listing = undefined
  inode.changed()
  const after = inode.dataReal ?? inode.real
  if (after.layer !== before.layer || after.ino !== before.ino) sb.files.drop(inode)
  return inode
}

/** `found` is the object that `real` stands for already, so it says where that is now. */
function moveReal(sb: SuperBlock, real: Real, found: Real): void {
  real.parent = found.parent
  real.name = found.name
  real.opaque = found.opaque
  real.redirect = found.redirect
  real.xwhiteouts = found.xwhiteouts
  real.impure = found.impure
  real.plain = found.plain
  sb.descriptors.drop(found)
}

/** A lower file with several names: joined to its index entry (index=on), else each name is an object of its own. */
async function sharedLowerInode(
  sb: SuperBlock,
  alias: Alias,
  lower: Found,
  type: FileType,
  data: Found | undefined,
): Promise<OvlInode> {
  const identity = separatesLinks(sb)
    ? { ...identityOfName(lower.stat, alias.dir.key, alias.name), type }
    : { ...identityOf(lower.real.layer, lower.stat), type }
  const made = await madeOfShared(sb, lower, data)
  const known = sb.dcache.inode(identity.key)
  if (!known || known.unlinked) return makeInode(sb, identity, made)
  return known.epoch === sb.epoch ? known : remakeInode(sb, known, alias, made)
}

async function madeOfShared(sb: SuperBlock, lower: Found, data: Found | undefined): Promise<Made> {
  if (!sb.indexDir) return ofOneLayer(lower, undefined, data)
  const index = await findIndex(sb, lower)
  const { entry } = index
  const made = { top: entry ?? lower, upper: entry?.real, lowers: [lower], index, lowerNlink: lower.stat.nlink }
  if (!entry) return { ...made, data, hasOrigin: false }
  const marks = await readFileMarks(sb, await sb.descriptors.of(sb.indexDir), entry)
  entry.real.redirect = marks.redirect
  return { ...made, data: marks.metacopy ? (data ?? lower) : undefined, hasOrigin: true }
}

/** The real object whose inode number is the file id: the lower one as far as the upper remembers it, else the upper one. */
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
  if (source && sameType && !(several && separatesLinks(sb))) return source
  return { layer: upper.real.layer, stat: upper.stat }
}

/** What lies in the lowers at a name that the upper hides. */
async function hiddenLowers(sb: SuperBlock, dir: OvlInode, name: Name): Promise<Found[]> {
  const result: Found[] = []
  for (const parent of dir.lowers) {
    const probe = await sb.descriptors.probe(parent, name)
    if (!probe) continue
    if (probe.fd >= 0) closeSync(probe.fd)
    result.push({ real: new Real(parent.layer, parent, name, probe.stat.ino), stat: probe.stat })
  }
  return result
}

/** Whether a lower has something at this name that would show if the upper's were gone (ovl_lower_positive). */
export async function lowerPositive(sb: SuperBlock, dir: OvlInode, name: Name): Promise<boolean> {
  for (const parent of dir.lowers) {
    const standing = await standingAt(sb, parent, name)
    if (!standing) continue
    if (!isObject(standing)) return false
    if (standing.fd >= 0) closeSync(standing.fd)
    return true
  }
  return false
}
