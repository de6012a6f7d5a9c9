import { writeFileSync } from 'node:fs'
import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { renameAt, symlinkAt, unlinkAt } from '../../../overlay-core/sys/dir.ts'
import { O_DIRECTORY, O_PATH } from '../../../overlay-core/sys/flags.ts'
import { nameToHandle, openByHandle } from '../../../overlay-core/sys/handle.ts'
import { closeSync, openAt, openRoot } from '../../../overlay-core/sys/open.ts'
import { statxFd } from '../../../overlay-core/sys/stat.ts'
import { held, needsRoot, scratchDir } from './scratch-dir.ts'

t.test('a handle is the same by name and by descriptor, and another for another file', async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  writeFileSync(`${path}/other`, '')
  const handle = await nameToHandle(fd, 'file')
  if (handle === undefined) return t.comment('the file system gives no handles')
  t.same(await nameToHandle(held(t, await openAt(fd, 'file', O_PATH)), ''), handle)
  t.notSame(await nameToHandle(fd, 'other'), handle)
  await t.rejects(nameToHandle(fd, 'none'), { code: 'ENOENT', op: 'name_to_handle_at' })
  await t.rejects(nameToHandle(fd, '../x'), { code: 'EINVAL' })
})

t.test('a handle finds its file after a rename, and never after its removal', { skip: needsRoot }, async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  const handle = await nameToHandle(fd, 'file')
  if (handle === undefined) return t.comment('the file system gives no handles')
  await renameAt(fd, 'file', fd, 'moved')
  const inode = statxFd(held(t, await openAt(fd, 'moved', O_PATH))).ino
  const readable = held(t, await openAt(fd, '.', O_DIRECTORY))
  for (const mount of [fd, readable]) {
    const file = await openByHandle(mount, handle.type, handle.bytes, O_PATH)
    t.equal(statxFd(file).ino, inode)
    closeSync(file)
  }
})

t.test('the handle of a removed file is stale, and an invalid handle is refused', { skip: needsRoot }, async (t) => {
  const { fd, path } = await scratchDir(t)
  writeFileSync(`${path}/file`, '')
  const handle = await nameToHandle(fd, 'file')
  if (handle === undefined) return t.comment('the file system gives no handles')
  await unlinkAt(fd, 'file')
  await t.rejects(openByHandle(fd, handle.type, handle.bytes, O_PATH), { code: 'ESTALE', op: 'open_by_handle_at' })
  await t.rejects(openByHandle(fd, 77, new Uint8Array(8), O_PATH), { code: 'ESTALE' })
  await t.rejects(openByHandle(fd, 1, new Uint8Array(129), O_PATH), { code: 'EINVAL' })
})

t.test('a symlink has a handle of its own', { skip: needsRoot }, async (t) => {
  const { fd } = await scratchDir(t)
  await symlinkAt(Buffer.from('/etc'), fd, 'link')
  const handle = await nameToHandle(fd, 'link')
  if (handle === undefined) return t.comment('the file system gives no handles')
  t.equal(statxFd(held(t, await openByHandle(fd, handle.type, handle.bytes, O_PATH))).type, FileType.symlink)
})

t.test('a file system without handles gives undefined', async (t) => {
  const proc = held(t, await openRoot('/proc'))
  t.equal(await nameToHandle(proc, 'self'), undefined)
})
