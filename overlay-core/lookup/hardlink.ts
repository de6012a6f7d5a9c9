import { isErrno } from '../api/errno.ts'
import { FileType } from '../api/types.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import { type Found, type Layer, type Probe, Real } from '../layer/layer.ts'
import type { XattrNames } from '../layer/overlay-xattrs.ts'
import { openWorkDirectory } from '../layer/workdir.ts'
import type { XattrStore } from '../layer/xattr-store.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { readdirFd, unlinkAt } from '../sys/dir.ts'
import { type Stat, statxAt } from '../sys/stat.ts'
import { readFileMarks } from './marks.ts'
import { encodeOrigin, formerOrigin, indexNameOf, resolveOrigin } from './origin.ts'

/** The name of the index directory in the workdir. */
export const INDEX = 'index'
/** The inode number of an index directory that does not exist yet. */
const ABSENT = 0

/** The index entry of a lower hard link. */
export interface IndexEntry {
  /** Its name in the index; undefined if the file system has no handles, from which the name is derived. */
  readonly name: string | undefined
  /** The upper object, if the lower one was copied up. */
  readonly entry: Found | undefined
  readonly nlinkDelta: number | undefined
}

/**
 * Whether the names of a hard link in the lower `layer` are separate objects, because copy-up gives each its own file: with index=off, for all layers or
 * for this one (`joinsLinks`).
 */
export function separatesLinks(sb: SuperBlock, layer: Layer): boolean {
  return sb.upper !== undefined && (sb.indexDir === undefined || !layer.joinsLinks)
}

/** Whether `separatesLinks` is true for any lower. */
export function separatesSomeLinks(sb: SuperBlock): boolean {
  return (
    sb.lowers.some((layer) => separatesLinks(sb, layer)) || sb.dataLayers.some((layer) => separatesLinks(sb, layer))
  )
}

/** Whether a lower object is one of several names of one file. With numbers by path (`generation`), each name is a separate object. */
export function isHardLink({ type, nlink, generation }: Stat): boolean {
  return type !== FileType.directory && nlink > 1 && generation === undefined
}

/** Looks for the index entry of a lower file with several names (fs/overlayfs/namei.c ovl_lookup_index). */
export async function findIndex(sb: SuperBlock, lower: Found): Promise<IndexEntry> {
  const origin = await encodeOrigin(sb, lower.real)
  if (!origin) return { name: undefined, entry: undefined, nlinkDelta: undefined }
  const { name, probe } = await probeIndex(sb, origin)
  if (!probe) return { name, entry: undefined, nlinkDelta: undefined }
  const entry = sb.descriptors.found(sb.indexDir as Real, name, probe)
  return { name, entry, nlinkDelta: await readNlinkDelta(sb, name, probe.stat.nlink, lower.stat.nlink) }
}

/** Looks up the index entry of `origin`, also under the name that earlier versions used. */
async function probeIndex(sb: SuperBlock, origin: Uint8Array): Promise<{ name: string; probe: Probe | undefined }> {
  const name = indexNameOf(origin)
  if (isAbsent(sb.indexDir as Real)) return { name, probe: undefined }
  const probe = await sb.descriptors.probe(sb.indexDir as Real, name)
  const former = probe ? undefined : formerOrigin(origin)
  if (!former) return { name, probe }
  const before = await sb.descriptors.probe(sb.indexDir as Real, indexNameOf(former))
  return before ? { name: indexNameOf(former), probe: before } : { name, probe }
}

/** The index entry of an upper hard link that was found by one of its own names, if any; `lowerNlink` is the link count of its origin. */
export async function indexOfUpper(
  sb: SuperBlock,
  upper: Found,
  origin: Uint8Array,
  lowerNlink: number,
): Promise<IndexEntry | undefined> {
  const { name, probe } = await probeIndex(sb, origin)
  if (probe?.stat.ino !== upper.stat.ino) return undefined
  const entry = sb.descriptors.found(sb.indexDir as Real, name, probe)
  return { name, entry, nlinkDelta: await readNlinkDelta(sb, name, probe.stat.nlink, lowerNlink) }
}

