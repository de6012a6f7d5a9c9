import { bestEffort } from '../api/errno.ts'
import { FileType, type Name } from '../api/types.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { rmdirAt, unlinkAt } from '../sys/dir.ts'
import type { Stat } from '../sys/stat.ts'
import type { Real } from './layer.ts'

/** Whether `stat` is that of a whiteout in the classic form: a character device 0:0. */
export function isWhiteoutDevice(stat: Stat): boolean {
  return stat.type === FileType.character && stat.rdevMajor === 0 && stat.rdevMinor === 0
}

/** Removes a temporary non-directory from the work directory; a leftover is cleaned at the next mount. */
export async function removeTemp(sb: SuperBlock, name: Name): Promise<void> {
  const dir = sb.work as Real
  await bestEffort(async () => unlinkAt(await sb.descriptors.of(dir), name))
  await sb.xattrStore.removed({ dir, name })
}

/** Removes a temporary empty directory from the work directory; a leftover is cleaned at the next mount. */
export async function removeTempDir(sb: SuperBlock, name: Name): Promise<void> {
  const dir = sb.work as Real
  await bestEffort(async () => rmdirAt(await sb.descriptors.of(dir), name))
  await sb.xattrStore.removed({ dir, name })
}
