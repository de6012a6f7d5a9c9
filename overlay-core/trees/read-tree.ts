import { OptionError } from '../api/params.ts'
import { FileType } from '../api/types.ts'
import { LargeMap } from '../base/large-map.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { sortInTurns } from '../base/sort-in-turns.ts'
import { pread } from '../sys/data.ts'
import { readdirFd, readlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_NONBLOCK, O_PATH, O_RDONLY } from '../sys/flags.ts'
import { closeSync, openAt, openDirectory, openRoot } from '../sys/open.ts'
import { type Stat, statxAt, statxFd } from '../sys/stat.ts'
import { getXattr, listXattr } from '../sys/xattr.ts'
import { DEEPEST, isKeptXattr, markIn, type TreeEntry, type TreeEntryType, type TreeItem } from './tree-entry.ts'

/** Content is read in pieces of this size. */
const PIECE_BYTES = 256 * 1024
const WHITEOUT_PREFIX = '.wh.'
const OPAQUE_FILE = '.wh..wh..opq'

/** How a tree is read. */
export interface ReadTreeOptions {
  /** Whether files `.wh.NAME` are whiteouts. Otherwise a layer cannot contain them. */
  readonly whiteoutFiles?: boolean
}

/** A directory between the root and the present position. */
interface Frame {
  readonly fd: number
  readonly path: string
  /** The names to be told, in reverse order. */
  readonly names: string[]
  /** Whether files in it may be whiteouts by an attribute. */
  readonly xwhiteouts: boolean
}

/**
 * Reads a layer from its directory, in the order of the bytes of its names, each directory before its contents, so that the same tree is told in the same way
 * everywhere. Marks of the kernel's overlay become whiteouts and opaque directories. Nobody may change it meanwhile.
 *
 * @param path the directory
 * @throws OptionError naming `from`: it contains what a layer alone cannot mean (moved directories, metadata-only files) · OverlayError EIO | EACCES …
 */
export async function* readTree(path: string, options: ReadTreeOptions = {}): AsyncGenerator<TreeItem> {
  yield* new TreeReader(options).read(path)
}

class TreeReader {
  readonly #options: ReadTreeOptions
  /** The first name of each file with several names, by file system and inode. */
  readonly #linked = new LargeMap<string, string>()

  constructor(options: ReadTreeOptions) {
    this.#options = options
  }

