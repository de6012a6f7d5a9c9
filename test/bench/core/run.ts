/** `npm run bench:core`: see `--help`. */
import { mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { closeSync, openRoot } from '../../../overlay-core/sys/open.ts'
import { statxFdAsking } from '../../../overlay-core/sys/stat.ts'
import { needsRoot, ownMounts, startWithOwnMounts } from '../../helpers/own-mounts.ts'
import { copyUps, sharedCopyUps } from './copy-up.ts'
import { createUnlink, createUnlinkAtOnce } from './create.ts'
import { mountDisk } from './disk.ts'
import { cachedGetattr, cachedLookup, coldAbsence, coldLookup, firstListing, nextListing } from './lookup.ts'
import { FULL, measure, TINY, type Workload } from './measure.ts'
import { dentryMemory, namesMemory, treeWalk } from './memory.ts'
import { chosen, HELP, readSettings, type Settings } from './settings.ts'
import { head, line, met } from './table.ts'

/** More calls than the core makes before it starts threads for them, and time for those to begin. */
const WARM_UP_CALLS = 2_000

const WORKLOADS: readonly Workload[] = [
  cachedLookup,
  cachedGetattr,
  coldLookup,
  coldAbsence,
  firstListing,
  nextListing,
  createUnlink,
  createUnlinkAtOnce,
  copyUps('4 KiB', ({ smallFiles }) => ({ count: smallFiles, bytes: 4096 })),
  copyUps('1 MiB', ({ mediumFiles, mediumBytes }) => ({ count: mediumFiles, bytes: mediumBytes })),
  copyUps('1 GiB', ({ largeBytes }) => ({ count: 1, bytes: largeBytes })),
  sharedCopyUps('4 KiB', ({ smallFiles }) => ({ count: smallFiles, bytes: 4096 })),
  sharedCopyUps('1 MiB', ({ mediumFiles, mediumBytes }) => ({ count: mediumFiles, bytes: mediumBytes })),
  sharedCopyUps('1 GiB', ({ largeBytes }) => ({ count: 1, bytes: largeBytes })),
  namesMemory,
  dentryMemory,
  treeWalk,
]

try {
  process.exitCode = await main()
} catch (error) {
  // What is wrong with the command line is said in one sentence; the rest is a fault of this program, or of the machine.
  if (ownMounts()) throw error
  console.error(`bench:core: ${(error as Error).message}\nTry npm run bench:core -- --help`)
  process.exitCode = 2
}

async function main(): Promise<number> {
  const inside = ownMounts()
  const args = inside?.args ?? process.argv.slice(2)
  const settings = readSettings(args)
  const names = chosen(
    WORKLOADS.map(({ name }) => name),
    settings.only,
  )
  if (settings.help) {
    process.stdout.write(HELP)
    return 0
  }
  if (inside) return await runAll(inside.scratch, settings, names)
  if (!needsRoot('bench:core', 'mounts the kernel overlay that overlay-core is measured beside')) return 2
  // As the server does.
  process.env.UV_THREADPOOL_SIZE = '16'
  return await startWithOwnMounts(import.meta.url, args, {
    name: 'bench',
    nodeArguments: ['--expose-gc'],
    on: settings.on ?? tmpdir(),
  })
}

async function runAll(scratch: string, settings: Settings, names: readonly string[]): Promise<number> {
  const { rounds, tiny, on, bars } = settings
  const disk = join(scratch, 'disk')
  const unmount = on === undefined ? mountDisk('ext4', disk) : undefined
  if (on !== undefined) mkdirSync(disk)
  try {
    await warmUp(disk)
    console.log(head())
    let missed = 0
    for (const [i, workload] of WORKLOADS.entries()) {
      if (!names.includes(workload.name)) continue
      const dir = join(workload.disk === 'xfs' ? scratch : disk, String(i))
      const end = workload.disk === 'xfs' ? mountDisk('xfs', dir) : undefined
      if (!end) mkdirSync(dir)
      try {
        const result = await measure(workload, join(dir, 'own'), tiny ? TINY : FULL, rounds)
        if (!tiny && !met(result)) missed++
        console.log(line(result, tiny))
      } finally {
        end?.()
      }
    }
    console.log(tiny ? 'everything runs' : `${missed} aims missed`)
    return bars && missed > 0 ? 1 : 0
  } finally {
    unmount?.()
  }
}

/** Brings the core to where it is in a running server: with its threads at work. */
async function warmUp(dir: string): Promise<void> {
  const fd = await openRoot(dir)
  for (let i = 0; i < WARM_UP_CALLS; i++) await statxFdAsking(fd)
  closeSync(fd)
}
