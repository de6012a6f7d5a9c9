import { type Cred, FileType, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { fileSystemOfKey, keyOf } from '../layer/identity.ts'
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
        const { index, marks } = real.layer
        if (index >= depth) break
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
  if (inode.type === FileType.directory) {
    const top = inode.lowers.find(({ layer }) => layer.index >= depth)
    return top && `d${top.layer.index - depth}:${top.ino}`
  }
  const { real } = inode
  const own = real.layer.index < depth
  const fsIndex = own ? fileSystemOfKey(inode.key) : real.layer.fsIndex
  const layer = sb.lowers.find((lower) => lower.index >= depth && lower.fsIndex === fsIndex)
  if (layer === undefined || fsIndex === undefined) return undefined
  return `f${layer.index - depth}:${inode.key - keyOf({ fsIndex }, { inoHi: 0, inoLo: 0 })}:${inode.generation}`
}
