import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mount, type Overlay, OverlayError, parseOptions } from '../../../overlay-core/index.ts'
import { at, errnoOf, list, ROOT } from '../../helpers/overlay.ts'
import { mountStorage, type StorageKind } from '../../helpers/storage.ts'

const runsAsRoot = process.geteuid?.() === 0

/** What clients see of an object, and how they come back to it. */
interface Seen {
  readonly mode: number
  readonly uid: number
  readonly gid: number
  readonly fileId: string
  readonly key: number
  readonly generation: number
}

async function see(overlay: Overlay, path: string): Promise<Seen> {
  const inode = await at(overlay, path)
  overlay.retain(inode)
  const { mode, uid, gid, fileIdHi, fileIdLo } = await overlay.getattr(inode)
  return { mode, uid, gid, fileId: `${fileIdHi}:${fileIdLo}`, key: inode.key, generation: inode.generation }
}

async function byHandle(overlay: Overlay, { key, generation }: Seen): Promise<string> {
  try {
    const inode = await overlay.inodeByKey(key, generation)
    const { size } = await overlay.getattr(inode)
    const buffer = Buffer.alloc(size)
    return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, size, 0))
  } catch (error) {
    if (error instanceof OverlayError && error.code === 'ESTALE') return 'ESTALE'
    throw error
  }
}

for (const kind of ['tmpfs', 'ramfs', 'exfat'] satisfies StorageKind[]) {
  t.test(
    `an upper on ${kind} that has turned read-only is served with all that was noted of it`,
    {
      skip: !runsAsRoot && 'mounts',
    },
    async (t) => {
      const lower = t.testdir({ kept: 'kept\n', gone: 'gone\n', dir: { inner: 'inner\n' } })
      const storage = await mountStorage(kind)
      t.teardown(() => storage.unmount())
      const [upper, work] = [join(storage.dir, 'upper'), join(storage.dir, 'work')]
      for (const dir of [upper, work]) mkdirSync(dir)
      const open = () => mount(parseOptions(`lowerdir=${lower},upperdir=${upper},workdir=${work}`))
      const before = await open()
      const inode = await before.create(ROOT, before.root, 'own', { mode: 0o600 })
      await before.write(ROOT, inode, Buffer.from('own\n'), 0, 'file')
      await before.setattr(ROOT, inode, { uid: 1000, gid: 1001 })
      await before.setattr(ROOT, await at(before, 'kept'), { mode: 0o640 })
      await before.unlink(ROOT, before.root, 'gone')
      await before.rename(ROOT, before.root, 'dir', before.root, 'moved')
      await before.setattr(ROOT, before.root, { mode: 0o777 })
      const names = ['own', 'kept', 'moved/inner']
      const seen = await Promise.all(names.map((name) => see(before, name)))
      await before.retained()
      await before.unmount()
      // Something of which the overlay has noted nothing.
      writeFileSync(join(upper, 'strange'), 'strange\n')
      execFileSync('mount', ['--bind', storage.dir, storage.dir])
      execFileSync('mount', ['-o', 'remount,bind,ro', storage.dir])
      let strange: Seen
      try {
        const during = await open()
        t.ok(during.readOnly)
        t.match(during.notices.join('\n'), /the file system of the upper is read-only, so the overlay is read-only too/)
        t.same((await list(during)).sort(), ['kept', 'moved', 'own', 'strange'])
        t.same(await list(during, 'moved'), ['inner'])
        t.same(await Promise.all(seen.map((one) => byHandle(during, one))), ['own\n', 'kept\n', 'inner\n'])
        t.same(await Promise.all(names.map((name) => see(during, name))), seen)
        strange = await see(during, 'strange')
        t.equal(await byHandle(during, strange), 'strange\n')
        t.equal(await errnoOf(async () => during.unlink(ROOT, during.root, 'own')), 'EROFS')
        for (const uid of [0, 1000]) {
          const cred = { uid, gid: uid, groups: [] }
          t.equal(await errnoOf(async () => during.create(cred, during.root, 'new', { mode: 0o600 })), 'EROFS')
        }
        t.equal(await errnoOf(async () => during.setattr(ROOT, await at(during, 'kept'), { mode: 0o777 })), 'EROFS')
        await during.unmount()
      } finally {
        execFileSync('umount', [storage.dir])
      }
      const after = await open()
      t.notOk(after.readOnly)
      t.match(await byHandle(after, strange), /^(ESTALE|strange\n)$/)
      t.same(await Promise.all(names.map((name) => see(after, name))), seen)
      await after.unlink(ROOT, after.root, 'strange')
      await after.unmount()
    },
  )
}
