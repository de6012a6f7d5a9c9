import { basename, dirname, join } from 'node:path'
import { type MountOptions, OptionError } from '../api/params.ts'
import type { Layer } from '../layer/layer.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { renameAt } from '../sys/dir.ts'
import { RENAME_EXCHANGE } from '../sys/flags.ts'
import { closeSync, openRoot } from '../sys/open.ts'
import { FROZEN_INDEX, FROZEN_UPPER } from './frozen-place.ts'
import type { Layers } from './layers.ts'
import { type Present, type RemountParts, remount } from './remount.ts'
import type { RootDir } from './roots.ts'
import { Merge } from './squash.ts'

/** @see Overlay.squash */
export function squashLayers(
  sb: SuperBlock,
  { roots, layers }: Present,
  paths: readonly string[],
  isMounted: () => boolean,
): Merge {
  const first = roots.lowers.findIndex(({ given }) => given === paths[0])
  const chosen = layers.lowers.slice(first, first + paths.length)
  const adjacent = first >= 0 && paths.every((path, at) => roots.lowers[first + at]?.given === path)
  if (!adjacent || paths.length < 2 || chosen.some(({ frozen }) => !frozen))
    throw new OptionError('lowerdir', 'only adjacent frozen layers of the overlay can be merged; choose these')
  const squashed = chosen.map((layer, at) => ({ layer, path: paths[at] as string }))
  return new Merge(sb, squashed, isMounted)
}

/** @see Squash.adopt */
export async function adoptMerge(
  sb: SuperBlock,
  present: Present,
  parts: RemountParts,
  { merge, from, to }: { readonly merge: Merge; readonly from: string; readonly to: string },
  options: MountOptions,
): Promise<Present> {
  const place = join(to, FROZEN_UPPER)
  const at = options.lowerdir.indexOf(place)
  const now = async ({ lowers }: Layers) => {
    const parent = await openRoot(dirname(to))
    try {
      await renameAt(parent, basename(from), parent, basename(to), RENAME_EXCHANGE)
    } finally {
      closeSync(parent)
    }
    merge.adopted()
    const { frozenIndex } = lowers[at] as Layer
    if (frozenIndex?.place) frozenIndex.place = { ...frozenIndex.place, path: join(to, FROZEN_INDEX) }
  }
  const before = (path: string) => (path === place ? join(from, FROZEN_UPPER) : path)
  const after = await remount(sb, present, parts, options, { before, now })
  const moved = (dir: RootDir, each: number) => (each === at ? { ...dir, given: place, path: place } : dir)
  return { ...after, roots: { ...after.roots, lowers: after.roots.lowers.map(moved) } }
}
