import { FileType, type Name } from '../api/types.ts'
import { mayBeIno, Real } from '../layer/layer.ts'
import { storageOf } from '../layer/upper-context.ts'
import { removeTemp } from '../layer/whiteout.ts'
import { diskXattrs } from '../layer/xattr-store.ts'
import { type IdentityMark, marksOf, originOf } from '../lookup/origin.ts'
import type { OvlInode } from '../objects/dentry.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { chmodStep, chownStep, timesStep } from '../sys/attr.ts'
import { ResultOf, type SystemCall, tryCalls } from '../sys/call.ts'
import { fsync, quickCopyStep, reflinkStep, saysNeverReflink, saysNoCopyRange, saysNoReflink } from '../sys/data.ts'
import { renameStep } from '../sys/dir.ts'
import { sysError } from '../sys/error.ts'
import { O_CREAT, O_EXCL, O_NOATIME, O_RDWR } from '../sys/flags.ts'
import { closeLater, closeSync, openStep } from '../sys/open.ts'
import { StatOut, statStep } from '../sys/stat.ts'
import { setXattrStep } from '../sys/xattr.ts'
import {
  copyData,
  copyExtents,
  type DataWay,
  needWanted,
  noteNoSharing,
  QUICK_SHARE_BYTES,
  syncsCopy,
  wayOf,
} from './copy-data.ts'
import { installCopy, needAlias, stepsKeepingTimes } from './copy-publish.ts'
import { type CopySource, openSource } from './copy-source.ts'

const EPERM = 1
const EOPNOTSUPP = 95

/** Copies up the parent directory of a copy. */
type CopyUpDir = (dir: OvlInode) => Promise<void> | undefined

/**
 * The fast path of a copy-up, for nearly every file: one name, data in the topmost lower, and an upper that accepts the attributes of the lower.
 * It makes the same calls as the slow path, in the same order, but in as few trips to a thread as possible: two if the data need not be synced.
 * Returns false if this is not such a file, or an attribute was refused; then nothing has changed.
 *
 * @throws ENOSPC | EDQUOT | EIO … and nothing has changed · ESTALE the last name was removed meanwhile
 */
export async function copyFileUp(
  sb: SuperBlock,
  inode: OvlInode,
  keepsOpen: boolean,
  copyUpDir: CopyUpDir,
): Promise<boolean> {
  const lower = inode.lower as Real
  if (!isSimple(sb, inode) || !lower.parent) return false
  const source = await openSource(sb, await sb.descriptors.of(lower.parent), lower)
  if (!source) return false
  try {
    const { type, nlink, ino } = source.stat
    if (type !== FileType.regular || nlink > 1 || !mayBeIno(lower, ino)) return false
    const { layer } = lower
    const stat = (await layer.inodeNumbers?.withStableNumber(lower.parent, lower.name, source.stat)) ?? source.stat
    const marks = await marksOf(sb, inode, layer, originOf(layer, source.handle), stat)
    return await new FileCopy(sb, inode, source, marks).run(keepsOpen, copyUpDir)
  } finally {
    closeSync(source.fd)
  }
}

function isSimple(sb: SuperBlock, inode: OvlInode): boolean {
  if (inode.type !== FileType.regular || inode.dataReal || inode.indexName !== undefined) return false
  return sb.xattrStore === diskXattrs && !sb.keepsOwners && sb.upper?.inodeNumbers === undefined
}

/** A copy-up in progress. */
class FileCopy {
  readonly #sb: SuperBlock
  readonly #inode: OvlInode
  readonly #source: CopySource
  readonly #temp: Name
  readonly #attributes: readonly IdentityMark[]
  readonly #out = new StatOut()
  #fd = -1

  constructor(sb: SuperBlock, inode: OvlInode, source: CopySource, marks: readonly IdentityMark[]) {
    this.#sb = sb
    this.#inode = inode
    this.#source = source
    this.#temp = sb.tempName()
    this.#attributes = [...source.attributes, ...marks]
  }

