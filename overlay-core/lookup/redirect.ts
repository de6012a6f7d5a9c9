import { OverlayError } from '../api/errno.ts'
import { FileType, type Name } from '../api/types.ts'
import type { Found, Layer, Real } from '../layer/layer.ts'
import { isObject, nameStateAt, WHITEOUT } from '../layer/whiteout-format.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { placeOf } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { asFound, lowerStateAt } from '../stack/lower-lookup.ts'
import { LowerReal } from '../stack/lower-real.ts'
import { NO_MARKS, readMarks } from './marks.ts'

/** The longest redirect the kernel reads and writes, in bytes (OVL_REDIRECT_MAX). */
const REDIRECT_MAX_BYTES = 256

/** The result of looking up a name or redirect in one layer. */
export interface LayerStep {
  readonly at: Found | undefined
  /** Whether the search ends before the lower layers. */
  readonly stop: boolean
  /** Where to search the lower layers instead, after an absolute redirect was followed. */
  readonly redirect: string | undefined
}

/**
 * Follows the absolute redirect `path` from the root of `layer`, one component at a time and never through a symlink, so that it cannot
 * leave the layer. Directories on the way may themselves be opaque or redirected, which applies to the layers below (fs/overlayfs/namei.c
 * ovl_lookup_layer). `lowest`: there are no layers below.
 */
export async function lookupRedirect(sb: SuperBlock, layer: Layer, path: string, lowest: boolean): Promise<LayerStep> {
  const parts = path.slice(1).split('/')
  let redirect = path
  let stop = false
  let parent = layer.root
  for (const [i, part] of parts.entries()) {
    const at = await foundAt(sb, parent, part)
    if (!at) break
    if (at === WHITEOUT) return { at: undefined, stop: true, redirect }
    const last = i === parts.length - 1
    if (!last && at.stat.type !== FileType.directory) return { at: undefined, stop: true, redirect }
    if (last) return { at, stop, redirect }
    parent = at.real
    const marks = lowest ? NO_MARKS : await readMarks(sb, parent)
    if (marks.opaque) stop = true
    else if (marks.redirect !== undefined) {
      const rest = parts.slice(i + 1).join('/')
      const upTo = redirect.slice(0, redirect.length - rest.length - 1)
      redirect = `${redirected(upTo, marks.redirect)}/${rest}`
      if (marks.redirect.startsWith('/')) stop = false
    }
  }
  return { at: undefined, stop, redirect }
}

async function foundAt(sb: SuperBlock, dir: Real, name: Name): Promise<Found | typeof WHITEOUT | undefined> {
  // Nobody looks for changes of the directories on the way.
  if (dir instanceof LowerReal && !dir.layer.revalidates) {
    const state = await lowerStateAt(sb, dir, name)
    return state instanceof LowerReal ? asFound(state) : state
  }
  const state = await nameStateAt(sb, dir, name)
  return isObject(state) ? sb.descriptors.found(dir, name, state) : state
}

/** Where the `redirect` of the object at `path` leads: an absolute path, or another name in the same directory. */
export function redirected(path: string | undefined, redirect: string): string {
  if (redirect.startsWith('/') || !path?.startsWith('/')) return redirect
  return path.slice(0, path.lastIndexOf('/') + 1) + redirect
}

/**
 * Before a merged directory or a metadata-only copy is moved, records on its upper where its lowers are (ovl_set_redirect): the old name for a move
 * within the directory, otherwise an absolute path. An existing redirect that is still correct is kept.
 *
 * @throws EXDEV the redirect would be too long; the kernel returns the same error
 */
export async function setRedirect(sb: SuperBlock, dir: OvlInode, name: Name, sameDir: boolean): Promise<void> {
  const upper = dir.upper as Real
  if (upper.redirect !== undefined && (sameDir || upper.redirect.startsWith('/'))) return
  const redirect = sameDir && !(await isLowerHardLink(sb, dir)) ? name : absolutePath(dir)
  if (redirect.length > REDIRECT_MAX_BYTES) throw new OverlayError('EXDEV', 'rename', name)
  const place = await placeOf(sb, dir)
  await sb.xattrStore.set(place.fd, place.name, sb.overlayXattrs.redirect, Buffer.from(redirect, 'latin1'))
  upper.redirect = redirect
}

/** Whether a file has several names in the lowers. A relative redirect would be wrong for names in other directories (ovl_need_absolute_redirect). */
async function isLowerHardLink(sb: SuperBlock, inode: OvlInode): Promise<boolean> {
  const lower = inode.lower
  if (inode.type === FileType.directory || !lower?.parent) return false
  const probe = await sb.descriptors.probe(lower.parent, lower.name)
  if (probe && probe.fd >= 0) sb.descriptors.retire(probe.fd)
  return probe !== undefined && probe.stat.nlink > 1
}

/** The path of the lowers of `dir` from the overlay root, following the redirects of all directories on the way. */
function absolutePath(dir: OvlInode): string {
  const parts: string[] = []
  for (let at: OvlInode | undefined = dir; at; ) {
    const alias: OvlInode['aliases'][number] | undefined = at.alias
    if (!alias) break
    const redirect: string | undefined = at.upper?.redirect
    if (redirect?.startsWith('/')) return redirect + parts.map((part) => `/${part}`).join('')
    parts.unshift(redirect ?? alias.name)
    at = alias.dir
  }
  return `/${parts.join('/')}`
}
