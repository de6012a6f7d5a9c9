import {
  type DirEntry,
  FileType,
  type Inode,
  isErrno,
  type Name,
  type StagedFile,
} from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { DavError } from '../http/dav-error.ts'
import { copyDead } from '../properties/dead-properties.ts'
import type { Failures } from '../request/failures.ts'
import { followsSymlinks } from '../request/resolve.ts'
import { isZero } from '../state/buffer-pool.ts'
import type { DavContext, DavView } from '../state/context.ts'

const BATCH = 256
/** A copy belongs to who made it: setuid and setgid do not go along. */
const COPIED_MODE = 0o777

/** Where a copy comes from and goes to. */
export interface CopyPlan {
  readonly from: DavView
  readonly to: DavView
  readonly source: Inode
  readonly dir: Inode
  /** From the root of `to`; the last one is the name in `dir`. */
  readonly names: readonly Name[]
  /** Whether members go along (Depth infinity). */
  readonly deep: boolean
  /** A file that stands there with further names stays the file it is, and takes on the content; otherwise the name means a new file. */
  readonly keepLinks: boolean
  /** May a file replace one that stands there. Runs under the core's locks and may throw to give up. */
  readonly check: (current: Inode | undefined) => void
}

/** A directory whose members are being copied. */
interface Frame {
  readonly source: Inode
  readonly copy: Inode
  readonly waiting: DirEntry[]
  cookie: number
  listed: boolean
}

/**
 * Copies a file, a symlink or a whole tree, dead properties included, between two places of the same or of two views. Data is
 * streamed; each file appears complete. Failures on members are noted and the rest goes on; a failure on the top is thrown. Special
 * files, which clients do not see, are left out; symlinks below the top are copied as they are.
 *
 * @throws ClientGone the client left: the copy stops where it is
 */
export async function copyTree(ctx: DavContext, plan: CopyPlan, failures: Failures): Promise<void> {
  await new TreeCopy(ctx, plan, failures).run()
}

class TreeCopy {
  readonly #ctx: DavContext
  readonly #plan: CopyPlan
  readonly #failures: Failures
  readonly #frames: Frame[] = []
  readonly #names: Name[]

  constructor(ctx: DavContext, plan: CopyPlan, failures: Failures) {
    this.#ctx = ctx
    this.#plan = plan
    this.#failures = failures
    this.#names = plan.names.slice(0, -1)
  }

  async run(): Promise<void> {
    const { source, dir, names, deep, check } = this.#plan
    const name = names[names.length - 1]
    if (source.type !== FileType.directory) {
      await this.#copyObject(source, dir, name, check)
      return
    }
    const copy = await this.#copyDirectory(source, dir, name)
    if (!deep) return
    this.#enter(source, copy, name)
    for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) await this.#step(frame)
  }

  #enter(source: Inode, copy: Inode, name: Name): void {
    this.#names.push(name)
    this.#frames.push({ source, copy, waiting: [], cookie: 0, listed: false })
  }

  async #step(frame: Frame): Promise<void> {
    if (this.#ctx.res.destroyed) throw new ClientGone()
    const entry = frame.waiting.pop()
    if (entry === undefined && frame.listed) {
      this.#frames.pop()
      this.#names.pop()
      return
    }
    const path = entry === undefined ? this.#names : [...this.#names, entry.name]
    try {
      if (entry === undefined) await this.#list(frame)
      else await this.#copyMember(frame, entry)
    } catch (error) {
      if (error instanceof ClientGone) throw error
      if (entry === undefined) frame.listed = true
      // A member that went before its turn was not there to copy.
      if (!isErrno(error, 'ESTALE')) {
        this.#failures.add(this.#plan.to, path, entry === undefined || entry.type === FileType.directory, error)
      }
    }
  }

  async #list(frame: Frame): Promise<void> {
    const { overlay, cred } = this.#plan.from
    frame.listed = await overlay.readdir(cred, frame.source, frame.cookie, (entry) => {
      if (frame.waiting.length === BATCH) return false
      frame.waiting.push(entry)
      frame.cookie = entry.cookie
      return true
    })
  }

  async #copyMember(frame: Frame, { name }: DirEntry): Promise<void> {
    const { from } = this.#plan
    const source = await from.overlay.lookup(from.cred, frame.source, name)
    if (source === undefined) return
    if (source.type !== FileType.directory) {
      await this.#copyObject(source, frame.copy, name, undefined)
      return
    }
    // Somebody has moved the copy into what is being copied: it would never end.
    if (this.#isGrowing(source)) throw new DavError(508, 'the copy was moved into its source')
    this.#enter(source, await this.#copyDirectory(source, frame.copy, name), name)
  }

  /** Whether `source` is one of the directories that this copy is filling. */
  #isGrowing(source: Inode): boolean {
    const { from, to } = this.#plan
    return from.overlay === to.overlay && this.#frames.some(({ copy }) => copy.key === source.key)
  }

  async #copyDirectory(source: Inode, dir: Inode, name: Name): Promise<Inode> {
    const { from, to } = this.#plan
    const { mode } = await from.overlay.getattr(source)
    // Whoever copies must be able to fill the copy, whatever the mode of the original.
    const copy = await to.overlay.mkdir(to.cred, dir, name, { mode: (mode & COPIED_MODE) | 0o700 })
    await copyDead(from, source, to, copy)
    return copy
  }

  async #copyObject(source: Inode, dir: Inode, name: Name, check: CopyPlan['check'] | undefined): Promise<void> {
    const { from, to } = this.#plan
    if (source.type === FileType.symlink) {
      if (!followsSymlinks(from)) return
      const target = await from.overlay.readlink(from.cred, source)
      await to.overlay.symlink(to.cred, dir, name, target, { mode: 0o777 })
    } else if (source.type === FileType.regular) {
      await this.#copyFile(source, dir, name, check)
    }
  }

  async #copyFile(source: Inode, dir: Inode, name: Name, check: CopyPlan['check'] | undefined): Promise<void> {
    const { from, to } = this.#plan
    const mode = (await from.overlay.getattr(source)).mode & COPIED_MODE
    const staged = await to.overlay.stage(to.cred)
    let copy: Inode | undefined
    try {
      await this.#copyData(source, staged)
      copy = await staged.publish({
        ...{ dir, name, mode, keepLinks: this.#plan.keepLinks },
        ...(check === undefined ? {} : { check }),
      })
    } finally {
      if (copy === undefined) await staged.discard()
    }
    // A file that was replaced has handed on its own mode.
    const made = await to.overlay.getattr(copy)
    if ((made.mode & COPIED_MODE) !== mode) await to.overlay.setattr(to.cred, copy, { mode })
    await copyDead(from, source, to, copy)
  }

  async #copyData(source: Inode, staged: StagedFile): Promise<void> {
    const { from } = this.#plan
    const { buffers } = this.#ctx.services
    const file = await from.overlay.open(from.cred, source, { read: true })
    const buffer = buffers.take()
    try {
      for (let at = 0; ; ) {
        if (this.#ctx.res.destroyed) throw new ClientGone()
        const read = await file.read(buffer, 0, buffer.length, at)
        if (read === 0) break
        // A hole stays one: a file that claims to be large must not fill the disk.
        const next = isZero(buffer, read) ? await file.nextData(at + read) : undefined
        if (next === undefined) await staged.append([buffer.subarray(0, read)])
        else staged.skip(next - at)
        at = next ?? at + read
      }
    } finally {
      buffers.release(buffer)
      file.close()
    }
  }
}
