import type { OvlInode } from './dentry.ts'
import { OverlayError } from './errno.ts'
import { placeOf } from './inode.ts'
import type { Found, Layer, Real } from './layer.ts'
import type { SuperBlock } from './superblock.ts'
import { setXattr } from './sys/xattr.ts'
import { FileType, type Name } from './types.ts'
import { isWhiteoutDevice } from './whiteout.ts'

/** The longest redirect the kernel reads and writes, in bytes (OVL_REDIRECT_MAX). */
const REDIRECT_MAX_BYTES = 256

/**
 * Follows an absolute redirect from the root of `layer`, one component at a time and never through a symlink, so that it cannot
 * leave the layer.
 */
export async function lookupRedirect(
  sb: SuperBlock,
  layer: Layer,
  path: string,
): Promise<Found | 'whiteout' | undefined> {
  const parts = path.slice(1).split('/')
  let parent = layer.root
  for (const [i, part] of parts.entries()) {
    const probe = await sb.descriptors.probe(parent, part)
    if (!probe) return undefined
    if (isWhiteoutDevice(probe.stat)) return 'whiteout'
    const last = i === parts.length - 1
    if (!last && probe.stat.type !== FileType.directory) return undefined
    const found = sb.descriptors.found(parent, part, probe)
    if (last) return found
    parent = found.real
  }
  return undefined
}

/**
 * Records on the upper of a merged directory, or of a metadata-only copy, where its lowers lie, before it is moved away from there (ovl_set_redirect): the old
 * name for a move within the directory, an absolute path else. An existing redirect that still holds is kept.
 *
 * @throws EXDEV the redirect would be too long, as the kernel answers
 */
export async function setRedirect(sb: SuperBlock, dir: OvlInode, name: Name, sameDir: boolean): Promise<void> {
  const upper = dir.upper as Real
  if (upper.redirect !== undefined && (sameDir || upper.redirect.startsWith('/'))) return
  const redirect = sameDir ? name : absolutePath(dir)
  if (redirect.length > REDIRECT_MAX_BYTES) throw new OverlayError('EXDEV', 'rename', name)
  const place = await placeOf(sb, dir)
  await setXattr(place.fd, place.name, sb.xattrs.redirect, Buffer.from(redirect, 'latin1'))
  upper.redirect = redirect
}

/** Where the lowers of `dir` lie, from the overlay root: its path, with the redirects of all directories on the way. */
function absolutePath(dir: OvlInode): string {
  const parts: string[] = []
  for (let at: OvlInode | undefined = dir; at; ) {
    const alias: OvlInode['aliases'][number] | undefined = at.aliases[0]
    if (!alias) break
    const redirect: string | undefined = at.upper?.redirect
    if (redirect?.startsWith('/')) return redirect + parts.map((part) => `/${part}`).join('')
    parts.unshift(redirect ?? alias.name)
    at = alias.dir
  }
  return `/${parts.join('/')}`
}
