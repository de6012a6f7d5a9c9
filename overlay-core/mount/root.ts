import { identityOf } from '../layer/identity.ts'
import type { Layer } from '../layer/layer.ts'
import { readMarks } from '../lookup/marks.ts'
import { OvlInode } from '../objects/dentry.ts'
import { knownRights } from '../objects/rights.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { versionOf } from '../stack/lower-real.ts'
import { statxFd } from '../sys/stat.ts'
import type { IdentityKeeper } from './identity-keeper.ts'
import type { Layers } from './layers.ts'

/** Creates the root. Without an upper its identity is stored, because it outlives the lower that it was derived from; with one, after a freeze. */
export function makeRoot(layers: Pick<Layers, 'upper' | 'lowers'>, keeper: IdentityKeeper): OvlInode {
  const top = layers.upper ?? (layers.lowers[0] as Layer)
  const stat = statxFd(top.root.fd)
  const own = identityOf(top, stat)
  return new OvlInode(
    { ...(layers.upper ? (keeper.keptRoot ?? own) : keeper.root(own)), type: stat.type },
    layers.upper?.root,
    layers.lowers.map((layer) => layer.root),
  )
}

/** Reads what must be known of the root before the first call. */
export async function prepareRoot(sb: SuperBlock): Promise<void> {
  const { root } = sb
  root.stackVersion = sb.stackVersion
  root.seenVersion = versionOf(root.lowers)
  sb.dcache.addInode(root)
  for (const real of [root.upper, ...root.lowers]) if (real) await readMarks(sb, real)
  root.rights = knownRights(sb, root.real)
}
