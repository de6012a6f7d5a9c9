import { mkdirSync, writeFileSync } from 'node:fs'
import { HandleLog } from '../../overlay-core/objects/handle-log.ts'
import { O_CREAT, O_RDWR } from '../../overlay-core/sys/flags.ts'
import { closeSync, openAt, openRoot } from '../../overlay-core/sys/open.ts'
import { statxFd } from '../../overlay-core/sys/stat.ts'
import * as native from '../differential/native.ts'
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
  const fd = await openAt(dirFd, 'handles', O_RDWR | O_CREAT, 0o600)
  const log = await HandleLog.open(fd, statxFd(fd).size)
  for (let i = 0; i < DEAD_RECORDS; i++) log.put({ key: 2 ** 50, generation: 1, dirKey: 2 ** 50 + 1, name: 'dead' })
  await log.sync()
  closeSync(fd)
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
]
