import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Workload } from './measure.ts'
import { fillDirectory, nameOf } from './world.ts'

export const PER_DIRECTORY = 1_000

/** Heap per name in the dentry cache, object and attributes included, over as many names as the cache takes. */
export const dentryMemory: Workload = {
  disk: 'xfs',
  name: 'memory of a cached name with its attributes',
  unit: 'bytes',
  aim: { of: 'core', most: 600 },
  prepare: (dir, { memoryNames }) =>
    prepareWalk(
      dir,
      memoryNames,
      { limit: Math.ceil(memoryNames * 1.01), withoutListings: true },
      (seen) => seen.perName,
    ),
}

/** The same for names that only a lookup has touched. */
export const namesMemory: Workload = {
  disk: 'xfs',
  name: 'memory of a cached name that was looked up',
  unit: 'bytes',
  prepare: (dir, { memoryNames }) =>
    prepareWalk(
      dir,
      memoryNames,
      { limit: Math.ceil(memoryNames * 1.01), withoutListings: true, withoutAttributes: true },
      (seen) => seen.perName,
    ),
}

/** The highest heap while a tree is walked that has many more files than the dentry cache takes. */
export const treeWalk: Workload = {
  disk: 'xfs',
  name: 'heap while walking a large tree',
  unit: 'bytes',
  aim: { of: 'core', most: 256 * 2 ** 20 },
  prepare: (dir, { treeFiles }) => prepareWalk(dir, treeFiles, {}, (seen) => seen.highestHeap),
}

/** What `walk-program.ts` is told. */
export interface WalkOptions {
  readonly limit?: number
  readonly withoutAttributes?: boolean
  readonly withoutListings?: boolean
}

/** What `walk-program.ts` prints. */
export interface Walked {
  readonly names: number
  readonly cached: number
  readonly limit: number
  readonly perName: number
  readonly highestHeap: number
  readonly rss: number
  readonly seconds: number
}

/** Makes a lower of `files` files and walks it in a process of its own, so that the heap holds nothing else. */
async function prepareWalk(dir: string, files: number, options: WalkOptions, figure: (seen: Walked) => number) {
  const lower = join(dir, 'lower')
  for (let i = 0; i * PER_DIRECTORY < files; i++) {
    fillDirectory(join(lower, nameOf(i)), Math.min(PER_DIRECTORY, files - i * PER_DIRECTORY))
  }
  let seen: Walked | undefined
  return {
    sides: {
      core: () => {
        const own = mkdtempSync(join(dir, 'own-'))
        for (const part of ['upper', 'work']) mkdirSync(join(own, part))
        const mountOptions = `lowerdir=${lower},upperdir=${own}/upper,workdir=${own}/work`
        const program = fileURLToPath(new URL('./walk-program.ts', import.meta.url))
        const args = ['--expose-gc', '--max-old-space-size=512', program, mountOptions, JSON.stringify(options)]
        seen = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' })) as Walked
        return figure(seen)
      },
    },
    note: () => {
      if (!seen) return ''
      const { names, cached, limit, rss, seconds } = seen
      return `${names} names in ${seconds.toFixed(1)} s, ${cached} of at most ${limit} cached at the end, resident ${(rss / 2 ** 20).toFixed(0)} MiB`
    },
    // The file system goes as a whole, which is faster.
    cleanUp: async () => undefined,
  }
}
