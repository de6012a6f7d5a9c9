import { type Cred, FileType, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { fileSystemOfKey, keyOf } from '../layer/identity.ts'
import type { Layer } from '../layer/layer.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { needAccess } from '../objects/inode.ts'
import { READ } from '../objects/permission.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { readdirFd } from '../sys/dir.ts'

/** @see Overlay.ownNames */
export async function ownNames(sb: SuperBlock, cred: Cred, dir: OvlInode, depth: number): Promise<Name[]> {
  await needAccess(sb, cred, dir, READ, 'readdir')
  return await sb.descriptors.run(() =>
    dir.dirLock.shared(async () => {
      const names = new Set<Name>()
      for (const real of dir.upper === undefined ? dir.lowers : [dir.upper, ...dir.lowers]) {
        if (positionOf(sb, real.layer) >= depth) break
        const { marks } = real.layer
        for (const { name: raw } of await readdirFd(await sb.descriptors.of(real))) {
          if (loopBudget.spent) await loopBudget.rest()
          const reserved = marks.reserves(raw) || sb.upper?.marks.reserves(raw) === true
          const name = reserved ? marks.hiddenBy(raw) : raw
          if (name !== undefined) names.add(name)
        }
      }
      return [...names]
    }),
  )
}

/** @see Overlay.identityBelow */
export function identityBelow(sb: SuperBlock, inode: OvlInode, depth: number): string | undefined {
  const below = sb.lowers.slice(depth - 1)
  if (inode.type === FileType.directory) {
    const top = inode.lowers.find(({ layer }) => below.includes(layer))
    return top && `d${below.indexOf(top.layer)}:${top.ino}`
  }
  const { layer } = inode.real
  const fsIndex = below.includes(layer) ? layer.fsIndex : fileSystemOfKey(inode.key)
  const first = below.findIndex((lower) => lower.fsIndex === fsIndex)
  if (first < 0 || fsIndex === undefined) return undefined
  return `f${first}:${inode.key - keyOf({ fsIndex }, { inoHi: 0, inoLo: 0 })}:${inode.generation}`
}

/** The position of a layer in the stack: 0 for the upper. `Layer.index` may be negative after a freeze. */
function positionOf({ lowers }: SuperBlock, layer: Layer): number {
  return layer.isUpper ? 0 : lowers.indexOf(layer) + 1
}
