import { execFileSync } from 'node:child_process'
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
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { basename, join } from 'node:path'
import type { Inode } from '../../../overlay-core/index.ts'
import { syncfs } from '../../../overlay-core/sys/data.ts'
import * as native from '../../differential/native.ts'
import { type Prepared, type Sizes, timed, type Workload } from './measure.ts'
import { lookUp, makeWorld, nameOf, ROOT } from './world.ts'

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

/** The same on an xfs of its own, where files can share blocks. */
export function reflinkedCopyUps(label: string, load: Load): Workload {
  return {
    name: `copy-up of ${label}, by reflink`,
    unit: 'time',
    aim: { of: 'ratio', most: 1.1 },
    async prepare(dir, sizes) {
      const image = join(dir, 'xfs.img')
      const at = join(dir, 'xfs')
      mkdirSync(at)
      writeFileSync(image, '')
      truncateSync(image, 4 * 1024 ** 3)
      execFileSync('mkfs.xfs', ['-q', '-m', 'reflink=1', image])
      execFileSync('mount', ['-o', 'loop', image, at])
      const done = () => {
        native.umount(at)
        rmSync(image)
      }
      try {
        const prepared = await prepareCopies(at, load(sizes))
        return { ...prepared, cleanUp: async () => prepared.cleanUp().finally(done) }
      } catch (error) {
        done()
        throw error
      }
    },
  }
}

async function prepareCopies(at: string, { count, bytes }: ReturnType<Load>): Promise<Prepared> {
  const world = await makeWorld(join(at, 'world'), 1, ([lower]) => {
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
        return await timed(count, async () => {
          for (const inode of inodes) (await overlay.open(ROOT, inode, { write: true })).close()
        })
      },
    },
    cleanUp: async () => {
      rmSync(plainDir, { recursive: true, force: true })
      await world.cleanUp()
    },
  }
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
