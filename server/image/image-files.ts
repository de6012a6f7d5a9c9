import { lstat, readdir, readFile, readlink } from 'node:fs/promises'
import { join } from 'node:path'

const MOST_LINKS = 40
const MOST_BYTES = 1024 * 1024

/** The files of an image in a directory of this machine. No symlink leads out of it: an absolute target starts at its root. */
export class ImageFiles {
  readonly root: string

  constructor(root: string) {
    this.root = root
  }

  /** Where the object at a path of the image is on this machine, after all symlinks; undefined if there is none. */
  async real(path: string): Promise<string | undefined> {
    const left = path.split('/').reverse()
    const at: string[] = []
    let links = 0
    for (let name = left.pop(); name !== undefined; name = left.pop()) {
      if (name === '' || name === '.') continue
      if (name === '..') {
        at.pop()
        continue
      }
      const here = join(this.root, ...at, name)
      const found = await lstat(here).catch(() => undefined)
      if (found === undefined) return undefined
      if (!found.isSymbolicLink()) {
        at.push(name)
        continue
      }
      if (++links > MOST_LINKS) return undefined
      const target = await readlink(here)
      if (target.startsWith('/')) at.length = 0
      left.push(...target.split('/').reverse())
    }
    return join(this.root, ...at)
  }

  async has(path: string): Promise<boolean> {
    return (await this.real(path)) !== undefined
  }

  /** The text of a small regular file; undefined if there is none. */
  async text(path: string): Promise<string | undefined> {
    const real = await this.real(path)
    if (real === undefined) return undefined
    const found = await lstat(real)
    return found.isFile() && found.size <= MOST_BYTES ? await readFile(real, 'utf8') : undefined
  }

  /** The names in a directory; none if there is no such directory. */
  async names(path: string): Promise<string[]> {
    const real = await this.real(path)
    if (real === undefined || !(await lstat(real)).isDirectory()) return []
    return (await readdir(real)).sort()
  }
}
