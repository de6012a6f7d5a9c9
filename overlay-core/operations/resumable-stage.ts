import { bestEffort, isErrno, OverlayError } from '../api/errno.ts'
import type { Name, ResumableOptions } from '../api/types.ts'
import type { Real } from '../layer/layer.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { pread, pwrite } from '../sys/data.ts'
import { mkdirAt, readdirFd, renameAt, unlinkAt } from '../sys/dir.ts'
import { O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW, O_PATH, O_RDONLY, O_RDWR } from '../sys/flags.ts'
import { closeLater, closeSync, openAt } from '../sys/open.ts'
import { startFile } from '../sys/staged-file.ts'
import { statxFd } from '../sys/stat.ts'

/** The directory in the workdir with the staged files that outlive the process, each with its record file. The kernel's overlay ignores it. */
export const RESUMABLE_DIRECTORY = 'uploads'
const RECORD_SUFFIX = '.about'
const MOST_RECORD_BYTES = 64 * 1024
const NOTHING = new Uint8Array()

/** A resumable staged file, open for reading and writing. */
export interface ResumableFile {
  readonly id: string
  readonly about: Uint8Array
  readonly fd: number
  readonly sizeBytes: number
  readonly mtimeSec: number
}

/** Creates an empty resumable file, after its record file. @throws EINVAL the id is invalid · EEXIST */
export async function makeResumable(
  sb: SuperBlock,
  { id, about }: ResumableOptions,
  mode: number,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<number> {
  if (!/^[0-9a-z-]{1,64}$/.test(id) || about.length > MOST_RECORD_BYTES) throw new OverlayError('EINVAL', 'stage')
  const made = await within(sb, true, async (dirFd) => {
    const record = await openAt(dirFd, id + RECORD_SUFFIX, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, 0o600)
    try {
      await pwrite(record, about, 0)
      return (await startFile(dirFd, id, mode, owner, NOTHING)).fd
    } catch (error) {
      await bestEffort(() => unlinkAt(dirFd, id + RECORD_SUFFIX))
      throw error
    } finally {
      closeLater(record)
    }
  })
  return made as number
}

/** Opens all resumable files. A file without its record file is removed, and so is a record file without its file. */
export async function openResumables(sb: SuperBlock): Promise<ResumableFile[]> {
  const found = await within(sb, false, async (dirFd) => {
    const names = new Set((await readdirFd(dirFd)).map(({ name }) => name))
    const files: ResumableFile[] = []
    for (const name of names) {
      const id = name.endsWith(RECORD_SUFFIX) ? name.slice(0, -RECORD_SUFFIX.length) : name
      const whole = names.has(id) && names.has(id + RECORD_SUFFIX)
      if (!whole) await bestEffort(() => unlinkAt(dirFd, name))
      else if (id === name) files.push(await openOne(dirFd, id))
    }
    return files
  })
  return found ?? []
}

/** Turns a resumable file into the temporary object `temp` of the work directory, which does not survive the process. */
export async function adoptResumable(sb: SuperBlock, id: string, temp: Name): Promise<void> {
  await within(sb, false, async (dirFd) => {
    await renameAt(dirFd, id, await sb.descriptors.of(sb.work as Real), temp)
    await bestEffort(() => unlinkAt(dirFd, id + RECORD_SUFFIX))
  })
}

/** Removes a resumable file. */
export async function dropResumable(sb: SuperBlock, id: string): Promise<void> {
  await within(sb, false, async (dirFd) => {
    await bestEffort(() => unlinkAt(dirFd, id + RECORD_SUFFIX))
    await bestEffort(() => unlinkAt(dirFd, id))
  })
}

async function openOne(dirFd: number, id: string): Promise<ResumableFile> {
  const record = await openAt(dirFd, id + RECORD_SUFFIX, O_RDONLY | O_NOFOLLOW)
  try {
    const about = Buffer.alloc(Math.min(statxFd(record).size, MOST_RECORD_BYTES))
    const length = await pread(record, about, 0, about.length, 0)
    const fd = await openAt(dirFd, id, O_RDWR | O_NOFOLLOW)
    const { size, mtime } = statxFd(fd)
    return { id, about: about.subarray(0, length), fd, sizeBytes: size, mtimeSec: mtime.sec }
  } finally {
    closeSync(record)
  }
}

/** Runs `work` with a descriptor of the directory; undefined if there is no such directory. */
async function within<T>(sb: SuperBlock, make: boolean, work: (dirFd: number) => Promise<T>): Promise<T | undefined> {
  const workdirFd = await sb.descriptors.of((sb.work as Real).parent as Real)
  let dirFd: number
  try {
    if (make) await mkdirAt(workdirFd, RESUMABLE_DIRECTORY, 0o700)
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
  try {
    dirFd = await openAt(workdirFd, RESUMABLE_DIRECTORY, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return undefined
    throw error
  }
  try {
    return await work(dirFd)
  } finally {
    closeSync(dirFd)
  }
}
