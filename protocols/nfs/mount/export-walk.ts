import { type Cred, FileType, type Inode, type Overlay, OverlayError } from '../../../overlay-core/index.ts'

/** As in the kernel: MAXSYMLINKS, and PATH_MAX for the remaining path. */
const MOST_LINKS = 40
const LONGEST_REST_BYTES = 4096

/** The parent directory, in the target of a symlink. */
const UP = Symbol('up')
type Component = string | typeof UP

/** An export to walk in, its caller, and a function that converts an absolute path to names below its root (undefined if outside). */
export interface ExportWalk {
  readonly overlay: Overlay
  readonly cred: Cred
  inside(path: string): readonly string[] | undefined
}

/**
 * Follows `names` from the root of an export, and symlinks in the middle and at the end, as mountd does; an absolute target is a path as a client
 * gives it in MNT. It never leaves the export. Undefined if a name does not exist. The core refuses ".." among `names`.
 *
 * @throws EACCES a directory may not be searched, or a symlink leads out of the export · ELOOP · ENAMETOOLONG
 */
export async function walkExport(walk: ExportWalk, names: readonly string[]): Promise<Inode | undefined> {
  const { overlay, cred } = walk
  const left: Component[] = [...names].reverse()
  let at = overlay.root
  let links = 0
  for (let next = left.pop(); next !== undefined; next = left.pop()) {
    if (next === UP) {
      if (at === overlay.root) throw new OverlayError('EACCES', 'mount')
      at = await overlay.parent(cred, at)
      continue
    }
    const found = await overlay.lookup(cred, at, next)
    if (found === undefined) return undefined
    if (found.type !== FileType.symlink) {
      at = found
      continue
    }
    if (++links > MOST_LINKS) throw new OverlayError('ELOOP', 'mount')
    const target = Buffer.from(await overlay.readlink(cred, found)).toString('latin1')
    if (target.startsWith('/')) at = overlay.root
    left.push(...componentsOf(walk, target).reverse())
    if (lengthOf(left) > LONGEST_REST_BYTES) throw new OverlayError('ENAMETOOLONG', 'mount')
  }
  return at
}

function componentsOf(walk: ExportWalk, target: string): Component[] {
  const names = target.startsWith('/') ? walk.inside(target) : target.split('/')
  if (names === undefined) throw new OverlayError('EACCES', 'mount')
  return names.filter((name) => name !== '' && name !== '.').map((name) => (name === '..' ? UP : name))
}

function lengthOf(components: readonly Component[]): number {
  let length = 0
  for (const component of components) length += component === UP ? 3 : component.length + 1
  return length
}
