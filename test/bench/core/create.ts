import fs, { closeSync, mkdirSync, openSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import { timed, type Workload } from './measure.ts'
import { lookUp, makeWorld, nameOf, ROOT } from './world.ts'

const AT_ONCE = 64

/** One operation is both: a file is made and removed again, in a directory that a lower has too. */
export const createUnlink: Workload = {
  name: 'create + unlink',
  unit: 'time',
  async prepare(dir, { names: count }) {
    const world = await makeWorld(dir, 1, ([lower]) => mkdirSync(join(lower!, 'd')))
    const plainDir = join(dir, 'plain')
    mkdirSync(plainDir)
    mkdirSync(join(world.mountPoint, 'd/warm'))
    const directory = await lookUp(world.overlay, world.root, 'd')
    return {
      sides: {
        plain: () => timed(count, () => each(plainDir, count)),
        kernel: () => timed(count, () => each(join(world.mountPoint, 'd'), count)),
        core: () =>
          timed(count, async () => {
            for (let i = 0; i < count; i++) await makeAndRemove(world.overlay, directory, nameOf(i))
          }),
      },
      cleanUp: () => world.cleanUp(),
    }
  },
}

/** The same with many callers in one directory: `node:fs` by its asynchronous calls. */
export const createUnlinkAtOnce: Workload = {
  name: `create + unlink, ${AT_ONCE} at once`,
  unit: 'time',
  async prepare(dir, { names: count }) {
    const world = await makeWorld(dir, 1, ([lower]) => mkdirSync(join(lower!, 'd')))
    const plainDir = join(dir, 'plain')
    mkdirSync(plainDir)
    mkdirSync(join(world.mountPoint, 'd/warm'))
    const directory = await lookUp(world.overlay, world.root, 'd')
    const byNode = (at: string) => timed(count, () => atOnce(count, (name) => makeAndRemoveByNode(join(at, name))))
    return {
      sides: {
        plain: () => byNode(plainDir),
        kernel: () => byNode(join(world.mountPoint, 'd')),
        core: () => timed(count, () => atOnce(count, (name) => makeAndRemove(world.overlay, directory, name))),
      },
      cleanUp: () => world.cleanUp(),
    }
  },
}

function each(dir: string, count: number): void {
  for (let i = 0; i < count; i++) {
    const path = join(dir, nameOf(i))
    closeSync(openSync(path, 'wx', 0o644))
    unlinkSync(path)
  }
}

async function makeAndRemove(overlay: Overlay, dir: Inode, name: string): Promise<void> {
  await overlay.create(ROOT, dir, name, { mode: 0o644 })
  await overlay.unlink(ROOT, dir, name)
}

function makeAndRemoveByNode(path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const then = (next: () => void) => (error: Error | null) => (error ? reject(error) : next())
    fs.open(path, 'wx', 0o644, (error, fd) => {
      if (error) return reject(error)
      fs.close(
        fd,
        then(() => fs.unlink(path, then(resolve))),
      )
    })
  })
}

/** Runs `work` for `count` names, `AT_ONCE` of them at a time. */
async function atOnce(count: number, work: (name: string) => Promise<void>): Promise<void> {
  let next = 0
  const worker = async () => {
    while (next < count) await work(nameOf(next++))
  }
  await Promise.all(Array.from({ length: AT_ONCE }, worker))
}
