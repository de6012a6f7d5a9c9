import {
  type Cred,
  type DirEntry,
  FileType,
  type Inode,
  isErrno,
  type Name,
  type OpenFile,
  type Overlay,
} from '../../overlay-core/index.ts'

/** The server itself: what it copies keeps owners and modes. */
export const SERVER: Cred = { uid: 0, gid: 0, groups: [] }

const CHUNK_BYTES = 1 << 20
/** The names that are read from a directory at once. */
const BATCH = 256
/** Files with several names that are remembered, so that their copies have several names too. Beyond it, names become files of their own. */
const MOST_LINKED = 100_000

/** One side of a copy. */
interface Side {
  readonly overlay: Overlay
  readonly inode: Inode
}

/** A directory whose members are being copied. */
interface Frame {
  readonly from: Inode
  readonly copy: Inode
  readonly waiting: DirEntry[]
  cookie: number
  listed: boolean
}

/** Copies objects from one overlay into another one that only the copier uses, with owners, modes, times, attributes, holes and hard links. */
export class TreeCopier {
  readonly #from: Overlay
  readonly #to: Overlay
  readonly #linked = new Map<number, Inode>()
  readonly #buffer = Buffer.alloc(CHUNK_BYTES)

  constructor(from: Overlay, to: Overlay) {
    this.#from = from
    this.#to = to
  }

  /** Copies an object with everything below it. A file at `name` keeps its identity and gets the content; anything else must not be there. */
  async copy(from: Inode, dir: Inode, name: Name): Promise<void> {
    const top = await this.#copyObject(from, dir, name)
    const frames: Frame[] = top === undefined ? [] : [{ from, copy: top, waiting: [], cookie: 0, listed: false }]
    for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
      const entry = frame.waiting.pop()
      if (entry === undefined && frame.listed) {
        frames.pop()
        // Filling it has changed its times.
        await this.copyAttributes(frame.from, frame.copy)
      } else if (entry === undefined) await this.#list(frame)
      else {
        const member = await this.#from.lookup(SERVER, frame.from, entry.name)
        const copy = member && (await this.#copyObject(member, frame.copy, entry.name))
        if (copy) frames.push({ from: member, copy, waiting: [], cookie: 0, listed: false })
      }
    }
  }

  /** Copies a directory without its members. */
  async makeDirectory(from: Inode, dir: Inode, name: Name): Promise<Inode> {
    const made = await this.#to.mkdir(SERVER, dir, name, { mode: 0o700 })
    await this.copyAttributes(from, made)
    return made
  }

