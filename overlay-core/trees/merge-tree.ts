import { FileType } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { chmodAt, chownAt, utimesAt } from '../sys/attr.ts'
import { syncfs } from '../sys/data.ts'
import { readdirFd, renameAt, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY } from '../sys/flags.ts'
import { closeSync, openAt, openRoot } from '../sys/open.ts'
import { effectiveUid } from '../sys/process.ts'
import { type Stat, statxAt, statxFd } from '../sys/stat.ts'
import { getXattr, listXattr, removeXattr, setXattr } from '../sys/xattr.ts'
import { removeName } from './remove-name.ts'
import { statIfThere } from './stat-if-there.ts'

/**
 * Moves the layer `upper` into the layer `lower`, so that `lower` alone means what both meant on each other, at any place of a stack: whiteouts stay, because
 * there may be layers below. Both were written by `TreeWriter` on one file system, and nobody else uses them. `upper` is of no use afterwards.
 *
 * @param implied the directories of `upper` that say nothing by themselves (`TreeWriter.implied`): those of `lower` stay as they are
 */
export async function mergeTree(upper: string, lower: string, implied: ReadonlySet<string>): Promise<void> {
  const [from, to] = [await openRoot(upper), await openRoot(lower)]
  try {
    await new Merge(implied).directory(from, to, '')
    const root = await openAt(to, '.', O_RDONLY | O_DIRECTORY)
    await syncfs(root).finally(() => closeSync(root))
  } finally {
    closeSync(from)
    closeSync(to)
  }
}

class Merge {
  readonly #opaque = `${effectiveUid() === 0 ? 'trusted' : 'user'}.overlay.opaque`

  readonly #implied: ReadonlySet<string>

  constructor(implied: ReadonlySet<string>) {
    this.#implied = implied
  }

  /** Moves what is in one directory into the other one at its path, and gives that its attributes. */
  async directory(from: number, to: number, path: string): Promise<void> {
    // Moving what is in them changes the times of both.
    const [wanted, { mtime }] = [statxFd(from), statxFd(to)]
    for (const { name } of await readdirFd(from)) {
      await this.#name(from, to, { name, path: path === '' ? name : `${path}/${name}` })
      if (loopBudget.spent) await loopBudget.rest()
    }
    if (this.#implied.has(path)) await utimesAt(to, '', mtime, mtime)
    else await this.#dress(from, to, wanted)
  }

  async #name(
    from: number,
    to: number,
    { name, path }: { readonly name: string; readonly path: string },
  ): Promise<void> {
    const [upper, lower] = [await statxAt(from, name), await statIfThere(to, name)]
    if (lower === undefined) return await renameAt(from, name, to, name)
    if (upper.type !== FileType.directory) {
      await removeName(to, name)
      return await renameAt(from, name, to, name)
    }
    const inside = await openDirectoryAt(from, name)
    try {
      if (lower.type !== FileType.directory) {
        // What was hidden by a file or a whiteout stays hidden.
        await keepingTimes(inside, () => setXattr(inside, '', this.#opaque, Buffer.from('y')))
        await unlinkAt(to, name)
        return await renameAt(from, name, to, name)
      }
      if ((await getXattr(inside, '', this.#opaque)) !== undefined) {
        await removeName(to, name)
        return await renameAt(from, name, to, name)
      }
      const below = await openDirectoryAt(to, name)
      try {
        await this.directory(inside, below, path)
      } finally {
        closeSync(below)
      }
    } finally {
      closeSync(inside)
    }
  }

  /** Gives a directory the owner, mode, attributes and times of another one; whether it is opaque stays. */
  async #dress(from: number, to: number, { uid, gid, mode, mtime }: Stat): Promise<void> {
    if (effectiveUid() === 0) await chownAt(to, '', uid, gid)
    await chmodAt(to, '', mode)
    const wanted = await listXattr(from, '')
    for (const attr of await listXattr(to, '')) {
      if (attr !== this.#opaque && !attr.startsWith('security.') && !wanted.includes(attr))
        await removeXattr(to, '', attr)
    }
    for (const attr of wanted) {
      const value = attr.startsWith('security.') ? undefined : await getXattr(from, '', attr)
      if (value !== undefined) await setXattr(to, '', attr, value)
    }
    await utimesAt(to, '', mtime, mtime)
  }
}

async function keepingTimes(fd: number, change: () => Promise<void>): Promise<void> {
  const { atime, mtime } = statxFd(fd)
  await change()
  await utimesAt(fd, '', atime, mtime)
}

function openDirectoryAt(dirFd: number, name: string): Promise<number> {
  return openAt(dirFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
}
