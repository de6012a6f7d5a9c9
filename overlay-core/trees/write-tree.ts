import { isErrno } from '../api/errno.ts'
import { OptionError } from '../api/params.ts'
import { FileType } from '../api/types.ts'
import { LargeMap } from '../base/large-map.ts'
import { chmodAt, chownAt, truncateFd, utimesAt } from '../sys/attr.ts'
import { pwrite, syncfs } from '../sys/data.ts'
import { linkAt, mkdirAt, mknodAt, symlinkAt, unlinkAt } from '../sys/dir.ts'
import {
  O_CREAT,
  O_DIRECTORY,
  O_EXCL,
  O_NOFOLLOW,
  O_PATH,
  O_RDONLY,
  O_WRONLY,
  S_IFBLK,
  S_IFCHR,
  S_IFIFO,
} from '../sys/flags.ts'
import { closeSync, openAt, openRoot } from '../sys/open.ts'
import { effectiveUid, setUmask0 } from '../sys/process.ts'
import type { Stat } from '../sys/stat.ts'
import { setXattr } from '../sys/xattr.ts'
import { shown } from './read-tree.ts'
import { removeName } from './remove-name.ts'
import { statIfThere } from './stat-if-there.ts'
import { DEEPEST, isKeptXattr, type TreeEntry, type TreeItem } from './tree-entry.ts'

/** Longer paths are opened in steps. */
const OPENED_AT_ONCE = 2000
/** Runs of zeros of this size in a file become holes. */
const HOLE_BYTES = 64 * 1024
const ZEROS = Buffer.alloc(HOLE_BYTES)
const PRIVATE = 0o700
const LONGEST_NAME = 255

/** What a written tree contains. */
export interface TreeTotals {
  /** The sizes of all regular files together. */
  bytes: number
  /** The number of objects, with directories and whiteouts. */
  objects: number
}

/**
 * Writes a layer into an empty directory that nobody else uses, object by object, with the marks of the kernel's overlay. Whoever made the objects may be hostile:
 * nothing outside of the directory is reached, whatever their paths, symlinks and links are. Root keeps owners and devices; anybody else owns everything.
 *
 * Whiteouts hide what is below the layer, never an object of the layer itself, in whatever order they come. Call `finish`, and `close` in any case.
 */
export class TreeWriter {
  readonly totals: TreeTotals = { bytes: 0, objects: 0 }
  /** The directories that are there only because something in them is. */
  readonly implied = new Set<string>([''])
  /** Whether marks are attributes `user.overlay.*`. */
  readonly userxattr = effectiveUid() !== 0
  readonly #root: number
  readonly #isRoot = effectiveUid() === 0
  /** The directories, whose attributes are set at the end, because their contents change their times. */
  readonly #directories = new LargeMap<string, TreeEntry>()
  /** The directory that was written to last. */
  #last: { readonly path: string; readonly fd: number } | undefined

  private constructor(root: number) {
    this.#root = root
  }

  /** @param path an existing empty directory */
  static async open(path: string): Promise<TreeWriter> {
    setUmask0()
    return new TreeWriter(await openRoot(path))
  }

  /** Adds an object. Parents that are missing are made, mode 0755. @throws OptionError naming `from`: the path or the object is impossible · OverlayError */
  async add({ entry, content }: TreeItem): Promise<void> {
    checkPath(entry.path)
    this.totals.objects++
    if (entry.path === '') {
      if (entry.type !== 'directory') throw impossible(entry, 'is not a directory')
      return await this.#noteDirectory(entry, this.#root)
    }
    const at = entry.path.lastIndexOf('/')
    const dirFd = await this.#parent(at < 0 ? '' : entry.path.slice(0, at))
    const name = entry.path.slice(at + 1)
    const standing = await statIfThere(dirFd, name)
    if (entry.type === 'directory') await this.#directory(dirFd, name, entry, standing)
    else if (entry.type === 'whiteout') await this.#whiteout(dirFd, name, entry.path, standing)
    else await this.#replace(dirFd, name, { entry, ...(content && { content }) }, standing)
  }

  /** Lets a directory hide what is below the layer, apart from what the layer contains. */
  async addOpaque(path: string): Promise<void> {
    checkPath(path)
    await this.#markOpaque(path, path === '' ? this.#root : await this.#parent(path))
  }

