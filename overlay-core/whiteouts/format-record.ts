import { isErrno } from '../api/errno.ts'
import { OptionError } from '../api/params.ts'
import { NEVER_WAITS } from '../layer/real-open.ts'
import { holdsKernelForm, type Storage } from '../layer/storage.ts'
import { ROOT_RECORD_NAME } from '../layer/whiteout-format.ts'
import { utimesAt } from '../sys/attr.ts'
import { fsync, pread, pwrite } from '../sys/data.ts'
import { renameAt } from '../sys/dir.ts'
import { O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

/** How whiteouts are stored: as devices, the kernel's format, or as files `.wh.NAME`. */
export type Whiteouts = 'device' | 'files'

/** The name of the record in the workdir. */
export const FORMAT_FILE_NAME = 'whiteouts'
const FILES = Buffer.from('whiteouts=files\n')

/** Whether the root `rootFd` has a record that its whiteouts are files. */
export async function saysFiles(rootFd: number): Promise<boolean> {
  return await isRecord(rootFd, ROOT_RECORD_NAME)
}

/**
 * Returns the format of the whiteouts of an upper: the one recorded at its first mount, in its root or in the workdir; otherwise the one of the
 * option; otherwise the kernel's if the file system supports it. `usedBefore`: the workdir has served an overlay before, so without a record its
 * format is the kernel's.
 *
 * @throws OptionError the option contradicts the record, or the file system does not support it
 */
export async function chooseFormat(
  wanted: Whiteouts | 'auto',
  storage: Storage,
  place: { readonly rootFd: number; readonly workdirFd: number; readonly usedBefore: boolean },
): Promise<Whiteouts> {
  const holds = holdsKernelForm(storage)
  const kernels = place.usedBefore && holds
  const files = (await isRecord(place.workdirFd, FORMAT_FILE_NAME)) || (!kernels && (await saysFiles(place.rootFd)))
  const recorded = files ? 'files' : kernels ? 'device' : undefined
  if (wanted !== 'auto' && recorded !== undefined && wanted !== recorded) {
    throw new OptionError(
      'whiteouts',
      `this upper was created with whiteouts=${recorded}, and an upper cannot mix both; use that, or remove the option`,
    )
  }
  if (wanted === 'device' && !holds) {
    throw new OptionError(
      'whiteouts',
      `the file system of upperdir cannot store whiteouts as devices (${lacking(storage)}); use whiteouts=files`,
    )
  }
  return recorded ?? (wanted === 'auto' ? (holds ? 'device' : 'files') : wanted)
}

/** Whether the root of the upper or the workdir has a record that whiteouts are files. */
export async function recordsFiles(rootFd: number, workdirFd: number): Promise<boolean> {
  return (await isRecord(workdirFd, FORMAT_FILE_NAME)) || (await saysFiles(rootFd))
}

/** Records in the workdir and in the root of the upper, whose times do not change, that whiteouts are files. */
export async function recordFiles(rootFd: number, workdirFd: number, workFd: number): Promise<void> {
  if (!(await isRecord(workdirFd, FORMAT_FILE_NAME))) await writeRecord(workFd, workdirFd, FORMAT_FILE_NAME)
  if (await saysFiles(rootFd)) return
  const { atime, mtime } = statxFd(rootFd)
  await writeRecord(workFd, rootFd, ROOT_RECORD_NAME)
  await utimesAt(rootFd, '', atime, mtime)
}

function lacking({ whiteoutDevices, xattrs, exchange }: Storage): string {
  const missing: string[] = []
  if (!whiteoutDevices) missing.push('no device nodes')
  if (!xattrs) missing.push('no extended attributes')
  if (!exchange) missing.push('no RENAME_EXCHANGE')
  return missing.join(', ')
}

/** Whether `name` is a record, and not another file that happens to have that name. */
async function isRecord(dirFd: number, name: string): Promise<boolean> {
  let fd: number
  try {
    fd = await openAt(dirFd, name, O_RDONLY | NEVER_WAITS)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP', 'EACCES', 'ENXIO', 'EISDIR')) return false
    throw error
  }
  try {
    const bytes = Buffer.alloc(FILES.length)
    return (await pread(fd, bytes, 0, bytes.length, 0)) === FILES.length && bytes.equals(FILES)
  } finally {
    closeSync(fd)
  }
}

/** Written atomically, because a torn record would be invalid. */
async function writeRecord(workFd: number, dirFd: number, name: string): Promise<void> {
  const temp = 'record'
  const fd = await openAt(workFd, temp, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o644)
  try {
    await pwrite(fd, FILES, 0)
    await fsync(fd)
  } finally {
    closeSync(fd)
  }
  await renameAt(workFd, temp, dirFd, name)
}
