import { lstat, opendir } from 'node:fs/promises'
import type { Progress } from '../api/verb.ts'

/** What a directory or file of an upper uses, with everything below. */
export interface PathUsage {
  /** From the root of the upper; the root itself is `.`. Bytes that are not UTF-8 are replaced. */
  readonly path: string
  readonly kind: 'directory' | 'file'
  /** The sizes of regular files. */
  readonly bytes: number
  /** Objects, without whiteouts. */
  readonly files: number
}

/** How a walk is watched and ended. */
export interface WalkWatch {
  readonly signal: AbortSignal
  progress(progress: Progress): void
}

interface Sum {
  bytes: number
  files: number
}

const SLASH = Buffer.from('/')
/** Progress is told after so many objects. */
const TELL_EACH = 1000

/** Adds up what is below a directory, and keeps the largest paths. Nothing is kept per object, so it may be of any size. */
export class UsageWalk {
  readonly #watch: WalkWatch
  readonly #limit: number
  /** Sorted, the largest first. */
  #largest: PathUsage[] = []
  #seen = 0

  constructor(limit: number, watch: WalkWatch) {
    this.#limit = limit
    this.#watch = watch
  }

  /** The largest paths of all walks so far, the largest first. */
  get largest(): readonly PathUsage[] {
    return this.#largest
  }

  /** Walks a tree. Objects that go meanwhile are left out. @throws EIO | EACCES … · the reason of the abort */
  async of(root: string): Promise<Sum> {
    return await this.#directory(Buffer.from(root), '.')
  }

  async #directory(path: Buffer, shown: string): Promise<Sum> {
    const sum: Sum = { bytes: 0, files: 0 }
    const directory = await unlessGone(opendir(path as unknown as string, { encoding: 'buffer' as BufferEncoding }))
    if (directory === undefined) return sum
    for await (const entry of directory) {
      this.#watch.signal.throwIfAborted()
      const name = entry.name as unknown as Buffer
      const inner = Buffer.concat([path, SLASH, name])
      const stats = await unlessGone(lstat(inner))
      if (stats === undefined || isWhiteout(stats)) continue
      this.#tell(shown)
      const text = shown === '.' ? name.toString('utf8') : `${shown}/${name.toString('utf8')}`
      const own = stats.isDirectory() ? await this.#directory(inner, text) : { bytes: 0, files: 0 }
      if (stats.isFile()) own.bytes += stats.size
      own.files++
      sum.bytes += own.bytes
      sum.files += own.files
      this.#keep({ path: text, kind: stats.isDirectory() ? 'directory' : 'file', ...own })
    }
    return sum
  }

  #tell(text: string): void {
    if (++this.#seen % TELL_EACH === 0) this.#watch.progress({ text, done: this.#seen })
  }

  #keep(usage: PathUsage): void {
    const last = this.#largest[this.#limit - 1]
    if (last !== undefined && usage.bytes <= last.bytes) return
    const at = this.#largest.findIndex(({ bytes }) => bytes < usage.bytes)
    this.#largest.splice(at < 0 ? this.#largest.length : at, 0, usage)
    this.#largest.length = Math.min(this.#largest.length, this.#limit)
  }
}

/** The kernel's form of a whiteout: a character device 0:0. */
function isWhiteout(stats: Awaited<ReturnType<typeof lstat>>): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0
}

async function unlessGone<T>(made: Promise<T>): Promise<T | undefined> {
  try {
    return await made
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined
    throw error
  }
}
