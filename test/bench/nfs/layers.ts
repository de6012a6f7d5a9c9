import { mkdir, open, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './processes.ts'

/** The directories that are measured, by where their files lie: in the lower, in the upper, and in the upper after a copy-up. */
export const KINDS = ['lower', 'upper', 'copied'] as const
export type Kind = (typeof KINDS)[number]

/** As in tree.h. */
const SMALL_FILES = 1000
const SMALL_BYTES = 4096
const BIG_BYTES = 32 * 1024 * 1024
const FACTOR = 0x9e3779b97f4a7c15n

/** The layers of one server. The lower is common to all. */
export interface BenchLayers {
  readonly lower: string
  readonly upper: string
  readonly work: string
}

/** Makes the lower with `lower` and `copied` (which the load then copies up), and a first upper with `upper`. */
export async function makeTrees(folder: string): Promise<void> {
  await fill(join(folder, 'lower', 'lower'))
  await fill(join(folder, 'lower', 'copied'))
  await fill(join(folder, 'upper-of-all', 'upper'))
}

/** Makes the whole tree in one place, for a server that somebody else runs. */
export async function makeTree(folder: string): Promise<void> {
  for (const kind of KINDS) await fill(join(folder, kind))
}

/** Layers for one more server: the common lower, and an upper of its own with the same files. */
export async function layersFor(folder: string, name: string): Promise<BenchLayers> {
  const layers = { lower: join(folder, 'lower'), upper: join(folder, name, 'upper'), work: join(folder, name, 'work') }
  await mkdir(layers.work, { recursive: true })
  await run('cp', ['-a', join(folder, 'upper-of-all'), layers.upper])
  return layers
}

/** Mounts a kernel overlay of `layers` on the folder `name` of `folder`, as a server of NFS needs it. Returns the mountpoint. */
export async function mountOverlay(
  folder: string,
  { lower, upper, work }: BenchLayers,
  name = 'kernel-overlay',
): Promise<string> {
  const mountpoint = join(folder, name)
  await mkdir(mountpoint, { recursive: true })
  const options = `lowerdir=${lower},upperdir=${upper},workdir=${work},nfs_export=on,index=on,redirect_dir=on`
  await run('mount', ['-t', 'overlay', 'overlay', '-o', options, mountpoint])
  return mountpoint
}

async function fill(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true })
  const small = patternOf(0, SMALL_BYTES)
  for (let i = 0; i < SMALL_FILES; i++) await writeFile(join(directory, `f${String(i).padStart(4, '0')}`), small)
  const big = await open(join(directory, 'big'), 'w')
  try {
    for (let at = 0; at < BIG_BYTES; at += 1024 * 1024) await big.write(patternOf(at, 1024 * 1024), 0, undefined, at)
  } finally {
    await big.close()
  }
}

/** As `fill_pattern` in tree.c. */
function patternOf(offset: number, length: number): Buffer {
  const words = new BigUint64Array(length / 8)
  for (let i = 0; i < words.length; i++) words[i] = BigInt.asUintN(64, BigInt(offset + 8 * i) * FACTOR + 1n)
  return Buffer.from(words.buffer)
}
