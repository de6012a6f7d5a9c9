/**
 * Measures overlay-core beside plain `node:fs` and the kernel's overlay, over the same layers, in turn. Needs root.
 *
 *     npm run bench:core -- [--rounds N] [--on DIR] [--only TEXT] [--tiny]
 *
 * Prints the median of the rounds; the ratio is that of core to kernel. `--tiny` only tries whether everything runs.
 */
import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { copyUps, reflinkedCopyUps } from './copy-up.ts'
import { createUnlink, createUnlinkAtOnce } from './create.ts'
import { cachedGetattr, cachedLookup, coldLookup, firstListing, nextListing } from './lookup.ts'
import { FULL, measure, TINY, type Workload } from './measure.ts'
import { dentryMemory, namesMemory, treeWalk } from './memory.ts'
import { head, line, met } from './table.ts'

const INSIDE = 'OVERLAYD_BENCH_INSIDE'

const WORKLOADS: readonly Workload[] = [
  cachedLookup,
  cachedGetattr,
  coldLookup,
  firstListing,
  nextListing,
  createUnlink,
  createUnlinkAtOnce,
  copyUps('4 KiB', ({ smallFiles }) => ({ count: smallFiles, bytes: 4096 })),
  copyUps('1 MiB', ({ mediumFiles, mediumBytes }) => ({ count: mediumFiles, bytes: mediumBytes })),
  copyUps('1 GiB', ({ largeBytes }) => ({ count: 1, bytes: largeBytes })),
  reflinkedCopyUps('4 KiB', ({ smallFiles }) => ({ count: smallFiles, bytes: 4096 })),
  reflinkedCopyUps('1 MiB', ({ mediumFiles, mediumBytes }) => ({ count: mediumFiles, bytes: mediumBytes })),
  reflinkedCopyUps('1 GiB', ({ largeBytes }) => ({ count: 1, bytes: largeBytes })),
  namesMemory,
  dentryMemory,
  treeWalk,
]

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    on: { type: 'string', default: tmpdir() },
    only: { type: 'string', default: '' },
    tiny: { type: 'boolean', default: false },
  },
})

if (process.getuid?.() !== 0) {
  console.error('bench:core needs root: it mounts the kernel overlay that overlay-core is measured beside')
  process.exitCode = 2
} else if (process.env[INSIDE] === undefined) {
  process.exitCode = startInside()
} else {
  await runAll(process.env[INSIDE])
}

/** Runs the program again with mounts of its own, which go when it ends, in whatever way. */
function startInside(): number {
  const scratch = mkdtempSync(join(values.on, 'overlayd-bench-'))
  try {
    const args = [
      '--mount',
      '--propagation',
      'private',
      process.execPath,
      '--expose-gc',
      fileURLToPath(import.meta.url),
    ]
    const env = { ...process.env, [INSIDE]: scratch, UV_THREADPOOL_SIZE: '16' }
    return spawnSync('unshare', [...args, ...process.argv.slice(2)], { stdio: 'inherit', env }).status ?? 1
  } finally {
    rmSync(scratch, { recursive: true, force: true })
  }
}

async function runAll(scratch: string): Promise<void> {
  const rounds = Number(values.rounds)
  if (!Number.isInteger(rounds) || rounds < 1) throw new Error(`--rounds ${values.rounds}: a number from 1 on`)
  console.log(head())
  let missed = 0
  for (const [i, workload] of WORKLOADS.entries()) {
    if (!workload.name.includes(values.only)) continue
    const dir = join(scratch, String(i))
    mkdirSync(dir)
    const result = await measure(workload, dir, values.tiny ? TINY : FULL, rounds)
    if (!met(result)) missed++
    console.log(line(result))
  }
  console.log(`${missed} aims missed`)
}
