import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import type { Prepared, Sizes, Workload } from './measure.ts'
import { timed } from './measure.ts'
import { fillDirectory, lookUp, makeWorld, nameOf, ROOT, type World } from './world.ts'

const PASSES = 20

/** Names and attributes that are in the caches of both. One lstat(2) is a lookup and a getattr. */
export const cachedLookup: Workload = {
  name: 'lookup, cached',
  unit: 'time',
  aim: { of: 'core', most: 1_000 },
  prepare: (dir, sizes) =>
    prepareCached(dir, sizes, ({ overlay }, directory, names) => {
      for (const name of names) if (overlay.lookup(ROOT, directory, name) instanceof Promise) throw waited()
    }),
}

export const cachedGetattr: Workload = {
  name: 'getattr, cached',
  unit: 'time',
  aim: { of: 'core', most: 1_000 },
  prepare: (dir, sizes) =>
    prepareCached(dir, sizes, ({ overlay }, _directory, _names, inodes) => {
      for (const inode of inodes) if (overlay.getattr(inode) instanceof Promise) throw waited()
    }),
}

function waited(): Error {
  return new Error('it was not in the cache')
}

async function prepareCached(
  dir: string,
  { names: count }: Sizes,
  pass: (world: World, directory: Inode, names: readonly string[], inodes: readonly Inode[]) => void,
): Promise<Prepared> {
  const world = await makeWorld(dir, 1, ([lower]) => fillDirectory(join(lower!, 'd'), count))
  const names = Array.from({ length: count }, (_, i) => nameOf(i))
  const directory = await lookUp(world.overlay, world.root, 'd')
  const inodes: Inode[] = []
  for (const name of names) inodes.push(await lookUp(world.overlay, directory, name))
  for (const inode of inodes) await world.overlay.getattr(inode)
  return {
    sides: {
      plain: () => statAll(join(world.lowers[0]!, 'd'), names, PASSES),
      kernel: () => statAll(join(world.mountPoint, 'd'), names, PASSES),
      core: () =>
        timed(count * PASSES, () => {
          for (let i = 0; i < PASSES; i++) pass(world, directory, names, inodes)
        }),
    },
    cleanUp: () => world.cleanUp(),
  }
}

function statAll(dir: string, names: readonly string[], passes: number): Promise<number> {
  const paths = names.map((name) => join(dir, name))
  return timed(names.length * passes, () => {
    for (let i = 0; i < passes; i++) for (const path of paths) lstatSync(path, { throwIfNoEntry: false })
  })
}

/** The overlays have just been mounted, so neither knows a name; the layers themselves are in the kernel's caches, for both. */
export const coldLookup = cold('lookup + getattr, cold, through 5 lowers', nameOf, async (overlay, directory, name) => {
  await overlay.getattr(await lookUp(overlay, directory, name))
})

export const coldAbsence = cold(
  'lookup of an absent name, cold, through 5 lowers',
  (i) => `absent${i}`,
  async (overlay, directory, name) => {
    if (await overlay.lookup(ROOT, directory, name)) throw new Error(`${name} exists`)
  },
)

function cold(
  name: string,
  askedFor: (i: number) => string,
  ask: (overlay: Overlay, directory: Inode, name: string) => Promise<void>,
): Workload {
  const prepare = async (dir: string, { names: count }: Sizes): Promise<Prepared> => {
    const world = await makeWorld(dir, 5, (lowers) => {
      for (const lower of lowers.slice(0, 4)) fillDirectory(join(lower, 'd'), 0)
      fillDirectory(join(lowers[4]!, 'd'), count)
    })
    const names = Array.from({ length: count }, (_, i) => askedFor(i))
    return {
      sides: {
        plain: () => statAll(join(world.lowers[4]!, 'd'), names, 1),
        kernel: async () => {
          await world.fresh()
          return await statAll(join(world.mountPoint, 'd'), names, 1)
        },
        core: async () => {
          await world.fresh()
          const { overlay } = world
          const directory = await lookUp(overlay, world.root, 'd')
          return await timed(count, async () => {
            for (const name of names) await ask(overlay, directory, name)
          })
        },
      },
      cleanUp: () => world.cleanUp(),
    }
  }
  return { name, unit: 'time', prepare }
}

export const firstListing: Workload = listing('readdir of merged entries, first', true)
export const nextListing: Workload = listing('readdir of merged entries, again', false)

/** A directory merged of five lowers; every name is in two of them. One operation is the whole listing. */
function listing(name: string, cold: boolean): Workload {
  return {
    name,
    unit: 'time',
    async prepare(dir, { entries }) {
      const world = await makeWorld(dir, 5, (lowers) => {
        for (const [i, lower] of lowers.entries()) {
          fillDirectory(join(lower, 'd'), 0)
          for (let at = 0; at < entries; at++) {
            if (at % 5 === i || (at + 1) % 5 === i) fillDirectory(join(lower, 'd', nameOf(at)), 0)
          }
        }
      })
      const plainDir = join(dir, 'plain')
      for (let i = 0; i < entries; i++) fillDirectory(join(plainDir, nameOf(i)), 0)
      const list = async () => {
        const directory = await lookUp(world.overlay, world.root, 'd')
        const seen: string[] = []
        const fill = (entry: { name: string }) => seen.push(entry.name) > 0
        const time = await timed(1, async () => void (await world.overlay.readdir(ROOT, directory, 0, fill)))
        if (seen.length !== entries) throw new Error(`${seen.length} entries instead of ${entries}`)
        return time
      }
      const onKernel = () => timed(1, () => void readdirSync(join(world.mountPoint, 'd')))
      return {
        sides: {
          plain: () => timed(1, () => void readdirSync(plainDir)),
          kernel: async () => {
            if (cold) await world.fresh()
            return await onKernel()
          },
          core: async () => {
            if (cold) await world.fresh()
            return await list()
          },
        },
        note: () => `${entries} entries`,
        cleanUp: () => world.cleanUp(),
      }
    },
  }
}
