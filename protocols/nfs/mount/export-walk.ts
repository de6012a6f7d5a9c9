import { type Cred, FileType, type Inode, type Overlay, OverlayError } from '../../../overlay-core/index.ts'

/** As the kernel (MAXSYMLINKS), and PATH_MAX for what is left of the way at a time. */
const MOST_LINKS = 40
const LONGEST_REST_BYTES = 4096

/** Up to the directory above, in the target of a symlink. */
const UP = Symbol('up')
type Component = string | typeof UP

/** An export to walk in, for whom, and the names below its root that an absolute path stands for; undefined when that leads elsewhere. */
export interface ExportWalk {
  readonly overlay: Overlay
  readonly cred: Cred
  inside(path: string): readonly string[] | undefined
}

/**
 * Follows `names` from the root of an export, and symlinks on the way and at the end, as mountd does; an absolute target is a path as a client
 * names it in MNT. Never out of the export. Undefined when a name does not exist. ".." among `names` is refused by the core.
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
