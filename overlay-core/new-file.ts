import { diskAttributes } from './attributes.ts'
import type { OvlInode } from './dentry.ts'
import { deviceForm } from './device-form.ts'
import { isErrno } from './errno.ts'
import type { Probe, Real } from './layer.ts'
import type { Birth } from './owner.ts'
import type { CheckedAttr } from './permission.ts'
import type { SuperBlock } from './superblock.ts'
import { O_CREAT, O_EXCL, O_NOFOLLOW, O_RDWR } from './sys/flags.ts'
import { buildFile } from './sys/new-file.ts'
import { closeSync, openAt } from './sys/open.ts'
import { statxFd } from './sys/stat.ts'
import type { CreateOptions, Name } from './types.ts'

const SETGID = 0o2000

/**
 * Makes an empty regular file in the upper directory in as few calls as can be: with its final mode right at its place when it is to belong
 * to whom the kernel gives it anyway; else built aside, given away and moved to its place on one trip. Either way nobody, and no crash,
 * ever meets it half made. Undefined when it takes more than that: the name is taken (by a whiteout), or it has ACLs, times or a record.
 *
 * @throws ENOSPC | EDQUOT | EIO …
 */
export async function makeFile(
  sb: SuperBlock,
  dir: OvlInode,
  dirAttr: CheckedAttr,
  name: Name,
  birth: Birth,
  options: CreateOptions,
): Promise<Probe | undefined> {
  const upper = dir.upper as Real
  const plain = birth.access === undefined && birth.defaultAcl === undefined && !sb.keepsOwners
  const bare = !options.size && options.atime === undefined && options.mtime === undefined
  if (!plain || !bare || sb.attributes !== diskAttributes || upper.layer.marks !== deviceForm) return undefined
  const dirFd = await sb.descriptors.of(upper)
  const groupAtBirth = (dirAttr.mode & SETGID) === 0 ? sb.serverGid : dirAttr.gid
  const { uid, gid, mode } = birth
  try {
    const fd =
      uid === sb.serverUid && gid === groupAtBirth
        ? await openAt(dirFd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
        : await buildFile(await sb.descriptors.of(sb.work as Real), sb.tempName(), dirFd, name, birth)
    const stat = statxFd(fd)
    closeSync(fd)
    return { stat, fd: -1 }
  } catch (error) {
    if (isErrno(error, 'EEXIST')) return undefined
    throw error
  }
}
