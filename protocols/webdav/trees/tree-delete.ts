import { type DirEntry, FileType, type Inode, isErrno, type Name } from '../../../overlay-core/index.ts'
import type { Failures } from '../request/failures.ts'
import type { DavView } from '../state/context.ts'

const BATCH = 256

/** A directory on the way down. */
interface Frame {
  readonly dir: Inode
  readonly name: Name
  readonly inode: Inode
  /** The remaining members of the batch, the next one last. */
  readonly waiting: DirEntry[]
  cookie: number
  listed: boolean
  /** Whether something below could not be removed. */
  kept: boolean
}

/**
 * Removes the object named `name` in `dir`, with everything below. Objects that cannot be removed are recorded in `failures`, with their path from
 * the root of the view, and their ancestors stay. Memory is bounded by depth, not by size. Symlinks are removed, not followed.
 */
export async function deleteTree(
  view: DavView,
  dir: Inode,
  names: readonly Name[],
  inode: Inode,
  failures: Failures,
): Promise<void> {
  await new TreeRemoval(view, names, failures).run(dir, inode)
}

class TreeRemoval {
  readonly #view: DavView
  readonly #names: Name[]
  readonly #failures: Failures
  readonly #frames: Frame[] = []

  constructor(view: DavView, names: readonly Name[], failures: Failures) {
    this.#view = view
    this.#names = [...names]
    this.#failures = failures
  }

  async run(dir: Inode, inode: Inode): Promise<void> {
    const name = this.#names.pop() ?? ''
    if (inode.type !== FileType.directory) {
      await this.#unlink(dir, name)
      return
    }
    if (await this.#removeEmpty(dir, name)) return
    this.#enter(dir, name, inode)
    for (let frame = this.#frames.at(-1); frame !== undefined; frame = this.#frames.at(-1)) await this.#step(frame)
  }

  /** Removes a directory that is empty, as most directories are that a client removes one by one. Everything else is left to the walk. */
  async #removeEmpty(dir: Inode, name: Name): Promise<boolean> {
    try {
      await this.#view.overlay.rmdir(this.#view.cred, dir, name)
      return true
    } catch (error) {
      if (!isErrno(error)) throw error
      return false
    }
  }

  #enter(dir: Inode, name: Name, inode: Inode): void {
    this.#names.push(name)
    this.#frames.push({ dir, name, inode, waiting: [], cookie: 0, listed: false, kept: false })
  }

  /** Removes the next member of the innermost directory, or that directory itself if it is empty. */
  async #step(frame: Frame): Promise<void> {
    const entry = frame.waiting.pop()
    if (entry !== undefined) await this.#remove(frame, entry)
    else if (frame.listed) await this.#leave(frame)
    else await this.#list(frame)
  }

  async #list(frame: Frame): Promise<void> {
    const { overlay, cred } = this.#view
    try {
      frame.listed = await overlay.readdir(cred, frame.inode, frame.cookie, (entry) => {
        if (frame.waiting.length === BATCH) return false
        frame.waiting.push(entry)
        frame.cookie = entry.cookie
        return true
      })
    } catch (error) {
      frame.listed = true
      if (isErrno(error, 'ESTALE')) return
      frame.kept = true
      this.#failures.add(this.#view, this.#names, true, error)
    }
  }

  async #remove(frame: Frame, { name, type }: DirEntry): Promise<void> {
    if (type !== FileType.directory) {
      if (!(await this.#unlink(frame.inode, name))) frame.kept = true
      return
    }
    try {
      const inode = await this.#view.overlay.lookup(this.#view.cred, frame.inode, name)
      if (inode !== undefined) this.#enter(frame.inode, name, inode)
    } catch (error) {
      frame.kept = true
      this.#failures.add(this.#view, [...this.#names, name], true, error)
    }
  }

  async #unlink(dir: Inode, name: Name): Promise<boolean> {
    try {
      await this.#view.overlay.unlink(this.#view.cred, dir, name)
      return true
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ESTALE')) return true
      this.#failures.add(this.#view, [...this.#names, name], false, error)
      return false
    }
  }

  async #leave(frame: Frame): Promise<void> {
    if (!frame.kept) {
      try {
        await this.#view.overlay.rmdir(this.#view.cred, frame.dir, frame.name)
      } catch (error) {
        if (!isErrno(error, 'ENOENT', 'ESTALE')) {
          frame.kept = true
          this.#failures.add(this.#view, this.#names, true, error)
        }
      }
    }
    this.#frames.pop()
    this.#names.pop()
    const above = this.#frames.at(-1)
    if (above !== undefined && frame.kept) above.kept = true
  }
}
