import { type Cred, FileType, type Inode, type Name, type Overlay } from '../../../overlay-core/index.ts'
import type { ActiveLock, FileId, LockStore } from './lock-store.ts'

/** A resource for lock checks: the requested path, and the object there. */
export interface Lockable {
  readonly view: { readonly id: string; readonly overlay: Pick<Overlay, 'paths'> }
  /** Symlinks resolved. */
  readonly names: readonly Name[]
  readonly inode: Inode | undefined
}

const NONE: readonly ActiveLock[] = []

/** The file that a lock on this object binds in addition to the path. It may have other names. */
export function fileIdOf(inode: Inode | undefined): FileId | undefined {
  if (inode?.type !== FileType.regular) return undefined
  return { key: inode.key, generation: inode.generation }
}

/**
 * The locks that cover a resource: those on its path and above it, those taken on the same file at another name, and those with depth
 * infinity above its other names, as far as the overlay knows those at the moment.
 */
export function locksOn(locks: LockStore, { view, names, inode }: Lockable): readonly ActiveLock[] {
  if (locks.size === 0) return NONE
  const file = fileIdOf(inode)
  if (inode === undefined || file === undefined) return locks.covering(view.id, names)
  const found = locks.covering(view.id, names, file)
  const paths = view.overlay.paths(inode)
  if (paths.length < 2) return found
  const all = new Map(found.map((lock) => [lock.token, lock]))
  for (const path of paths) for (const lock of locks.covering(view.id, path)) all.set(lock.token, lock)
  return [...all.values()]
}

/** Binds the locks at a path to the object that is there now. Call it after another object took the path. */
export async function rebindLocks(
  { locks }: { readonly locks: LockStore },
  { view, names, dir, name }: Renamed,
): Promise<void> {
  if (locks.size === 0 || dir === undefined) return
  locks.rebind(view.id, names, fileIdOf(await view.overlay.lookup(view.cred, dir, name)))
}

/** A path that leads to another object now. */
interface Renamed {
  readonly view: { readonly id: string; readonly overlay: Pick<Overlay, 'lookup'>; readonly cred: Cred }
  readonly names: readonly Name[]
  readonly dir: Inode | undefined
  readonly name: Name
}
