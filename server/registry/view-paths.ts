import { type Inode, type Name, OptionError, type Overlay } from '../../overlay-core/index.ts'
import { SERVER } from './copy-tree.ts'

/** The names from the root of a view, as bytes. */
export type ViewPath = readonly Name[]

/** The path that a person has written, with or without a slash at either end. @throws OptionError naming `option` it leads out of the view */
export function pathIn(text: string, option: string): ViewPath {
  const names = Buffer.from(text, 'utf8')
    .toString('latin1')
    .split('/')
    .filter((name) => name !== '' && name !== '.')
  if (names.includes('..'))
    throw new OptionError(option, `${JSON.stringify(text)} contains ..; name the path from the root of the view`)
  return names
}

/** A path as people read it. */
export function shownPath(path: ViewPath): string {
  return Buffer.from(path.join('/'), 'latin1').toString('utf8')
}

/** Whether `path` is `top` or below it. */
export function liesIn(path: ViewPath, top: ViewPath): boolean {
  return top.every((name, at) => path[at] === name)
}

/** The object at a path; undefined if there is none. Symlinks are not followed. */
export async function objectAt(overlay: Overlay, path: ViewPath): Promise<Inode | undefined> {
  let found: Inode | undefined = overlay.root
  for (const name of path) {
    if (found === undefined || found.type !== overlay.root.type) return undefined
    found = await overlay.lookup(SERVER, found, name)
  }
  return found
}
