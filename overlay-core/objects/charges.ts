import { refusedByQuota } from '../api/activity.ts'
import { isErrno } from '../api/errno.ts'
import { FileType, type MaybePromise } from '../api/types.ts'
import type { Quota } from '../base/quota.ts'
import { statxFd } from '../sys/stat.ts'
import type { OvlInode } from './dentry.ts'

/** A regular file whose size is changing, and what is counted for it meanwhile: at least its largest possible size. */
export interface Charge {
  size: number
  /** The number of running changes. */
  running: number
  /** Whether the file is not in the upper any more, so that nothing is counted for it. */
  gone: boolean
  /** If a running call truncates the file: to what size. A copy-up that it needs is counted with this size at most. */
  keeps: number
}

/** Reads the attributes of an object, which it caches. `locked`: the caller holds its lock. */
type ReadAttributes = (inode: OvlInode, locked: boolean) => MaybePromise<unknown>

/**
 * Counts the sizes of files that are being changed. While no change of a file is running, its real size is counted; meanwhile the largest size that the
 * running changes can lead to. So the usage is never below the real one, and exact whenever nothing runs.
 */
export class Charges {
  readonly quota: Quota
  readonly #readAttributes: ReadAttributes
  readonly #running = new Map<OvlInode, Charge>()

  constructor(quota: Quota, readAttributes: ReadAttributes) {
    this.quota = quota
    this.#readAttributes = readAttributes
  }

  /** Whether no change of a file's size is running. */
  get idle(): boolean {
    return this.#running.size === 0
  }

  /** Begins a change of `inode`, of which `size` tells the counted size: that of its upper file, 0 if it has none. */
  begin(inode: OvlInode, size: () => number): Charge {
    const present = this.#running.get(inode)
    if (present) {
      present.running++
      return present
    }
    const charge = { size: size(), running: 1, gone: inode.unlinked, keeps: Number.POSITIVE_INFINITY }
    if (!charge.gone) this.#running.set(inode, charge)
    return charge
  }

  /** Reserves what the file needs to become as large as `size`. @throws EDQUOT · also if the file is removed: nobody could count it */
  grow(charge: Charge, size: number, op: string): void {
    if (size <= charge.size) return
    if (!charge.gone) this.quota.reserve(size - charge.size, 0, op)
    else if (this.quota.limits.bytes !== Number.POSITIVE_INFINITY) throw refusedByQuota(op)
    charge.size = size
  }

  /** Ends a change. The last one counts the real size, which `size` reads. */
  end(inode: OvlInode, charge: Charge, size: () => number): void {
    if (--charge.running > 0 || charge.gone) return
    this.#running.delete(inode)
    try {
      const real = size()
      if (real !== charge.size) this.quota.add(real - charge.size, 0)
    } catch (error) {
      if (!isErrno(error)) throw error
      this.quota.doubtful = true
    }
  }

  /** Like `begin`, and reads the size first. `locked`: the caller holds the lock of `inode`. */
  async beginReading(inode: OvlInode, locked: boolean): Promise<Charge> {
    // The size need not be known to begin another change.
    const known = () => this.#running.has(inode)
    return await this.#withSize(inode, locked, known, (size) => this.begin(inode, size))
  }

  /** Like `end`, and reads the size first. Never fails: if the size cannot be read, the usage is doubtful. */
  async endReading(inode: OvlInode, charge: Charge, locked: boolean): Promise<void> {
    const known = () => charge.gone || charge.running > 1
    try {
      await this.#withSize(inode, locked, known, (size) => this.end(inode, charge, size))
    } catch (error) {
      this.end(inode, charge, () => {
        throw error
      })
    }
  }

  /** Reads the size of a file that others may be changing; no change is between its reading and the return to `use`. */
  async #withSize<T>(
    inode: OvlInode,
    locked: boolean,
    known: () => boolean,
    use: (size: () => number) => T,
  ): Promise<T> {
    for (;;) {
      const size = known() ? 0 : sizeAtHand(inode)
      if (size !== undefined) return use(() => size)
      await this.#readAttributes(inode, locked)
    }
  }

  /** Stops counting a file that has lost its last name. Returns what was counted. */
  remove(inode: OvlInode, charge: Charge): number {
    charge.gone = true
    this.#running.delete(inode)
    return charge.size
  }
}

/** The size of the upper file if it can be read at once: 0 if there is none. */
function sizeAtHand(inode: OvlInode): number | undefined {
  if (inode.upper === undefined) return 0
  return inode.file?.upper ? statxFd(inode.file.fd).size : inode.attr?.size
}

/** Runs `work`, which sets the size of the file to `size` and calls `reserve` first, which throws EDQUOT if the quota refuses that. */
export async function resizing<T>(
  charges: Charges | undefined,
  inode: OvlInode,
  size: number,
  work: (reserve: () => void) => Promise<T>,
): Promise<T> {
  if (charges === undefined || inode.type !== FileType.regular) return await work(unlimited)
  const charge = await charges.beginReading(inode, false)
  charge.keeps = Math.min(charge.keeps, size)
  try {
    return await work(() => charges.grow(charge, size, 'truncate'))
  } finally {
    await charges.endReading(inode, charge, false)
  }
}

function unlimited(): void {
  // There is no quota.
}

/** Runs `work`, which adds an object of `bytes` to the upper. Nothing is counted if it fails or returns undefined. @throws EDQUOT */
export function adding<T>(
  charges: Charges | undefined,
  bytes: number,
  op: string,
  work: () => MaybePromise<T>,
): MaybePromise<T> {
  if (charges === undefined) return work()
  const { quota } = charges
  quota.reserve(bytes, 1, op)
  const settle = (result: T): T => {
    if (result === undefined) quota.add(-bytes, -1)
    return result
  }
  const fail = (error: unknown): never => {
    quota.add(-bytes, -1)
    throw error
  }
  let result: MaybePromise<T>
  try {
    result = work()
  } catch (error) {
    return fail(error)
  }
  return result instanceof Promise ? result.then(settle, fail) : settle(result)
}