  /** False if an attribute was refused. */
  async run(keepsOpen: boolean, copyUpDir: CopyUpDir): Promise<boolean> {
    let published = false
    try {
      published = await this.#copy(copyUpDir)
      return published
    } finally {
      if (published && keepsOpen && !this.#inode.file) this.#sb.files.adopt(this.#inode, this.#fd)
      else if (this.#fd >= 0) closeLater(this.#fd)
      if (!published && this.#fd >= 0) await removeTemp(this.#sb, this.#temp)
    }
  }

  async #copy(copyUpDir: CopyUpDir): Promise<boolean> {
    const way = wayOf(this.#sb, (this.#inode.lower as Real).layer, this.#source.stat)
    let shared: boolean = way === 'share' || way === 'none'
    const steps = [...(await this.#beginning(way)), ...(way === 'long' ? [] : this.#dressing(new ResultOf(0)))]
    // Only a copy that cannot fall short gets its name in the same trip.
    const { size } = this.#source.stat
    const atOnce = shared && size <= QUICK_SHARE_BYTES && !syncsCopy(this.#sb, size, shared)
    const results = atOnce ? await this.#publish(steps, copyUpDir) : await tryCalls(steps)
    const first = this.#understand(way, steps, results)
    if (first === 'refused') return false
    if (atOnce && first === 'done') return true
    if (first === 'unfilled') {
      shared = false
      const wanted = () => needWanted(this.#inode)
      const toDisk = !this.#sb.options.volatile
      const data = async () => {
        if (way === 'long') return await copyData(this.#source.fd, this.#fd, size, toDisk, wanted)
        await copyExtents(this.#source.fd, this.#fd, size, toDisk, wanted)
        return false
      }
      shared = await this.#sb.descriptors.resting(data)
      const dressing = this.#dressing(this.#fd)
      if (this.#failed(dressing, await tryCalls(dressing))) return false
    }
    if (syncsCopy(this.#sb, size, shared)) await this.#sb.descriptors.resting(() => fsync(this.#fd))
    this.#failed([], await this.#publish([], copyUpDir))
    return true
  }

  /** Creates the file, and fills it if that takes one call. */
  async #beginning(way: DataWay): Promise<SystemCall[]> {
    const workFd = await this.#sb.descriptors.of(this.#sb.work as Real)
    const open = openStep(workFd, this.#temp, O_RDWR | O_CREAT | O_EXCL | O_NOATIME, 0o600)
    const { fd, stat } = this.#source
    if (way === 'share') return [open, reflinkStep(new ResultOf(0), fd)]
    return way === 'copy' ? [open, quickCopyStep(fd, new ResultOf(0), stat.size)] : [open]
  }

  /** Sets the owner before the attributes, because a change of owner drops capabilities. */
  #dressing(file: number | ResultOf): SystemCall[] {
    const { uid, gid, mode, atime, mtime } = this.#source.stat
    const owned = uid === this.#sb.serverUid && gid === this.#sb.serverGid
    return [
      ...(owned ? [] : [chownStep(file, '', uid, gid)]),
      ...this.#attributes.map(({ name, value }) => setXattrStep(file, name, value)),
      chmodStep(file, mode),
      timesStep(file, '', atime, mtime),
      statStep(file, this.#out),
    ]
  }

  /** Interprets the results of the first trip: the file is finished, or still has no data, or an attribute was refused. @throws the error of a failed call */
  #understand(way: DataWay, steps: readonly SystemCall[], results: readonly number[]): 'done' | 'unfilled' | 'refused' {
    this.#fd = results[0] as number
    if (way === 'long' && this.#fd >= 0) return 'unfilled'
    const filled = results[1] as number
    if (way === 'share' && saysNoReflink(-filled)) {
      if (saysNeverReflink(-filled)) noteNoSharing((this.#inode.lower as Real).layer)
      return 'unfilled'
    }
    if (way === 'copy' && (saysNoCopyRange(-filled) || (filled >= 0 && filled < this.#source.stat.size)))
      return 'unfilled'
    return this.#failed(steps, results) ? 'refused' : 'done'
  }

  /** Whether an attribute was refused that copies can do without. @throws any other error */
  #failed(steps: readonly SystemCall[], results: readonly number[]): boolean {
    const result = results.at(-1) as number
    if (result >= 0) return false
    const op = steps[results.length - 1]?.op ?? 'renameat2'
    if (op === 'setxattr' && (result === -EPERM || result === -EOPNOTSUPP)) return true
    throw sysError(op, -result, this.#inode.lower?.name)
  }

  /** Makes `steps`, which finish the copy, and gives it its name, all in one trip. Returns the results of the steps that were made. */
  async #publish(steps: readonly SystemCall[], copyUpDir: CopyUpDir): Promise<readonly number[]> {
    for (;;) {
      const results = await this.#inode.nodeLock.exclusive(() => this.#publishLocked(steps))
      if (results) return results
      await copyUpDir(needAlias(this.#inode).dir)
    }
  }

  async #publishLocked(steps: readonly SystemCall[]): Promise<readonly number[] | undefined> {
    const sb = this.#sb
    const { dir, name } = needAlias(this.#inode)
    const parent = dir.upper
    if (!parent) return undefined
    const workFd = await sb.descriptors.of(sb.work as Real)
    const all = (dirFd: number) => [...steps, renameStep(workFd, this.#temp, dirFd, name, storageOf(sb).noReplace)]
    const results = await stepsKeepingTimes(sb, dir, all)
    if (results.length <= steps.length || (results.at(-1) as number) < 0) return results
    installCopy(sb, this.#inode, new Real(parent.layer, parent, name, this.#out.stat.ino))
    return results
  }
}
