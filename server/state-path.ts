import { createHash } from 'node:crypto'
import { join } from 'node:path'

/** Where in the folder `folder` of the state directory is kept what belongs to this identity: the same for the same pieces, one after the other, in every run. */
export function statePath(stateDir: string, folder: string, identity: Iterable<string | Uint8Array>): string {
  const digest = createHash('sha256')
  for (const piece of identity) digest.update(piece)
  return join(stateDir, folder, digest.digest('hex').slice(0, 32))
}
