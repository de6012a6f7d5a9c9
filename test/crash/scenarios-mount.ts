import { mkdirSync, writeFileSync } from 'node:fs'
import { HandleFile } from '../../overlay-core/objects/handle-file.ts'
import { closeSync, openRoot } from '../../overlay-core/sys/open.ts'
import * as native from '../differential/native.ts'
import { toOldForm } from '../helpers/old-files.ts'
import { ROOT, type Scenario, type Step } from './scenario.ts'

/** An object whose identity was given away must be found by it for ever. */
const give =
  (path: string): Step =>
  async (a) => {
    const inode = await a.at(path)
    a.overlay.retain(inode)
    await a.overlay.retained()
    a.promised(inode.key, inode.generation)
  }

/** Records enough for the log to be rewritten at the next sync. */
const DEAD_RECORDS = 30_000

async function growHandleLog(dir: string): Promise<void> {
  const dirFd = await openRoot(`${dir}/work`)
  const file = await HandleFile.in(dirFd)
  const { log } = file
  for (let i = 0; i < DEAD_RECORDS; i++) log.put({ key: 2 ** 50, generation: 1, dirKey: 2 ** 50 + 1, name: 'dead' })
  await log.sync()
  file.close()
  closeSync(dirFd)
}

/** What crashes leave in a workdir: files, trees, directories with whiteouts. */
async function leaveLeftovers(dir: string): Promise<void> {
  mkdirSync(`${dir}/work/work/#1/a/b`, { recursive: true })
  writeFileSync(`${dir}/work/work/#1/a/f`, 'left over')
  writeFileSync(`${dir}/work/work/#2`, 'left over')
  native.whiteout(`${dir}/work/work/#1/w`)
  native.setxattr(
    `${dir}/work/work`,
    'system.posix_acl_default',
    Buffer.from('0200000001000700ffffffff04000500ffffffff20000500ffffffff', 'hex'),
  )
}

/** The mount itself, the end of it, and the log of handles. */
export const MOUNT: readonly Scenario[] = [
  { name: 'mount: the first one', mounts: 'first', steps: [(a) => a.create('new')] },
  {
    name: 'mount: over the leftovers of a crash',
    mounts: 'again',
    prepare: leaveLeftovers,
    steps: [(a) => a.unlink('file')],
  },
  {
    name: 'mount: after work, with an index',
    mounts: 'again',
    setup: async (a) => {
      await a.write('hard/one', 'ONE')
      await a.rename('dir', 'moved')
    },
    steps: [async (a) => await a.overlay.sync(), (a) => a.unlink('hard/two')],
  },
  { name: 'unmount', steps: [(a) => a.write('file', 'F'), async (a) => await a.overlay.unmount()] },
  {
    name: 'handles: given away, moved, removed',
    steps: [
      (a) => a.create('new'),
      give('new'),
      (a) => a.rename('new', 'dir/new'),
      (a) => a.link('dir/new', 'second'),
      (a) => a.unlink('dir/new'),
      (a) => a.rename('second', 'merged/low1', 'exchange'),
      async (a) => await a.overlay.commit(ROOT, await a.at('merged/low1')),
    ],
  },
  {
    name: 'handles: the log is rewritten',
    prepare: growHandleLog,
    mounts: 'again',
    steps: [give('plain'), async (a) => await a.overlay.sync(), (a) => a.rename('plain', 'dir/plain')],
  },
  {
    name: 'mount: a workdir of an earlier version',
    mounts: 'again',
    setup: async (a) => {
      await a.rename('dir', 'moved')
      await give('moved')(a)
      await give('hard/one')(a)
    },
    prepare: async (dir) => toOldForm(`${dir}/work`),
    steps: [give('plain'), (a) => a.rename('plain', 'moved/plain')],
  },
]