  /** Gives the directories their attributes, and makes everything durable. */
  async finish(): Promise<void> {
    if (!this.#directories.has('')) this.#directories.set('', impliedDirectory(''))
    for (const [path, entry] of this.#directories) {
      const fd = await this.#open(path)
      try {
        await this.#dress(fd, '', entry)
      } finally {
        closeSync(fd)
      }
    }
    const root = await openAt(this.#root, '.', O_RDONLY | O_DIRECTORY)
    try {
      await syncfs(root)
    } finally {
      closeSync(root)
    }
  }

  close(): void {
    this.#forgetLast()
    closeSync(this.#root)
  }

  async #directory(dirFd: number, name: string, entry: TreeEntry, standing: Stat | undefined): Promise<void> {
    const hidden = standing !== undefined && isWhiteout(standing)
    if (standing?.type !== FileType.directory) {
      if (standing) await unlinkAt(dirFd, name)
      await mkdirAt(dirFd, name, PRIVATE)
    }
    const fd = await openAt(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      await this.#noteDirectory(hidden ? { ...entry, opaque: true } : entry, fd)
    } finally {
      closeSync(fd)
    }
  }

  async #noteDirectory(entry: TreeEntry, fd: number): Promise<void> {
    if (entry.opaque) await this.#markOpaque(entry.path, fd)
    this.#directories.set(entry.path, entry)
    this.implied.delete(entry.path)
  }

  async #markOpaque(path: string, fd: number): Promise<void> {
    await setXattr(fd, '', `${this.#prefix}opaque`, Buffer.from('y'))
    const known = this.#directories.get(path)
    if (known) this.#directories.set(path, { ...known, opaque: true })
  }

  async #whiteout(dirFd: number, name: string, path: string, standing: Stat | undefined): Promise<void> {
    if (standing === undefined) return await mknodAt(dirFd, name, S_IFCHR, 0, 0)
    if (standing.type !== FileType.directory) return
    const fd = await openAt(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
    try {
      await this.#markOpaque(path, fd)
    } finally {
      closeSync(fd)
    }
  }

  async #replace(dirFd: number, name: string, item: TreeItem, standing: Stat | undefined): Promise<void> {
    const { entry, content } = item
    if (standing) await removeName(dirFd, name)
    if (standing?.type === FileType.directory) {
      this.#forgetLast()
      for (const path of [...this.#directories.keys()])
        if (path === entry.path || path.startsWith(`${entry.path}/`)) this.#forget(path)
      // The parent was closed.
      this.totals.objects--
      return await this.add(item)
    }
    if (entry.type === 'link') return await this.#link(dirFd, name, entry)
    if (entry.type === 'file') return await this.#file(dirFd, name, entry, content)
    if (entry.type === 'symlink') {
      await symlinkAt(Buffer.from(entry.target ?? '', 'latin1'), dirFd, name)
    } else await this.#special(dirFd, name, entry)
    await this.#dress(dirFd, name, entry)
  }

  async #special(dirFd: number, name: string, entry: TreeEntry): Promise<void> {
    const { major, minor } = entry.rdev ?? { major: 0, minor: 0 }
    if (entry.type === 'char' && major === 0 && minor === 0)
      throw impossible(entry, 'is a device 0:0, which hides names')
    const kind = entry.type === 'char' ? S_IFCHR : entry.type === 'block' ? S_IFBLK : S_IFIFO
    try {
      await mknodAt(dirFd, name, kind | 0o600, major, minor)
    } catch (error) {
      if (!isErrno(error, 'EPERM')) throw error
      throw impossible(entry, 'is a device, which only root can make; run this as root')
    }
  }