/**
 * The object that shows a lower hard link: the link itself, or its copy in the index of a layer above that was the upper. Without that, the names that had not
 * been copied up when the layer was frozen would show the old content.
 */
export async function frozenCopy(sb: SuperBlock, lower: Found): Promise<Found> {
  let found = lower
  for (const layer of sb.lowers.filter(({ frozenIndex }) => frozenIndex !== undefined).reverse()) {
    if (layer.index >= found.real.layer.index) continue
    const origin = await encodeOrigin(sb, found.real)
    const index = layer.frozenIndex as Real
    const name = origin && indexNameOf(origin)
    const probe = name === undefined ? undefined : await sb.descriptors.probe(index, name)
    if (name === undefined || !probe) continue
    const { real, stat } = sb.descriptors.found(index, name, probe)
    const marks = await readFileMarks(sb, await sb.descriptors.of(index), { real, stat })
    real.redirect = marks.redirect
    found = { real, stat, origin: marks.origin, identity: marks.identity }
  }
  return found
}

/** The difference between the link count of a hard link in a layer that was the upper and the count on disk; undefined if it was not in the index. */
export async function deltaOfFrozen(sb: SuperBlock, { real, stat, origin }: Found): Promise<number | undefined> {
  const { frozenIndex, frozen } = real.layer
  const squashed = frozen ? await linksOfSquashed(sb, real) : undefined
  if (squashed !== undefined) return squashed - stat.nlink
  if (!frozenIndex || !origin) return undefined
  const name = indexNameOf(origin)
  const probe = await sb.descriptors.probe(frozenIndex, name)
  if (probe?.stat.ino !== stat.ino) return undefined
  const saved = parseNlink(await sb.xattrStore.get(await sb.descriptors.of(frozenIndex), name, sb.overlayXattrs.nlink))
  if (!saved) return -1
  if (saved.base === 'U') return saved.difference
  const source = await resolveOrigin(sb, origin, [])
  return source && saved.difference + source.stat.nlink - stat.nlink
}

/** The link count that a hard link in a squashed layer has for clients. */
async function linksOfSquashed(sb: SuperBlock, { parent, name }: Real): Promise<number | undefined> {
  if (!parent) return undefined
  const saved = await sb.xattrStore.get(await sb.descriptors.of(parent), name, sb.overlayXattrs.links)
  const links = saved && Number(Buffer.from(saved).toString('latin1'))
  return links !== undefined && Number.isSafeInteger(links) && links > 0 ? links : undefined
}

/** Marks `inode` as being in the index. */
export function joinIndex(inode: OvlInode, index: IndexEntry, lowerNlink: number): void {
  inode.indexName = index.name
  inode.nlinkDelta = index.nlinkDelta
  inode.lowerNlink = lowerNlink
}

/**
 * The difference between the link counts of the overlay object and the upper object: `overlay.nlink` is `U` or `L` (relative to the upper's or
 * the lower's count) and a signed number (ovl_get_nlink).
 */
async function readNlinkDelta(sb: SuperBlock, name: string, upperNlink: number, lowerNlink: number): Promise<number> {
  const saved = parseNlink(
    await sb.xattrStore.get(await sb.descriptors.of(sb.indexDir as Real), name, sb.overlayXattrs.nlink),
  )
  // Without the attribute only the index entry itself is an additional link of the upper.
  if (!saved) return -1
  return saved.base === 'U' ? saved.difference : saved.difference + lowerNlink - upperNlink
}

function parseNlink(value: Uint8Array | undefined): { base: 'U' | 'L'; difference: number } | undefined {
  const match = value && /^([UL])([+-]\d+)$/.exec(Buffer.from(value).toString('latin1'))
  return match ? { base: match[1] as 'U' | 'L', difference: Number(match[2]) } : undefined
}

/**
 * Saves the difference of the link counts before an operation changes the counts of the overlay and the upper together, so that the difference
 * is correct before and after (ovl_set_nlink_upper).
 */
export async function saveNlink(sb: SuperBlock, inode: OvlInode): Promise<void> {
  if (!inode.upper || inode.indexName === undefined || inode.nlinkDelta === undefined) return
  await saveNlinkDelta(sb, inode.indexName, inode.nlinkDelta)
}

