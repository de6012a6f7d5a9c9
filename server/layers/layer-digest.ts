import { createHash } from 'node:crypto'
import { loopBudget, type TreeItem } from '../../overlay-core/index.ts'
import { tarOf } from './tar-write.ts'

/** What a layer is, independent of where it is. */
export interface LayerIdentity {
  /** `sha256:` and the digest of its tar file. */
  readonly digest: string
  /** The size of its tar file. */
  readonly tarBytes: number
}

/** Reads a layer and tells its digest. `told` is called with the number of bytes of each piece. */
export async function identityOf(
  items: AsyncIterable<TreeItem>,
  told: (bytes: number) => void = () => undefined,
): Promise<LayerIdentity> {
  return await digestOf(tarOf(items), told)
}

/** The digest and the number of the bytes. */
export async function digestOf(
  pieces: AsyncIterable<Uint8Array>,
  told: (bytes: number) => void = () => undefined,
): Promise<LayerIdentity> {
  const hash = createHash('sha256')
  let tarBytes = 0
  for await (const piece of pieces) {
    hash.update(piece)
    tarBytes += piece.length
    told(piece.length)
    if (loopBudget.spent) await loopBudget.rest()
  }
  return { digest: `sha256:${hash.digest('hex')}`, tarBytes }
}
