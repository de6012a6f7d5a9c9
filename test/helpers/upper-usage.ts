import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Usage } from '../../overlay-core/index.ts'

/** What the directories contain: sizes of regular files, and objects without whiteouts of either format. A hard link counts once. */
export function usageOf(...roots: readonly string[]): Usage {
  const seen = new Set<number>()
  let [bytes, files] = [0, 0]
  const walk = (dir: string) => {
    for (const name of readdirSync(dir)) {
      const path = join(dir, name)
      const stat = lstatSync(path)
      if (name.startsWith('.wh.') || (stat.isCharacterDevice() && stat.rdev === 0) || seen.has(stat.ino)) continue
      seen.add(stat.ino)
      files++
      if (stat.isFile()) bytes += stat.size
      if (stat.isDirectory()) walk(path)
    }
  }
  for (const root of roots) walk(root)
  return { bytes, files }
}