  /** Gives an object owner, mode, times and extended attributes of another one. */
  async copyAttributes(from: Inode, copy: Inode): Promise<void> {
    const [was, now] = [await this.#from.getattr(from), await this.#to.getattr(copy)]
    const { uid, gid, mode, atime, mtime } = was
    if (now.uid !== uid || now.gid !== gid) await this.#to.setattr(SERVER, copy, { uid, gid })
    await this.#copyXattrs(from, copy)
    const link = copy.type === FileType.symlink
    await this.#to.setattr(SERVER, copy, { ...(!link && { mode }), atime, mtime })
  }

  async #list(frame: Frame): Promise<void> {
    frame.listed = await this.#from.readdir(SERVER, frame.from, frame.cookie, (entry) => {
      if (frame.waiting.length === BATCH) return false
      frame.waiting.push(entry)
      frame.cookie = entry.cookie
      return true
    })
  }

  /** Copies one object. Returns the copy of a directory, which is empty. */
  async #copyObject(from: Inode, dir: Inode, name: Name): Promise<Inode | undefined> {
    if (from.type === FileType.directory) return await this.makeDirectory(from, dir, name)
    const { nlink, rdevMajor, rdevMinor } = await this.#from.getattr(from)
    const first = this.#linked.get(from.key)
    if (first) {
      await this.#to.link(SERVER, first, dir, name)
      return undefined
    }
    const copy = await this.#make(from, dir, name, { major: rdevMajor, minor: rdevMinor })
    await this.copyAttributes(from, copy)
    if (nlink > 1 && this.#linked.size < MOST_LINKED) this.#linked.set(from.key, copy)
    return undefined
  }

  async #make(from: Inode, dir: Inode, name: Name, device: { major: number; minor: number }): Promise<Inode> {
    if (from.type === FileType.regular) return await this.#copyFile(from, dir, name)
    if (from.type === FileType.symlink) {
      const target = await this.#from.readlink(SERVER, from)
      return await this.#to.symlink(SERVER, dir, name, target, { mode: 0o777 })
    }
    return await this.#to.mknod(SERVER, dir, name, from.type, device, { mode: 0o600 })
  }

  async #copyFile(from: Inode, dir: Inode, name: Name): Promise<Inode> {
    const present = await this.#to.lookup(SERVER, dir, name)
    const copy = present ?? (await this.#to.create(SERVER, dir, name, { mode: 0o600 }))
    const source = await this.#from.open(SERVER, from, { read: true })
    try {
      const target = await this.#to.open(SERVER, copy, { write: true, truncate: true })
      try {
        await this.#copyData(source, target)
      } finally {
        target.close()
      }
    } finally {
      source.close()
    }
    return copy
  }

  /** Copies everything into an empty file, except holes. */
  async #copyData(source: OpenFile, target: OpenFile): Promise<void> {
    for (let at = 0; ; ) {
      const read = await source.readAside(this.#buffer, 0, this.#buffer.length, at)
      if (read === 0) return await target.truncate(at)
      const next = isZero(this.#buffer, read) ? await source.nextData(at + read) : undefined
      if (next === undefined) await target.write(this.#buffer.subarray(0, read), at)
      at = next ?? at + read
    }
  }

  async #copyXattrs(from: Inode, copy: Inode): Promise<void> {
    const wanted = await xattrsOf({ overlay: this.#from, inode: from })
    const present = await xattrsOf({ overlay: this.#to, inode: copy })
    for (const name of present.filter((each) => !wanted.includes(each))) await this.#to.removexattr(SERVER, copy, name)
    for (const name of wanted) {
      const value = await this.#from.getxattr(SERVER, from, name)
      if (value) await this.#to.setxattr(SERVER, copy, name, value)
    }
  }
}

/** Removes an object with everything below it, in memory bounded by the depth. */
export async function removeTree(overlay: Overlay, dir: Inode, name: Name, inode: Inode): Promise<void> {
  if (inode.type !== FileType.directory) return await overlay.unlink(SERVER, dir, name)
  const frames: { readonly dir: Inode; readonly name: Name; readonly inode: Inode }[] = [{ dir, name, inode }]
  for (let frame = frames.at(-1); frame !== undefined; frame = frames.at(-1)) {
    const inner = await emptyOfFiles(overlay, frame.inode)
    if (inner) frames.push({ ...inner, dir: frame.inode })
    else {
      frames.pop()
      await overlay.rmdir(SERVER, frame.dir, frame.name)
    }
  }
}

/** Removes everything in a directory. */
export async function emptyDirectory(overlay: Overlay, dir: Inode): Promise<void> {
  for (let inner = await emptyOfFiles(overlay, dir); inner; inner = await emptyOfFiles(overlay, dir))
    await removeTree(overlay, dir, inner.name, inner.inode)
}

/** Removes everything but directories, and returns one of these. */
async function emptyOfFiles(overlay: Overlay, dir: Inode): Promise<{ name: Name; inode: Inode } | undefined> {
  for (let ended = false; !ended; ) {
    const batch: DirEntry[] = []
    ended = await overlay.readdir(SERVER, dir, 0, (entry) => batch.push(entry) < BATCH)
    for (const { name, type } of batch) {
      const inode = await overlay.lookup(SERVER, dir, name)
      if (inode === undefined) continue
      if (type === FileType.directory) return { name, inode }
      await overlay.unlink(SERVER, dir, name)
    }
    if (batch.length === 0) return undefined
  }
  return undefined
}

/** The names of the extended attributes that can be copied, with ACLs. */
async function xattrsOf({ overlay, inode }: Side): Promise<string[]> {
  try {
    return await overlay.listxattr(SERVER, inode)
  } catch (error) {
    if (!isErrno(error, 'EOPNOTSUPP')) throw error
    return []
  }
}

function isZero(buffer: Buffer, length: number): boolean {
  return buffer[0] === 0 && buffer.subarray(0, length - 1).equals(buffer.subarray(1, length))
}
