import type { Attr, DirEntry, DirEntryPlus, Inode, Overlay, StatFs } from '../../overlay-core/index.ts'

/** Which of the attributes of an object: as they are, or before or after a change. */
type Phase = 0 | 1 | 2

/** What the overlay fills into objects of its callers (`LookupAttrs`, `ChangeInfo`). */
const FILLED: readonly (readonly [name: string, phase: Phase])[] = [
  ['attr', 0],
  ['dirAttr', 0],
  ['before', 1],
  ['after', 2],
]
const UUID = Buffer.from('00112233445566778899aabbccddeeff', 'hex')
const STATFS: StatFs = {
  totalBytes: 0x100_0000_0000,
  freeBytes: 0x80_0000_0000,
  availableBytes: 0x40_0000_0000,
  totalFiles: 0x2000_0000,
  freeFiles: 0x1000_0000,
  nameMax: 255,
  blockSize: 4096,
}

/**
 * The overlay, but with numbers that are the same in every run and on every disk: each identity and file id is replaced by one that tells in which
 * order the objects appeared, times by ones that tell which time of which object it is, and the sizes of directories, the space of files,
 * the owner, the UUID, the cookies and the state of the file system by constants. Types, modes, sizes and contents are the real ones.
 */
export function withFixedNumbers(overlay: Overlay): Overlay {
  const numbers = new FixedNumbers()
  return new Proxy(overlay, {
    get(target, property) {
      if (property === 'uuid') return UUID
      const value: unknown = Reflect.get(target, property, target)
      if (typeof value !== 'function') return numbers.shown(value)
      if (property === 'inodeByKey') return (key: number) => numbers.byKey(target, key)
      return (...given: unknown[]) => numbers.call((args) => Reflect.apply(value, target, args), given)
    },
  })
}

class FixedNumbers {
  /** The objects of the overlay by their fixed keys, and the other way round. */
  readonly #real = new Map<number, Inode>()
  readonly #inodes = new Map<number, Inode>()
  /** The order of appearance of file ids. */
  readonly #fileIds = new Map<string, number>()

  async byKey(overlay: Overlay, fixed: number): Promise<Inode> {
    const { key, generation } = this.#real.get(fixed)!
    return this.shown(await overlay.inodeByKey(key, generation)) as Inode
  }

  /** Calls the overlay with its own objects, and shows the results with fixed numbers. */
  async call(method: (args: unknown[]) => unknown, given: readonly unknown[]): Promise<unknown> {
    const results: (() => void)[] = []
    try {
      return this.shown(await method(given.map((arg) => this.#own(arg, results))))
    } finally {
      for (const fill of results) fill()
    }
  }

  /** An argument as the overlay knows it. `results` receives what fills the objects for results. */
  #own(value: unknown, results: (() => void)[]): unknown {
    if (typeof value === 'function') return (...args: unknown[]) => value(...args.map((arg) => this.shown(arg)))
    if (Array.isArray(value)) return value.map((item) => this.#own(item, results))
    if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value)) return value
    if ('generation' in value) return this.#real.get((value as Inode).key)
    const own = Object.fromEntries(Object.entries(value).map(([name, item]) => [name, this.#own(item, results)]))
    results.push(() => {
      const filled = value as Record<string, unknown>
      for (const [name, phase] of FILLED) if (own[name]) filled[name] = this.shown(own[name], phase)
    })
    return own
  }

  /** A result of the overlay with fixed numbers. */
  shown(value: unknown, phase: Phase = 0): unknown {
    if (typeof value !== 'object' || value === null) return value
    if ('generation' in value) return this.#inode(value as Inode)
    if ('ctime' in value) return this.#attr(value as Attr, phase)
    if ('cookie' in value) return this.#entry(value as DirEntry)
    return 'totalBytes' in value ? STATFS : value
  }

  #inode(real: Inode): Inode {
    const known = this.#inodes.get(real.key)
    if (known) return known
    const order = this.#inodes.size + 1
    const fixed = { key: 0x1d_0000_0000_0000 + order, generation: 0x9e00_0000 + order, type: real.type }
    this.#inodes.set(real.key, fixed)
    this.#real.set(fixed.key, real)
    return fixed
  }

  #attr(real: Attr, phase: Phase): Attr {
    const { type, mode, nlink, size, rdevMajor, rdevMinor } = real
    const isDirectory = type === 0o040000
    const fileId = this.#fileId(real)
    const time = (which: number) => ({ sec: which * 0x100_0000 + fileId.fileIdLo, nsec: phase })
    return {
      ...{ type, mode, rdevMajor, rdevMinor, uid: 1000, gid: 100, ...fileId, btime: undefined },
      ...(isDirectory ? { nlink: 2, size: 4096, blocks: 8 } : { nlink, size, blocks: Math.ceil(size / 512) }),
      ...{ atime: time(0xa), mtime: time(0xb), ctime: time(0xc) },
    }
  }

  #entry({ name, type, fileIdHi, fileIdLo, inode, attr }: DirEntry & Partial<DirEntryPlus>): DirEntry {
    const object = { inode: this.shown(inode), attr: this.shown(attr) }
    return { name, type, ...object, ...this.#fileId({ fileIdHi, fileIdLo }), cookie: 0x12_3456_789a }
  }

  #fileId({ fileIdHi, fileIdLo }: { fileIdHi: number; fileIdLo: number }): { fileIdHi: number; fileIdLo: number } {
    const key = `${fileIdHi}:${fileIdLo}`
    const order = this.#fileIds.get(key) ?? this.#fileIds.size + 1
    this.#fileIds.set(key, order)
    return { fileIdHi: 0xf11e_0000, fileIdLo: order }
  }
}
