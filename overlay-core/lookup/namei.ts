import { OverlayError } from '../api/errno.ts'
import { FileType, type MaybePromise, type Name } from '../api/types.ts'
import { identityOf } from '../layer/identity.ts'
import { type Found, keepsIdentities, type Probe, type Real } from '../layer/layer.ts'
import type { Rights } from '../layer/object-rights.ts'
import { standsFor } from '../layer/override-stat.ts'
import { isObject, type NameState, nameStateAt, WHITEOUT } from '../layer/whiteout-format.ts'
import type { Dentry, OvlInode } from '../objects/dentry.ts'
import { setRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { asFound, type LowerState, lowerStateAt } from '../stack/lower-lookup.ts'
import { LowerReal } from '../stack/lower-real.ts'
import { closeSync } from '../sys/open.ts'
import { separatesSomeLinks } from './hardlink.ts'
import { inodeFor, makeInode, ofOneLayer, type StackEntry } from './iget.ts'
import { type Marks, maybeMetadataOnly, NO_MARKS, readFileMarks, readMarks } from './marks.ts'
import { type LayerStep, lookupRedirect, redirected } from './redirect.ts'

/** @throws EINVAL | ENAMETOOLONG `name` is not one component */
export function checkName(op: string, name: Name): void {
  if (name.length > 255) throw new OverlayError('ENAMETOOLONG', op)
  if (name === '' || name === '.' || name === '..' || name.includes('/') || name.includes('\0')) {
    throw new OverlayError('EINVAL', op, name)
  }
}

/** @throws EPERM `name` is reserved for marks of the upper, and nobody can create it */
export function needMakeable(sb: SuperBlock, op: string, name: Name): void {
  if (sb.upper?.marks.reserves(name)) throw new OverlayError('EPERM', op, name)
}

/** The dentry of `name` in `dir`: from the cache at once, otherwise from the layers. */
export function lookupDentry(sb: SuperBlock, dir: OvlInode, name: Name): MaybePromise<Dentry> {
  const cached = cachedDentry(sb, dir, name)
  if (cached) return cached
  return sb.descriptors.run(() => dir.dirLock.shared(() => lookupLocked(sb, dir, name)))
}

/** The cached dentry of `name` in `dir`. */
export function cachedDentry(sb: SuperBlock, dir: OvlInode, name: Name): Dentry | undefined {
  const cached = sb.dcache.get(dir, name)
  cached?.inode?.foundAt(dir, name)
  return cached
}

/** Like `lookupDentry`, for a caller that holds the lock of `dir`. @throws ESTALE `dir` was removed */
export function lookupLocked(sb: SuperBlock, dir: OvlInode, name: Name): MaybePromise<Dentry> {
  return cachedDentry(sb, dir, name) ?? searchLocked(sb, dir, name)
}

async function searchLocked(sb: SuperBlock, dir: OvlInode, name: Name): Promise<Dentry> {
  if (dir.unlinked) throw new OverlayError('ESTALE', 'lookup')
  for (;;) {
    const { lowers } = dir
    const entry = await searchStack(sb, dir, name)
    const inode = entry && (await inodeFor(sb, dir, name, entry))
    // Another reader of this directory may have been faster: one dentry per name.
    const faster = sb.dcache.get(dir, name)
    if (faster) {
      if (inode && inode !== faster.inode) sb.dcache.letGo(inode)
      return faster
    }
    // If the layers of the directory changed meanwhile, the result may be outdated.
    if (dir.lowers === lowers) return remember(sb, dir, name, inode)
    if (inode) sb.dcache.letGo(inode)
  }
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
 * non-directory hides everything below it and ends a merge of directories, and a metadata-only file takes its data from a lower.
 */
async function searchStack(sb: SuperBlock, dir: OvlInode, name: Name): Promise<StackEntry | undefined> {
  if (sb.upper?.marks.reserves(name)) return undefined
  const probe = dir.upper && (await nameStateAt(sb, dir.upper, name))
  if (!dir.upper || !probe) {
    const { lowers, data } = await searchLowers(sb, dir, { name, redirect: undefined, above: undefined })
    const [top] = lowers
    return top && { upper: undefined, origin: top.origin, identity: top.identity, lowers, data }
  }
  if (probe === WHITEOUT) return undefined
  const upper = sb.descriptors.found(dir.upper, name, probe)
  const marks = await marksOfOwn(sb, dir.upper, upper)
  const directory = upper.stat.type === FileType.directory
  if (marks.opaque || (!directory && !marks.metacopy)) return { upper, ...marks, lowers: [], data: undefined }
  const above = directory ? 'directory' : 'metacopy'
  const { lowers, data } = await searchLowers(sb, dir, { name, redirect: marks.redirect, above })
  if (above === 'metacopy' && !data) throw new OverlayError('EIO', 'lookup', name)
  return { upper, ...marks, lowers: directory ? lowers : lowers.slice(0, 1), data }
}

/** The marks of an object of the upper, or of a frozen one. */
async function marksOfOwn(sb: SuperBlock, dir: Real, { real, stat }: Found): Promise<Marks> {
  if (stat.type === FileType.directory) return await readMarks(sb, real)
  // A copied-up or moved object makes its directory impure. Other objects carry no marks, except a hard link without an origin that the
  // kernel has moved. Its marks must be used always or never, because they determine its identity.
  const marked = dir.impure || separatesSomeLinks(sb) || sb.options.metacopy || sb.dataLayers.length > 0
  if (!marked && !maybeMetadataOnly(sb, real, stat)) return NO_MARKS
  const marks = await readFileMarks(sb, await sb.descriptors.of(dir), { real, stat })
  if (!marked) return NO_MARKS
  real.redirect = marks.redirect
  return marks
}

interface LowerSearch {
  readonly name: Name
  readonly redirect: string | undefined
  /** What was found in higher layers: a directory that merges with lowers, or a metadata-only file that needs data. */
  readonly above: 'directory' | 'metacopy' | undefined
}

/** Finds the lowers of a name: directories that merge, or one file; for metadata-only files also the file with the data. */
async function searchLowers(
  sb: SuperBlock,
  dir: OvlInode,
  search: LowerSearch,
): Promise<{ lowers: Found[]; data: Found | undefined }> {
  const lowers: Found[] = []
  let { redirect, above } = search
  // After an absolute redirect all layers are searched from their roots, not only those that the parent merges.
  let parents: readonly Real[] = redirect?.startsWith('/') ? sb.lowers.map((layer) => layer.root) : dir.lowers
  for (let i = 0; i < parents.length; i++) {
    const parent = parents[i] as Real
    const last = parent.layer === sb.lowers.at(-1) && sb.dataLayers.length === 0
    const found = findInLower(sb, parent, redirect ?? search.name, last)
    const { at, stop, redirect: onward } = found instanceof Promise ? await found : found
    redirect = onward ?? redirect
    if (at === undefined) {
      if (stop) break
      continue
    }
    const directory = at.stat.type === FileType.directory
    if (above !== undefined && directory !== (above === 'directory')) break
    const marks = await marksOfLower(sb, at, last)
    lowers.push(keepsIdentities(at.real.layer) ? { ...at, origin: marks.origin, identity: marks.identity } : at)
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

export async function marksOfLower(sb: SuperBlock, { real, stat }: Found, last: boolean): Promise<Marks> {
  if (keepsIdentities(real.layer)) return await marksOfOwn(sb, real.parent as Real, { real, stat })
  if (stat.type === FileType.directory) return last ? NO_MARKS : await readMarks(sb, real)
  if (!maybeMetadataOnly(sb, real, stat)) return NO_MARKS
  return await readFileMarks(sb, await sb.descriptors.of(real.parent as Real), { real, stat })
}

/** Data-only layers are searched only for absolute redirects. */
async function findInDataLayers(sb: SuperBlock, redirect: string): Promise<Found | undefined> {
  for (const layer of sb.dataLayers) {
    const { at } = await lookupRedirect(sb, layer, redirect, true)
    if (at?.stat.type === FileType.regular) return at
  }
  return undefined
}

/** Finds a name, or an absolute redirect from the layer's root, below `parent`. */
export function findInLower(sb: SuperBlock, parent: Real, name: string, lowest: boolean): MaybePromise<LayerStep> {
  if (name.startsWith('/')) return lookupRedirect(sb, parent.layer, name, lowest)
  if (parent instanceof LowerReal) {
    const state = lowerStateAt(sb, parent, name)
    return state instanceof Promise ? state.then(sharedStepOf) : sharedStepOf(state)
  }
  const state = nameStateAt(sb, parent, name)
  if (state instanceof Promise) return state.then((known) => stepOf(sb, parent, name, known))
  return stepOf(sb, parent, name, state)
}

const ABSENT: LayerStep = { at: undefined, stop: false, redirect: undefined }
const HIDDEN: LayerStep = { at: undefined, stop: true, redirect: undefined }

function stepOf(sb: SuperBlock, parent: Real, name: Name, state: NameState): LayerStep {
  if (state === undefined) return ABSENT
  if (state === WHITEOUT) return HIDDEN
  return { at: sb.descriptors.found(parent, name, state), stop: false, redirect: undefined }
}

function sharedStepOf(state: LowerState): LayerStep {
  if (state === undefined) return ABSENT
  return state === WHITEOUT ? HIDDEN : { at: asFound(state), stop: false, redirect: undefined }
}

/** Synchronously creates the inode of an object that just got its name in the upper directory; takes over the descriptor of `probe`. */
export function rememberUpper(sb: SuperBlock, dir: OvlInode, name: Name, probe: Probe, rights: Rights): OvlInode {
  const parent = dir.upper as Real
  const top = sb.descriptors.found(parent, name, probe)
  const type = standsFor(rights.owner) ?? top.stat.type
  const inode = makeInode(sb, { ...identityOf(parent.layer, top.stat), type }, ofOneLayer(top, top.real))
  setRights(inode, rights)
  remember(sb, dir, name, inode)
  return inode
}

/**
 * Whether a lower has an object at this name that would be visible without the upper's (ovl_lower_positive). With `revalidate` it is looked up each time:
 * what has come to a lower since its directory was compared must not become visible because the upper's was removed.
 */
export async function lowerPositive(sb: SuperBlock, dir: OvlInode, name: Name): Promise<boolean> {
  for (const parent of dir.lowers) {
    if (parent instanceof LowerReal && !parent.layer.revalidates) {
      const standing = await lowerStateAt(sb, parent, name)
      if (standing !== undefined) return standing !== WHITEOUT
      continue
    }
    const standing = await nameStateAt(sb, parent, name)
    if (!standing) continue
    if (!isObject(standing)) return false
    if (standing.fd >= 0) closeSync(standing.fd)
    return true
  }
  return false
}
