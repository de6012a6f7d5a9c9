import { FileType, type Name } from '../api/types.ts'
import { isWhiteoutDevice } from '../layer/whiteout.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { ABSENT, closeSync, openIfThere } from '../sys/open.ts'
import { type Stat, statxFd } from '../sys/stat.ts'
import { getXattr } from '../sys/xattr.ts'

/** A directory of a lower. */
export interface LowerDirectory {
  /** The position of its layer, from the top. */
  readonly layer: number
  readonly fd: number
}

/** What the lowers have at a name. */
export interface Beneath {
  /** The type of the topmost object; undefined without one. */
  readonly type: FileType | undefined
  /** The directories that merge, topmost first; the caller closes them. */
  readonly directories: readonly LowerDirectory[]
}

/** The lowers of an upper that is checked, as far as merges go (fs/overlayfs/namei.c ovl_lookup). */
export class CheckedLowers {
  readonly roots: readonly LowerDirectory[]
  readonly #prefix: string

  /** @param prefix of the marks, `trusted.overlay.` or `user.overlay.` */
  constructor(rootFds: readonly number[], prefix: string) {
    this.roots = rootFds.map((fd, layer) => ({ layer, fd }))
    this.#prefix = prefix
  }

  /** What is beneath `name` in the merged directories `parents`, or at the redirect of the object there. */
  async beneath(parents: readonly LowerDirectory[], name: Name, redirect?: string): Promise<Beneath> {
    const directories: LowerDirectory[] = []
    let type: FileType | undefined
    let wanted = redirect ?? name
    let list = redirect?.startsWith('/') ? this.roots : parents
    for (let i = 0; i < list.length; i++) {
      const { layer, fd } = list[i] as LowerDirectory
      const at = await this.#at(fd, wanted)
      if (at === undefined) continue
      if (at.stat === undefined) break
      type ??= at.stat.type
      if (at.fd < 0) break
      directories.push({ layer, fd: at.fd })
      if ((await this.#mark(at.fd, 'opaque')) === 'y') break
      const onward = await this.#mark(at.fd, 'redirect')
      if (onward === undefined) continue
      if (!onward.startsWith('/')) {
        wanted = wanted.slice(0, wanted.lastIndexOf('/') + 1) + onward
        continue
      }
      wanted = onward
      list = this.roots.filter((root) => root.layer > layer)
      i = -1
    }
    return { type, directories }
  }

  /** The object at a name, or at an absolute path in the layer; its `stat` is undefined if it is a whiteout, its `fd` -1 if it is no directory. */
  async #at(
    dirFd: number,
    name: string,
  ): Promise<{ readonly stat: Stat | undefined; readonly fd: number } | undefined> {
    let fd = dirFd
    const names = name.startsWith('/') ? name.slice(1).split('/') : [name]
    for (const [at, part] of names.entries()) {
      const found = await openIfThere(fd, part, O_PATH | O_NOFOLLOW)
      if (fd !== dirFd) closeSync(fd)
      if (found === ABSENT) return undefined
      const stat = statxFd(found)
      if (stat.type === FileType.directory) {
        fd = found
        if (at === names.length - 1) return { stat, fd }
        continue
      }
      closeSync(found)
      const last = at === names.length - 1
      return { stat: isWhiteoutDevice(stat) || !last ? undefined : stat, fd: -1 }
    }
    return undefined
  }

  async #mark(fd: number, mark: string): Promise<string | undefined> {
    const value = await getXattr(fd, '', this.#prefix + mark)
    return value && Buffer.from(value).toString('latin1')
  }
}

/** Opens a directory for a check. */
export async function openInside(dirFd: number, name: Name): Promise<number> {
  return await openIfThere(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
}