/** Saves the difference of the link counts of the index entry `indexName`. */
export async function saveNlinkDelta(sb: SuperBlock, indexName: string, nlinkDelta: number): Promise<void> {
  await writeNlink(sb, await sb.descriptors.of(sb.indexDir as Real), indexName, 'U', nlinkDelta)
}

/**
 * Like `saveNlink`, before the upper gets a link for a name that the overlay object already had: the overlay's count is saved relative to the
 * lower's, which does not change (ovl_set_nlink_lower). `difference` is the overlay's count minus the lower's.
 */
export async function saveNlinkByLower(sb: SuperBlock, dirFd: number, name: string, difference: number): Promise<void> {
  await writeNlink(sb, dirFd, name, 'L', difference)
}

async function writeNlink(
  sb: SuperBlock,
  fd: number,
  name: string,
  base: 'U' | 'L',
  difference: number,
): Promise<void> {
  const sign = difference < 0 ? '' : '+'
  await sb.xattrStore.set(fd, name, sb.overlayXattrs.nlink, Buffer.from(`${base}${sign}${difference}`))
}

/**
 * Removes the index entry of an object that has no name left (ovl_cleanup_index). On failure a leftover remains: the next mount cleans
 * the index.
 */
export async function dropIndex(sb: SuperBlock, inode: OvlInode): Promise<void> {
  if (!inode.upper || inode.indexName === undefined || inode.nlinkDelta === undefined) return
  try {
    const dir = sb.indexDir as Real
    await unlinkAt(await sb.descriptors.of(dir), inode.indexName)
    await sb.xattrStore.removed({ dir, name: inode.indexName })
  } catch (error) {
    if (!isErrno(error)) throw error
  }
}

/** The index directory of a workdir that has none yet; `createIndex` creates it. */
export function absentIndex(workdir: Real): Real {
  return new Real(workdir.layer, workdir, INDEX, ABSENT)
}

/** Whether the index directory does not exist yet. */
export function isAbsent(index: Real): boolean {
  return index.ino === ABSENT
}

/** The names in the index directory; undefined if there is no index (index=off). */
export async function indexNames(descriptors: Descriptors, index: Real | undefined): Promise<string[] | undefined> {
  if (!index || isAbsent(index)) return index && []
  return await descriptors.run(async () => (await readdirFd(await descriptors.of(index))).map(({ name }) => name))
}

/** Creates the index directory if it does not exist yet, for an entry. */
export async function createIndex(sb: SuperBlock): Promise<void> {
  const { indexDir, descriptors } = sb
  if (!indexDir || !isAbsent(indexDir)) return
  const made = await openWorkDirectory(descriptors, indexDir.layer, indexDir.parent as Real, INDEX)
  if (sb.indexDir && isAbsent(sb.indexDir)) sb.indexDir = made
  else descriptors.drop(made)
}

/** Opens the index directory of the workdir, creates it if missing, and cleans it. */
export async function openIndexDirectory(
  { descriptors, overlayXattrs, xattrStore }: Pick<SuperBlock, 'descriptors' | 'overlayXattrs' | 'xattrStore'>,
  workdir: Real,
): Promise<Real> {
  const index = await openWorkDirectory(descriptors, workdir.layer, workdir, INDEX)
  await removeOrphans(await descriptors.of(index), overlayXattrs, xattrStore)
  return index
}

/** Removes index entries whose objects have no name left, after a crash between the two removals (ovl_indexdir_cleanup). */
async function removeOrphans(indexFd: number, xattrs: XattrNames, attributes: XattrStore): Promise<void> {
  for (const { name } of await readdirFd(indexFd)) {
    const { type, nlink } = await statxAt(indexFd, name)
    // Directories and whiteouts belong to the kernel's NFS export.
    if (type === FileType.directory || type === FileType.character) continue
    const saved = parseNlink(await attributes.get(indexFd, name, xattrs.nlink))
    const left = saved ? (saved.base === 'U' ? nlink + saved.difference : 1) : nlink - 1
    if (left <= 0) await unlinkAt(indexFd, name)
  }
}
