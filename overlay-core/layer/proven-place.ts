import type { Descriptors } from './descriptors.ts'
import type { Real } from './layer.ts'
import type { XattrStore } from './xattr-store.ts'

/**
 * Names the object `real`, which is not a directory, for a system call: by its own descriptor and '', so that the call affects this object even
 * if its name was given to another one. If attributes are stored by name, it uses the name after checking that it still belongs to the object.
 * The result is valid inside the present `Descriptors.run`; a name also only while the lock of the inode is held.
 *
 * @throws ESTALE the object is no longer at its known name, and cannot be found another way
 */
export async function provenPlace(
  { descriptors, xattrStore }: { readonly descriptors: Descriptors; readonly xattrStore: XattrStore },
  real: Real,
): Promise<{ readonly fd: number; readonly name: string }> {
  const fd = await descriptors.proven(real)
  if (!xattrStore.byName || !real.layer.isUpper || !real.parent) return { fd, name: '' }
  return { fd: await descriptors.of(real.parent), name: real.name }
}