  async *read(path: string): AsyncGenerator<TreeItem> {
    const root = await openRoot(path)
    const frames: Frame[] = []
    try {
      yield await this.#enter(root, '', frames)
      for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
        const name = frame.names.pop()
        if (name === undefined) closeSync((frames.pop() as Frame).fd)
        else yield* this.#told(frame, name, frames)
        if (loopBudget.spent) await loopBudget.rest()
      }
    } finally {
      for (const { fd } of frames) closeSync(fd)
    }
  }

  /** Begins to tell a directory, whose descriptor is closed with it. */
  async #enter(fd: number, path: string, frames: Frame[]): Promise<TreeItem> {
    try {
      if (frames.length > DEEPEST)
        throw new OptionError('from', `a path has more than ${DEEPEST} names; a layer cannot be that deep`)
      const { entry, xwhiteouts } = await this.#directory(fd, path, statxFd(fd))
      const frame = await this.#frame(fd, path, xwhiteouts)
      const opaque = (entry.opaque ?? false) || (await this.#hasOpaqueFile(frame))
      frames.push(frame)
      return { entry: { ...entry, opaque } }
    } catch (error) {
      closeSync(fd)
      throw error
    }
  }

  async *#told(frame: Frame, name: string, frames: Frame[]): AsyncGenerator<TreeItem> {
    const path = frame.path === '' ? name : `${frame.path}/${name}`
    const stat = await statxAt(frame.fd, name)
    if (stat.type === FileType.directory) {
      const fd = await openAt(frame.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
      yield await this.#enter(fd, path, frames)
      return
    }
    const hidden = await this.#whiteoutAt(frame, name, stat)
    if (hidden !== undefined) {
      yield { entry: { ...basicsOf(stat), path: hidden, type: 'whiteout', mode: 0, uid: 0, gid: 0, mtime: EPOCH } }
      return
    }
    const type = TYPES.get(stat.type)
    // A socket means nothing without its process.
    if (type !== undefined) yield await this.#object(frame.fd, name, path, { stat, type })
  }

  async #object(
    dirFd: number,
    name: string,
    path: string,
    { stat, type }: { readonly stat: Stat; readonly type: TreeEntryType },
  ): Promise<TreeItem> {
    const first = stat.nlink > 1 ? this.#linked.get(idOf(stat)) : undefined
    if (first !== undefined) return { entry: { ...basicsOf(stat), path, type: 'link', target: first } }
    if (stat.nlink > 1) this.#linked.set(idOf(stat), path)
    const { xattrs, marks } = await xattrsOf(dirFd, name)
    if (marks.has('metacopy') || marks.has('redirect'))
      throw new OptionError('from', `${shown(path)} has no data of its own (metacopy); commit the view instead`)
    const entry: TreeEntry = {
      ...basicsOf(stat),
      ...{ path, type, xattrs },
      ...(type === 'symlink' && { target: latin1(await readlinkAt(dirFd, name)) }),
      ...((type === 'char' || type === 'block') && { rdev: { major: stat.rdevMajor, minor: stat.rdevMinor } }),
      ...(type === 'file' && { size: stat.size }),
    }
    return type === 'file' ? { entry, content: () => contentOf(dirFd, name, stat.size) } : { entry }
  }

  async #directory(fd: number, path: string, stat: Stat): Promise<{ entry: TreeEntry; xwhiteouts: boolean }> {
    const { xattrs, marks } = await xattrsOf(fd, '')
    if (marks.has('redirect'))
      throw new OptionError('from', `${shown(path)} was moved here from below (redirect); commit the view instead`)
    const opaque = latin1(marks.get('opaque') ?? new Uint8Array(0))
    const entry: TreeEntry = { ...basicsOf(stat), path, type: 'directory', xattrs, opaque: opaque === 'y' }
    return { entry, xwhiteouts: opaque === 'x' }
  }

  async #frame(fd: number, path: string, xwhiteouts: boolean): Promise<Frame> {
    const listing = await openDirectory(fd)
    try {
      const names = (await readdirFd(listing)).map((entry) => entry.name)
      return { fd, path, names: (await sortInTurns(names, byBytes)).reverse(), xwhiteouts }
    } finally {
      closeSync(listing)
    }
  }

  async #hasOpaqueFile(frame: Frame): Promise<boolean> {
    const at = this.#options.whiteoutFiles ? frame.names.indexOf(OPAQUE_FILE) : -1
    if (at >= 0) frame.names.splice(at, 1)
    return at >= 0
  }

  /** The path that the object at this name hides; undefined if it is no whiteout. */
  async #whiteoutAt(frame: Frame, name: string, stat: Stat): Promise<string | undefined> {
    const at = (hidden: string) => (frame.path === '' ? hidden : `${frame.path}/${hidden}`)
    if (stat.type === FileType.character && stat.rdevMajor === 0 && stat.rdevMinor === 0) return at(name)
    if (name.startsWith(WHITEOUT_PREFIX)) {
      if (this.#options.whiteoutFiles) return at(name.slice(WHITEOUT_PREFIX.length))
      throw new OptionError(
        'from',
        `${shown(at(name))} has the name of a whiteout in archives; remove it, or add --whiteouts files if it is one`,
      )
    }
    if (!frame.xwhiteouts || stat.type !== FileType.regular || stat.size !== 0) return undefined
    return (await xattrsOf(frame.fd, name)).marks.has('whiteout') ? at(name) : undefined
  }
}

const EPOCH = { sec: 0, nsec: 0 }

const TYPES: ReadonlyMap<FileType, TreeEntryType> = new Map<FileType, TreeEntryType>([
  [FileType.regular, 'file'],
  [FileType.symlink, 'symlink'],
  [FileType.character, 'char'],
  [FileType.block, 'block'],
  [FileType.fifo, 'fifo'],
])

function basicsOf({ mode, uid, gid, mtime }: Stat) {
  return { mode, uid, gid, mtime, size: 0 }
}

async function xattrsOf(
  dirFd: number,
  name: string,
): Promise<{ xattrs: Map<string, Uint8Array>; marks: Map<string, Uint8Array> }> {
  const [xattrs, marks] = [new Map<string, Uint8Array>(), new Map<string, Uint8Array>()]
  for (const attr of (await listXattr(dirFd, name)).sort(byBytes)) {
    const mark = markIn(attr)
    if (mark === undefined && !isKeptXattr(attr)) continue
    const value = await getXattr(dirFd, name, attr)
    if (value !== undefined) (mark === undefined ? xattrs : marks).set(mark ?? attr, value)
  }
  return { xattrs, marks }
}

/** Reads a file. A file that has become shorter is an error of its reader. */
async function* contentOf(dirFd: number, name: string, size: number): AsyncGenerator<Uint8Array> {
  const fd = await openAt(dirFd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK)
  try {
    for (let at = 0; at < size; ) {
      const piece = Buffer.allocUnsafeSlow(Math.min(PIECE_BYTES, size - at))
      const got = await pread(fd, piece, 0, piece.length, at)
      if (got === 0) throw new OptionError('from', `${shown(name)} became shorter while it was read; try again`)
      at += got
      yield piece.subarray(0, got)
    }
  } finally {
    closeSync(fd)
  }
}

function idOf({ devMajor, devMinor, inoHi, inoLo }: Stat): string {
  return `${devMajor}:${devMinor}:${inoHi}:${inoLo}`
}

function byBytes(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1')
}

/** A path for people. */
export function shown(path: string): string {
  return path === '' ? 'its root' : JSON.stringify(Buffer.from(path, 'latin1').toString('utf8'))
}
