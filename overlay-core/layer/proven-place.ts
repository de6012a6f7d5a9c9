import type { Descriptors } from './descriptors.ts'
import type { Real } from './layer.ts'
import type { XattrStore } from './xattr-store.ts'

/**
 * How the object `real`, no directory, is named in a system call: by its own descriptor and '', so that the call concerns this object and no
 * other, whatever has its name. Only where attributes are kept by name, by that, after a look that it is this object's. Valid inside the
 * `Descriptors.run` that this is called in, and in the latter case as long as the lock of its inode is held.
 *
 * @throws ESTALE the object is not where it is known to be, and nothing else is known of it
 */
export async function provenPlace(
  { descriptors, xattrStore }: { readonly descriptors: Descriptors; readonly xattrStore: XattrStore },
  real: Real,
): Promise<{ readonly fd: number; readonly name: string }> {
  const fd = await descriptors.proven(real)
  if (!xattrStore.byName || !real.layer.isUpper || !real.parent) return { fd, name: '' }
  return { fd: await descriptors.of(real.parent), name: real.name }
}
