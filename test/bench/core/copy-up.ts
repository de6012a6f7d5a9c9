import {
  closeSync,
  constants,
  copyFileSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readSync,
  rmSync,
  statSync,
  utimesSync,
  writeSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import { syncfs } from '../../../overlay-core/sys/data.ts'
import { type Prepared, type Sizes, timed, type Workload } from './measure.ts'
import { fillDirectory, lookUp, makeWorld, nameOf, ROOT } from './world.ts'

/** Copied up before what is measured: a server that runs has done so before, and the kernel has always. */
const WARM_FILES = 100

/** How many files of how many bytes. */
type Load = (sizes: Sizes) => { count: number; bytes: number }

/** Copy-ups, one after the other: what is timed is the open for writing that makes one. */
export function copyUps(label: string, load: Load): Workload {
  return {
    name: `copy-up of ${label}`,
    unit: 'time',
    aim: { of: 'ratio', most: 1.1 },
    prepare: (dir, sizes) => prepareCopies(dir, load(sizes)),
  }
}

/** The same on a file system where files share blocks. */
export function sharedCopyUps(label: string, load: Load): Workload {
  return { ...copyUps(label, load), name: `copy-up of ${label}, by reflink`, disk: 'xfs' }
}

async function prepareCopies(at: string, { count, bytes }: ReturnType<Load>): Promise<Prepared> {
  const world = await makeWorld(join(at, 'world'), 1, ([lower]) => {
    fillDirectory(join(lower!, 'warm'), WARM_FILES, 'warm')
    mkdirSync(join(lower!, 'd'))
    for (let i = 0; i < count; i++) fillFile(join(lower!, 'd', nameOf(i)), bytes)
  })
  const paths = Array.from({ length: count }, (_, i) => join(world.lowers[0]!, 'd', nameOf(i)))
  const plainDir = join(at, 'plain')
  // All sides read what the page cache has, and none waits for what another has left to be written.
  const calm = async () => {
    for (const path of paths) readAll(path)
    const fd = openSync(at, 'r')
    await syncfs(fd)
    closeSync(fd)
  }
  return {
    sides: {
      plain: async () => {
        rmSync(plainDir, { recursive: true, force: true })
        mkdirSync(plainDir)
        await calm()
        return await timed(count, () => {
          for (const path of paths) copyDurably(path, join(plainDir, basename(path)))
        })
      },
      kernel: async () => {
        await world.fresh()
        await calm()
        const files = paths.map((_, i) => join(world.mountPoint, 'd', nameOf(i)))
        for (const file of files) statSync(file)
        for (let i = 0; i < WARM_FILES; i++) closeSync(openSync(join(world.mountPoint, 'warm', nameOf(i)), 'r+'))
        return await timed(count, () => {
          for (const file of files) closeSync(openSync(file, 'r+'))
        })
      },
      core: async () => {
        await world.fresh()
        await calm()
        const { overlay } = world
        const directory = await lookUp(overlay, world.root, 'd')
        const inodes: Inode[] = []
        for (let i = 0; i < count; i++) inodes.push(await lookUp(overlay, directory, nameOf(i)))
        for (const inode of inodes) await overlay.getattr(inode)
        const warm = await lookUp(overlay, world.root, 'warm')
        for (let i = 0; i < WARM_FILES; i++) await openForWriting(overlay, await lookUp(overlay, warm, nameOf(i)))
        return await timed(count, async () => {
          for (const inode of inodes) await openForWriting(overlay, inode)
        })
      },
    },
    cleanUp: async () => {
      rmSync(plainDir, { recursive: true, force: true })
      await world.cleanUp()
    },
  }
}

async function openForWriting(overlay: Overlay, inode: Inode): Promise<void> {
  ;(await overlay.open(ROOT, inode, { write: true })).close()
}

/** What a program of its own would do: copy, sync the data, give the copy the times. */
function copyDurably(from: string, to: string): void {
  copyFileSync(from, to, constants.COPYFILE_FICLONE)
  const fd = openSync(to, 'r+')
  fsyncSync(fd)
  closeSync(fd)
  const { atime, mtime } = statSync(from)
  utimesSync(to, atime, mtime)
}

function fillFile(path: string, bytes: number): void {
  const content = Buffer.alloc(Math.min(bytes, 1024 ** 2), 'content ')
  const fd = openSync(path, 'w')
  for (let at = 0; at < bytes; at += content.length) writeSync(fd, content, 0, Math.min(content.length, bytes - at), at)
  closeSync(fd)
}

function readAll(path: string): void {
  const fd = openSync(path, 'r')
  const buffer = Buffer.allocUnsafe(1024 ** 2)
  while (readSync(fd, buffer) > 0);
  closeSync(fd)
}
