import { FileType, type Inode, type MaybePromise, type Name } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import type { DavView } from '../state/context.ts'

/** The target of a path in a view. */
export interface Target {
  readonly view: DavView
  /** The path with symlinks resolved, which is the same for all URLs of this target. */
  readonly names: readonly Name[]
  /** The directory that contains or would contain the object; undefined for the root of the view, or if it does not exist. */
  readonly dir: Inode | undefined
  /** The name in `dir`, empty for the root of the view. */
  readonly name: Name
  /** The object; undefined if there is none. */
  readonly inode: Inode | undefined
}

/** The number of symlinks that Linux follows in one path (path_resolution(7)). */
const MAX_SYMLINKS = 40

/**
 * Walks `names` from the root of the view. Symlinks are resolved here and never leave the view: absolute targets start at
 * its root, and `..` stops there. The last name is followed only with `follow`. A dangling or circular link gives a target
 * without an inode.
 *
 * What is outside the part of the view that the caller may reach does not exist, whichever way leads there.
 *
 * Depending on the policy of the view, a symlink may also be hidden or refused; then only its name itself can be resolved, without `follow`.
 *
 * @throws DavError 403 a refused symlink
 * @throws EACCES no search permission on the path · ESTALE and other errors of the core
 */
export function resolve(view: DavView, names: readonly Name[], follow: boolean): MaybePromise<Target> {
  const found = goOn(view, names, follow, 0, view.overlay.root)
  if (view.within.length === 0) return found
  return found instanceof Promise ? found.then(inside) : inside(found)
}

/** @throws DavError 404 the target is outside the part of the view that the caller may reach */
function inside(target: Target): Target {
  const { within } = target.view
  // Like the root of a view, the top of the part can be neither removed nor replaced.
  if (target.names.length === within.length && startsWith(target.names, within)) return { ...target, dir: undefined }
  if (startsWith(target.names, within)) return target
  throw new DavError(404, 'no such resource')
}

/** Whether `path` is `top` or below it. */
export function startsWith(path: readonly string[], top: readonly string[]): boolean {
  return path.length >= top.length && top.every((name, i) => name === path[i])
}

/** Walks from `dir` to `names[at]` and on. Paths without symlinks need no more than this; at a symlink to follow, a `Walk` starts again from the root. */
function goOn(view: DavView, names: readonly Name[], follow: boolean, at: number, dir: Inode): MaybePromise<Target> {
  let here = dir
  for (let i = at; i < names.length; i++) {
    const name = names[i] as Name
    if (name === '..') return new Walk(view, names, follow).run()
    const found = view.overlay.lookup(view.cred, here, name)
    if (found instanceof Promise) {
      const parent = here
      return found.then((inode) => {
        const target = arrive(view, names, follow, i, parent, inode)
        return target ?? goOn(view, names, follow, i + 1, inode as Inode)
      })
    }
    const target = arrive(view, names, follow, i, here, found)
    if (target !== undefined) return target
    here = found as Inode
  }
  return { view, names, dir: undefined, name: '', inode: here }
}

/** The end of a walk that has found `inode` at `names[at]` in `dir`; undefined if it continues in the directory `inode`. */
function arrive(
  view: DavView,
  names: readonly Name[],
  follow: boolean,
  at: number,
  dir: Inode,
  inode: Inode | undefined,
): MaybePromise<Target> | undefined {
  const last = at === names.length - 1
  const name = names[at] as Name
  const type = inode?.type
  if (type === FileType.directory && !last) return undefined
  const follows = type === FileType.symlink && (!last || follow) && view.symlinks !== 'hide'
  if (follows) return new Walk(view, names, follow).run()
  const hidden = type === FileType.symlink && view.symlinks === 'hide'
  return { view, names, dir: last ? dir : undefined, name, inode: last && !hidden ? inode : undefined }
}

/** Whether WebDAV clients see the object: files and directories are visible, special files are not. */
export function isVisible(inode: Inode): boolean {
  return inode.type === FileType.regular || inode.type === FileType.directory
}

