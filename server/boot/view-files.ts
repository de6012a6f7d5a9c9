import { type Attr, FileType, type Inode, type Name, type Overlay } from '../../overlay-core/index.ts'
import { ROOT } from './root-cred.ts'

/** As in the kernel: MAXSYMLINKS. */
const MOST_LINKS = 40

/** A name or path as the core takes it: one code unit for each byte. */
export function bytesOf(text: string): Name {
  return Buffer.from(text, 'utf8').toString('latin1')
}

/** The object at an absolute path in a view, following symlinks inside of it; undefined if there is none, or it leads nowhere. */
export async function objectAt(overlay: Overlay, path: string): Promise<Inode | undefined> {
  const left = namesOf(path).reverse()
  const above: Inode[] = []
  let at: Inode = overlay.root
  let links = 0
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    if (at.type !== FileType.directory) return undefined
    if (name === '..') {
      at = above.pop() ?? overlay.root
      continue
    }
    const found = await overlay.lookup(ROOT, at, name)
    if (found === undefined) return undefined
    if (found.type !== FileType.symlink) {
      above.push(at)
      at = found
      continue
    }
    if (++links > MOST_LINKS) return undefined
    const target = Buffer.from(await overlay.readlink(ROOT, found)).toString('latin1')
    if (target.startsWith('/')) {
      above.length = 0
      at = overlay.root
    }
    left.push(...namesOf(target).reverse())
  }
  return at
}

function namesOf(path: string): Name[] {
  return path.split('/').filter((name) => name !== '' && name !== '.')
}

/** All names in a directory. */
export async function namesIn(overlay: Overlay, dir: Inode): Promise<Name[]> {
  const names: Name[] = []
  const fill = ({ name }: { name: Name }) => names.push(name) > 0
  await overlay.readdir(ROOT, dir, 0, fill)
  return names
}

/** A regular file with its attributes; undefined if there is none. */
export async function fileAt(overlay: Overlay, path: string): Promise<{ inode: Inode; attr: Attr } | undefined> {
  const inode = await objectAt(overlay, path)
  if (inode?.type !== FileType.regular) return undefined
  return { inode, attr: await overlay.getattr(inode) }
}
