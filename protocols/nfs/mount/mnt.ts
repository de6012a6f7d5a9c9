import { type Errno, FileType, type Inode, isErrno } from '../../../overlay-core/index.ts'
import type { RpcCall } from '../rpc/call.ts'
import { AUTH_SYS } from '../rpc/constants.ts'
import {
  MNT3_OK,
  MNT3ERR_ACCES,
  MNT3ERR_INVAL,
  MNT3ERR_IO,
  MNT3ERR_NAMETOOLONG,
  MNT3ERR_NOENT,
  MNT3ERR_NOTDIR,
  MNT3ERR_SERVERFAULT,
  MNTPATHLEN,
} from './constants.ts'
import { walkExport } from './export-walk.ts'
import type { MountContext } from './mount-context.ts'

const STATUS: Partial<Record<Errno, number>> = {
  EACCES: MNT3ERR_ACCES,
  EINVAL: MNT3ERR_INVAL,
  EIO: MNT3ERR_IO,
  ELOOP: MNT3ERR_INVAL,
  ENAMETOOLONG: MNT3ERR_NAMETOOLONG,
  ENOENT: MNT3ERR_NOENT,
  ESTALE: MNT3ERR_NOENT,
  ENOTDIR: MNT3ERR_NOTDIR,
}

/**
 * MOUNTPROC3_MNT: the file handle of an export or of a directory inside it. RFC 1813 section 5.2.1.
 *
 * The path is walked with the caller's rights, as in LOOKUP: in directories that it may not search it learns no names and gets no handles. Symlinks are followed
 * inside the export (`walkExport`).
 */
export async function mnt(context: MountContext, call: RpcCall): Promise<void> {
  const path = call.args.string(MNTPATHLEN)
  const { peer, credential } = call
  const found = context.exports.byPath(path)
  if (found === undefined) return refuse(call, MNT3ERR_NOENT)
  const { served, rest } = found
  const grant = served.grant(peer, credential)
  if (grant === undefined) return refuse(call, MNT3ERR_ACCES)
  let target: Inode | undefined
  try {
    const inside = (target: string) => {
      const there = context.exports.byPath(target)
      return there?.served === served ? there.rest : undefined
    }
    target = await walkExport({ overlay: served.overlay, cred: grant.cred, inside }, rest)
  } catch (error) {
    if (!isErrno(error)) throw error
    return refuse(call, STATUS[error.code] ?? MNT3ERR_SERVERFAULT)
  }
  if (target === undefined) return refuse(call, MNT3ERR_NOENT)
  if (target.type !== FileType.directory) return refuse(call, MNT3ERR_NOTDIR)
  context.mounts.add(peer.address, path)
  served.overlay.retain(target)
  await context.handleSaver.saved(served.overlay)
  const out = call.begin(128)
  out.u32(MNT3_OK)
  out.opaque(context.handles.encode(served.view, target))
  out.u32(1)
  out.u32(AUTH_SYS)
}

function refuse(call: RpcCall, status: number): void {
  call.begin(4).u32(status)
}
