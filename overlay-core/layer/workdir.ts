import { isErrno } from '../api/errno.ts'
import { FileType } from '../api/types.ts'
import { IDENTITY_FILE_NAMES } from '../mount/identity-file.ts'
import { HANDLE_FILE_NAMES } from '../objects/handle-file.ts'
import { RESUMABLE_DIRECTORY } from '../operations/resumable-stage.ts'
import { PROTOCOL_DATA_DIRECTORY } from '../sidecar/protocol-data-store.ts'
import { SIDECAR_FILE_NAMES } from '../sidecar/sidecar-log.ts'
import { chmodAt } from '../sys/attr.ts'
import { mkdirAt, readdirFd, rmdirAt, unlinkAt } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import { FORMAT_FILE_NAME } from '../whiteouts/format-record.ts'
import type { Descriptors } from './descriptors.ts'
import { INTENT_FILE_NAME } from './intent-log.ts'
import { type Layer, Real } from './layer.ts'

/** What may stand in a workdir that is ours, or the kernel's. */
const OURS = new Set([
  'work',
  'index',
  PROTOCOL_DATA_DIRECTORY,
  RESUMABLE_DIRECTORY,
  INTENT_FILE_NAME,
  FORMAT_FILE_NAME,
  ...SIDECAR_FILE_NAMES,
  ...HANDLE_FILE_NAMES,
  ...IDENTITY_FILE_NAMES,
])

/** Names in the workdir that neither the kernel nor this program made. */
export async function strangersIn(workdirFd: number): Promise<string[]> {
  return (await readdirFd(workdirFd)).map(({ name }) => name).filter((name) => !OURS.has(name))
}

/**
 * What the overlay that used this workdir before demands of the next one: names in `work/incompat`, such as `volatile`, whose upper may lack
 * what was never synced. Whoever does not know one of them must keep away.
 */
export async function incompatibleFeatures(workdirFd: number): Promise<string[]> {
  let fd: number | undefined
  try {
    fd = await openIncompat(workdirFd)
    return (await readdirFd(fd)).map(({ name }) => name)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ENOTDIR', 'ELOOP')) return []
    throw error
  } finally {
    if (fd !== undefined) closeSync(fd)
  }
}

/** The kernel leaves `work` and `incompat` without any permission: nothing for root, but another owner has to give itself the rights first. */
async function openIncompat(workdirFd: number): Promise<number> {
  const flags = O_PATH | O_DIRECTORY | O_NOFOLLOW
  try {
    return await openAt(workdirFd, 'work/incompat', flags)
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error
    await chmodAt(workdirFd, 'work', 0o700)
    return await openAt(workdirFd, 'work/incompat', flags)
  }
}

/** Opens `name` in the workdir, making it when missing. */
export async function openWorkDirectory(
  descriptors: Descriptors,
  layer: Layer,
  workdir: Real,
  name: string,
): Promise<Real> {
  try {
    await mkdirAt(workdir.fd, name, 0o700)
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error
  }
  const fd = await openAt(workdir.fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    const real = new Real(layer, workdir, name, statxFd(fd).ino)
    descriptors.adopt(real, fd)
    return real
  } catch (error) {
    closeSync(fd)
    throw error
  }
}

/** Removes everything below the directory `fd`, of a previous mount that ended in the middle of its work. */
export async function removeLeftovers(fd: number): Promise<void> {
  for (const { name, type } of await readdirFd(fd)) {
    if (type === FileType.directory) await removeTree(fd, name)
    else await unlinkAt(fd, name)
  }
}

async function removeTree(parentFd: number, name: string): Promise<void> {
  const fd = await openAt(parentFd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    await removeLeftovers(fd)
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error
    // Without root, of the kernel: it has the mode of what it was to become.
    await chmodAt(parentFd, name, 0o700)
    await removeLeftovers(fd)
  } finally {
    closeSync(fd)
  }
  await rmdirAt(parentFd, name)
}

/** Writes the mark of a volatile mount. */
export async function markVolatile(workFd: number): Promise<void> {
  await mkdirAt(workFd, 'incompat', 0o700)
  const fd = await openAt(workFd, 'incompat', O_PATH | O_DIRECTORY | O_NOFOLLOW)
  try {
    await mkdirAt(fd, 'volatile', 0o700)
  } finally {
    closeSync(fd)
  }
}