  async #link(dirFd: number, name: string, entry: TreeEntry): Promise<void> {
    const target = entry.target ?? ''
    checkPath(target)
    const at = target.lastIndexOf('/')
    const from = await this.#open(at < 0 ? '' : target.slice(0, at)).catch((error) => {
      throw isErrno(error) ? impossible(entry, `is a link to ${shown(target)}, which is not there`) : error
    })
    try {
      const standing = await statIfThere(from, target.slice(at + 1))
      if (standing === undefined || standing.type === FileType.directory || isWhiteout(standing))
        throw impossible(entry, `is a link to ${shown(target)}, which is not there, or no file`)
      await linkAt(from, target.slice(at + 1), dirFd, name)
    } finally {
      closeSync(from)
    }
  }

  async #file(dirFd: number, name: string, entry: TreeEntry, content: TreeItem['content']): Promise<void> {
    const fd = await openAt(dirFd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      let at = 0
      for await (const piece of content?.() ?? []) {
        await writeSparsely(fd, piece, at)
        at += piece.length
        this.totals.bytes += piece.length
      }
      if (at !== entry.size) throw impossible(entry, `has ${at} bytes instead of ${entry.size}`)
      await truncateFd(fd, at)
      await this.#dress(fd, '', entry)
    } finally {
      closeSync(fd)
    }
  }

  /** Gives an object its owner, attributes, mode and times, in the order in which none of them undoes another. */
  async #dress(
    fd: number,
    name: string,
    { type, mode, uid, gid, mtime, xattrs = new Map() }: TreeEntry,
  ): Promise<void> {
    if (this.#isRoot) await chownAt(fd, name, uid, gid)
    if (type !== 'symlink') await chmodAt(fd, name, mode)
    for (const [attr, value] of xattrs) {
      if (!isKeptXattr(attr) || (!this.#isRoot && !attr.startsWith('user.'))) continue
      await setXattr(fd, name, attr, value)
    }
    await utimesAt(fd, name, mtime, mtime)
  }

  get #prefix(): string {
    return this.userxattr ? 'user.overlay.' : 'trusted.overlay.'
  }

  /** The directory at this path, which the writer closes. */
  async #parent(path: string): Promise<number> {
    if (path === '') return this.#root
    if (this.#last?.path === path) return this.#last.fd
    const fd = await this.#openOrMake(path)
    this.#forgetLast()
    this.#last = { path, fd }
    return fd
  }

  async #openOrMake(path: string): Promise<number> {
    try {
      return await this.#open(path)
    } catch (error) {
      if (isErrno(error, 'ELOOP', 'ENOTDIR', 'EXDEV'))
        throw new OptionError('from', `the path ${shown(path)} leads through something that is no directory`)
      if (!isErrno(error, 'ENOENT')) throw error
    }
    const at = path.lastIndexOf('/')
    const above =
      at < 0 ? await openAt(this.#root, '.', O_PATH | O_DIRECTORY) : await this.#openOrMake(path.slice(0, at))
    try {
      const name = path.slice(at + 1)
      await this.#directory(above, name, impliedDirectory(path), await statIfThere(above, name))
      this.implied.add(path)
      this.totals.objects++
    } finally {
      closeSync(above)
    }
    return await this.#open(path)
  }

  /** Opens a directory without following any symlink, wherever it is. */
  async #open(path: string): Promise<number> {
    let fd = await openAt(this.#root, '.', O_PATH | O_DIRECTORY)
    for (let rest = path; rest !== ''; ) {
      const cut = rest.length <= OPENED_AT_ONCE ? rest.length : rest.lastIndexOf('/', OPENED_AT_ONCE)
      try {
        const next = await openAt(fd, rest.slice(0, cut), O_PATH | O_DIRECTORY | O_NOFOLLOW)
        rest = rest.slice(cut + 1)
        closeSync(fd)
        fd = next
      } catch (error) {
        closeSync(fd)
        throw error
      }
    }
    return fd
  }

  #forget(path: string): void {
    this.#directories.delete(path)
    this.implied.delete(path)
  }

  #forgetLast(): void {
    if (this.#last) closeSync(this.#last.fd)
    this.#last = undefined
  }
}

/** The same everywhere, so that the digest is. */
function impliedDirectory(path: string): TreeEntry {
  return { path, type: 'directory', mode: 0o755, uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, size: 0 }
}

function isWhiteout({ type, rdevMajor, rdevMinor }: Stat): boolean {
  return type === FileType.character && rdevMajor === 0 && rdevMinor === 0
}

/** Writes a piece of a file, apart from long runs of zeros. */
async function writeSparsely(fd: number, piece: Uint8Array, position: number): Promise<void> {
  for (let at = 0; at < piece.length; at += HOLE_BYTES) {
    const part = Buffer.from(piece.buffer, piece.byteOffset + at, Math.min(HOLE_BYTES, piece.length - at))
    if (!part.equals(part.length === HOLE_BYTES ? ZEROS : ZEROS.subarray(0, part.length)))
      await pwrite(fd, part, position + at)
  }
}

/** @throws OptionError naming `from`: the path leads out of the layer, or no file system can hold it */
function checkPath(path: string): void {
  if (path === '') return
  const names = path.split('/')
  if (names.length > DEEPEST)
    throw new OptionError('from', `a path has more than ${DEEPEST} names; a layer cannot be that deep`)
  for (const name of names) {
    if (name === '' || name === '.' || name === '..' || name.includes('\0'))
      throw new OptionError('from', `the path ${shown(path)} is not one in a layer`)
    if (name.length > LONGEST_NAME)
      throw new OptionError('from', `the path ${shown(path)} has a name of more than ${LONGEST_NAME} bytes`)
  }
}

function impossible({ path }: TreeEntry, what: string): OptionError {
  return new OptionError('from', `${shown(path)} ${what}`)
}
