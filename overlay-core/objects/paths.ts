import type { Name } from '../api/types.ts'
import type { OvlInode } from './dentry.ts'

/** Deeper than any path that a caller can walk; stops a walk if a bug has linked the parents in a loop. */
const DEEPEST = 4096

/** @see Overlay.paths */
export function pathsOf(root: OvlInode, inode: OvlInode): readonly (readonly Name[])[] {
  if (inode === root) return [[]]
  const paths: Name[][] = []
  for (const { dir, name } of inode.aliases) {
    const path = pathOfDirectory(root, dir)
    if (path === undefined) continue
    path.push(name)
    paths.push(path)
  }
  return paths
}

function pathOfDirectory(root: OvlInode, directory: OvlInode): Name[] | undefined {
  const path: Name[] = []
  for (let dir = directory; dir !== root; ) {
    const alias = dir.alias
    if (alias === undefined || path.length === DEEPEST) return undefined
    path.push(alias.name)
    dir = alias.dir
  }
  return path.reverse()
}
