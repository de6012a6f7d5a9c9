import { createHash } from 'node:crypto'
import { join } from 'node:path'

/** A path in `folder` of the state directory that is derived from the parts of `identity`, in their order, and is the same in every run. */
export function statePath(stateDir: string, folder: string, identity: Iterable<string | Uint8Array>): string {
  const digest = createHash('sha256')
  for (const piece of identity) digest.update(piece)
  return join(stateDir, folder, digest.digest('hex').slice(0, 32))
}
