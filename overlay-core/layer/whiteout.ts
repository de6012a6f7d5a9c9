import { bestEffort } from '../api/errno.ts'
import { FileType, type Name } from '../api/types.ts'
import { rmdirAt, unlinkAt } from '../sys/dir.ts'
import type { Stat } from '../sys/stat.ts'
import type { Real } from './layer.ts'
import type { UpperContext } from './upper-context.ts'

/** Whether `stat` is of a whiteout in the classic form, a character device 0:0. */
export function isWhiteoutDevice(stat: Stat): boolean {
  return stat.type === FileType.character && stat.rdevMajor === 0 && stat.rdevMinor === 0
}

/**
 * Removes a temporary non-directory from the work directory. It may be a link to an object with other names, whose count clients see, so a failure is not
 * the end: it is tried twice. A leftover is cleaned at the next mount.
 */
export async function removeTemp(context: UpperContext, name: Name): Promise<void> {
  const dir = context.work as Real
  const unlink = async () => unlinkAt(await context.descriptors.of(dir), name)
  await bestEffort(() => unlink().catch(unlink))
  await context.xattrStore.removed({ dir, name })
}

/** Removes a temporary empty directory from the work directory; a leftover is cleaned at the next mount. */
export async function removeTempDir(context: UpperContext, name: Name): Promise<void> {
  const dir = context.work as Real
  await bestEffort(async () => rmdirAt(await context.descriptors.of(dir), name))
  await context.xattrStore.removed({ dir, name })
}

/** Whether directory `real` may contain whiteouts in attribute form. Other marks of the directories of the lowest layer are not read. */
export async function holdsAttributeWhiteouts(context: UpperContext, real: Real): Promise<boolean> {
  real.xwhiteouts ??= saysAttributeWhiteouts(
    await context.xattrStore.get(await context.descriptors.of(real), '', context.overlayXattrs.opaque),
  )
  return real.xwhiteouts
}

/** Whether `opaque`, the value of `overlay.opaque`, says that the directory may contain whiteouts in attribute form (x). */
export function saysAttributeWhiteouts(opaque: Uint8Array | undefined): boolean {
  return opaque?.length === 1 && opaque[0] === 0x78
}
