import { createHash } from 'node:crypto'
import type { Layer } from '../layer/layer.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { statxFd } from '../sys/stat.ts'
import type { Layers } from './layers.ts'

/** What decides, besides its layers, how an overlay sees its lowers. */
export type LowerView = Pick<SuperBlock, 'options' | 'keepsOwners' | 'privileged' | 'indexDir'>

/**
 * Overlays of a stack with the same key see the same in its lowers: names, attributes, identities and listings. Undefined if nobody else can see them
 * in the same way.
 */
export function sharingKey(layers: Layers, view: LowerView): string | undefined {
  const { keepsOwners, privileged, indexDir, options } = view
  const { redirectDir, metacopy, userxattr, revalidate } = options
  const all = [...layers.lowers, ...layers.data]
  if (all.some(({ inodeNumbers }) => inodeNumbers !== undefined && inodeNumbers.key === undefined)) return undefined
  return JSON.stringify({
    ...{ redirectDir, metacopy, userxattr, revalidate, keepsOwners, privileged },
    index: indexDir !== undefined,
    upper: layers.upper?.marks.whiteouts,
    layers: all.map(keyOf),
  })
}

/** What an overlay decides about a layer. */
function keyOf({ fsIndex, salt, joinsLinks, trustsOrigins, marksCopies, stackChanged, inodeNumbers, marks }: Layer) {
  const { whiteouts } = marks
  return { fsIndex, salt, joinsLinks, trustsOrigins, marksCopies, stackChanged, numbers: inodeNumbers?.key, whiteouts }
}

/** 16 bytes that are the same as long as the roots of `layers` are. */
export function digestOfRoots(layers: readonly Layer[]): Uint8Array {
  const hash = createHash('sha256')
  for (const { root, fsUuid } of layers) {
    const stat = statxFd(root.fd)
    hash.update(fsUuid).update(`${stat.inoHi}:${stat.inoLo}:${stat.btime?.sec}.${stat.btime?.nsec};`)
  }
  return new Uint8Array(hash.digest().subarray(0, 16))
}