/** Whether symlinks of the view are followed. */
export function followsSymlinks({ symlinks = 'follow' }: DavView): boolean {
  return symlinks === 'follow'
}

/** Whether `inode` is a directory. */
export function isDirectory(inode: Inode): boolean {
  return inode.type === FileType.directory
}

class Walk {
  readonly #view: DavView
  readonly #follow: boolean
  /** The remaining names, the next one last. */
  readonly #pending: Name[]
  /** The directories from the root to the present position, one more than names. */
  readonly #dirs: Inode[]
  readonly #names: Name[] = []
  #symlinks = 0

  constructor(view: DavView, names: readonly Name[], follow: boolean) {
    this.#view = view
    this.#follow = follow
    this.#pending = names.toReversed()
    this.#dirs = [view.overlay.root]
  }

  /** Continues to the end, or until a lookup has to wait; the rest then runs after that lookup. */
  run(): MaybePromise<Target> {
    for (;;) {
      const name = this.#pending.pop()
      if (name === undefined) return this.#atDirectory()
      if (name === '..') {
        this.#up()
        continue
      }
      const found = this.#lookup(name)
      if (found instanceof Promise) return found.then((inode) => this.#arrive(name, inode) ?? this.run())
      const target = this.#arrive(name, found)
      if (target !== undefined) return target
    }
  }

  #lookup(name: Name): MaybePromise<Inode | undefined> {
    return this.#view.overlay.lookup(this.#view.cred, this.#here(), name)
  }

  #here(): Inode {
    return this.#dirs[this.#dirs.length - 1]
  }

  #up(): void {
    if (this.#dirs.length === 1) return
    this.#dirs.pop()
    this.#names.pop()
  }

  /** Handles the object named `name`. Returns undefined to continue, or the end of the walk. */
  #arrive(name: Name, inode: Inode | undefined): MaybePromise<Target> | undefined {
    const last = this.#pending.length === 0
    if (inode === undefined) return this.#end(last, name, undefined)
    if (inode.type === FileType.directory) {
      this.#dirs.push(inode)
      this.#names.push(name)
      return undefined
    }
    if (inode.type === FileType.symlink) {
      const { symlinks } = this.#view
      if (symlinks === 'hide') return this.#end(last, name, undefined)
      if (!last || this.#follow) {
        if (symlinks === 'refuse') throw new DavError(403, 'symbolic links are not followed')
        return this.#enterSymlink(name, inode)
      }
    }
    return this.#end(last, name, last ? inode : undefined)
  }

  #enterSymlink(name: Name, inode: Inode): MaybePromise<Target> | undefined {
    this.#symlinks++
    if (this.#symlinks > MAX_SYMLINKS) return this.#end(false, name, undefined)
    const target = this.#view.overlay.readlink(this.#view.cred, inode)
    if (target instanceof Promise) {
      return target.then((bytes) => {
        this.#enter(bytes)
        return this.run()
      })
    }
    this.#enter(target)
    return undefined
  }

  #enter(target: Uint8Array): void {
    const path = Buffer.from(target.buffer, target.byteOffset, target.byteLength).toString('latin1')
    if (path.startsWith('/')) {
      this.#dirs.length = 1
      this.#names.length = 0
    }
    for (const name of path.split('/').reverse()) if (name !== '' && name !== '.') this.#pending.push(name)
  }

  #atDirectory(): Target {
    const depth = this.#names.length
    const dir = depth === 0 ? undefined : this.#dirs[depth - 1]
    return { view: this.#view, names: this.#names, dir, name: this.#names[depth - 1] ?? '', inode: this.#here() }
  }

  #end(hasParent: boolean, name: Name, inode: Inode | undefined): Target {
    const dir = hasParent ? this.#here() : undefined
    // Names below a missing directory count too, because they may be locked.
    const names = [...this.#names, name, ...this.#pending.toReversed()]
    return { view: this.#view, names, dir, name, inode }
  }
}
