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
/** A copy belongs to the user who made it, so setuid and setgid are not copied. */
const COPIED_MODE = 0o777

/** The source and destination of a copy. */
export interface CopyPlan {
  readonly from: DavView
  readonly to: DavView
  readonly source: Inode
  readonly dir: Inode
  /** The path from the root of `to`; the last name is the one in `dir`. */
  readonly names: readonly Name[]
  /** Whether members are copied (Depth infinity). */
  readonly deep: boolean
  /** Whether an existing file with several names is kept and gets the content; otherwise a new file takes the name. */
  readonly keepLinks: boolean
  /** Checks whether a file may replace an existing one. Runs under the core's locks; throws to abort. */
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
 * Copies a file, a symlink or a whole tree, including dead properties, within a view or between two views. Data is
 * streamed; each file appears complete. Failures of members are recorded and the copy continues; a failure of the top is thrown. Special
 * files, which clients do not see, are omitted; symlinks below the top are copied as symlinks.
 *
 * @throws ClientGone the client disconnected; the copy stops
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
      // The member was removed before its turn.
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
    // Somebody moved the copy into its own source, so it would never end.
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
    // The user must be able to fill the copy, whatever the mode of the original.
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
    // A replaced file passes on its own mode.
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
        // Keep holes: a sparse file must not fill the disk.
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
