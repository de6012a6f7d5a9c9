import { execFileSync } from 'node:child_process'
import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Attr, ChangeInfo, Cred } from '../../../overlay-core/index.ts'
import {
  ALICE,
  at,
  errnoOf,
  list,
  onDisk,
  put,
  ROOT,
  takesXattrs,
  text,
  withOverlay,
  xattrOnDisk,
} from '../../helpers/overlay.ts'

t.test('setattr changes the requested attributes, with nanoseconds, and nothing else', async (t) => {
  await withOverlay(t, [{ file: 'content', link: '-> file' }], async ({ overlay, upper }) => {
    const inode = await at(overlay, 'file')
    const mtime = { sec: -5, nsec: 123_456_789 }
    const attr = await overlay.setattr(ROOT, inode, { mode: 0o4711, uid: 7, gid: 8, mtime })
    t.same([attr.mode, attr.uid, attr.gid, attr.mtime], [0o4711, 7, 8, mtime])
    const cut = await overlay.setattr(ROOT, inode, { size: 3 })
    t.equal(cut.size, 3)
    t.equal(readFileSync(join(upper, 'file'), 'latin1'), 'con')
    const link = await overlay.setattr(ROOT, await at(overlay, 'link'), { uid: 9, mtime: { sec: 1, nsec: 2 } })
    t.same([link.uid, link.mtime], [9, { sec: 1, nsec: 2 }])
    t.equal(statSync(join(upper, 'file')).uid, 7, 'a symlink is not followed')
    t.equal(await errnoOf(async () => overlay.setattr(ROOT, overlay.root, { size: 0 })), 'EISDIR')
    t.equal(await errnoOf(() => overlay.setattr(ROOT, inode, { size: -1 })), 'EINVAL')
  })
})

t.test('a guard that throws changes nothing', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay, upper }) => {
    const inode = await at(overlay, 'file')
    await t.rejects(
      overlay.setattr(ROOT, inode, { mode: 0 }, {}, () => {
        throw new Error('stale guard')
      }),
      /stale guard/,
    )
    t.same(onDisk(upper), [])
  })
})

t.test('a guard on the ctime is not affected by the copy-up that the call itself makes', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay }) => {
    const inode = await at(overlay, 'file')
    const { ctime } = await overlay.getattr(inode)
    const wcc: ChangeInfo = {}
    const guard = (now: Attr) => t.same(now.ctime, ctime)
    await overlay.setattr(ROOT, inode, { mode: 0o600 }, wcc, guard)
    t.same(wcc.before?.ctime, ctime)
    t.equal((await overlay.getattr(inode)).mode, 0o600)
  })
})

t.test('change info contains the attributes immediately before and after', async (t) => {
  await withOverlay(t, [{ 'd/file': 'x' }], async ({ overlay }) => {
    const dir = await at(overlay, 'd')
    const before = await overlay.getattr(dir)
    const wcc: ChangeInfo = {}
    await overlay.create(ROOT, dir, 'new', { mode: 0o644 }, wcc)
    t.same(wcc.before, before)
    t.same(wcc.after, await overlay.getattr(dir))
    const file = await at(overlay, 'd/new')
    const write: ChangeInfo = {}
    await overlay.write(ROOT, file, Buffer.from('abc'), 0, 'unstable', write)
    t.same([write.before?.size, write.after?.size], [0, 3])
    const apart: [ChangeInfo, ChangeInfo] = [{}, {}]
    await Promise.all(apart.map((w, i) => overlay.write(ROOT, file, Buffer.from('x'), 9 - i, 'unstable', w)))
    t.same(
      apart.map((w) => [w.before?.size, w.after?.size]),
      [
        [3, 10],
        [10, 10],
      ],
      'one after the other',
    )
  })
})

t.test('a staged file is invisible until it is published, and replaces in one step', async (t) => {
  await withOverlay(t, [{ 'd/page': { content: 'old', mode: 0o640 } }], async ({ overlay, upper, work }) => {
    const dir = await at(overlay, 'd')
    const old = await overlay.open(ROOT, await at(overlay, 'd/page'), { read: true })
    await overlay.setattr(ROOT, await at(overlay, 'd/page'), { uid: 55 })
    await overlay.setProtocolData(ROOT, await at(overlay, 'd/page'), 'dav', Buffer.from('note'))
    const staged = await overlay.stage(ROOT)
    await staged.append([Buffer.from('brand '), Buffer.from('new')])
    t.equal(staged.sizeBytes, 9)
    t.equal(await text(overlay, 'd/page'), 'old')
    const inode = await staged.publish({ dir, name: 'page', mode: 0o600, durable: true })
    t.equal(await text(overlay, 'd/page'), 'brand new')
    const attr = await overlay.getattr(inode)
    t.same([attr.mode, attr.uid], [0o640, 55], 'mode and owner carry over')
    t.equal(Buffer.from((await overlay.getProtocolData(ROOT, inode, 'dav')) ?? []).toString(), 'note')
    const buffer = Buffer.alloc(3)
    await old.read(buffer, 0, 3, 0)
    t.equal(buffer.toString(), 'old', 'who has the old one open keeps it')
    old.close()
    t.same(onDisk(join(upper, 'd')), ['page'])
    t.same(onDisk(join(work, 'work')), [])
  })
})

t.test('a staged file that is refused or discarded leaves nothing', async (t) => {
  await withOverlay(t, [{ 'd/dir/': '', f: 'x' }], async ({ overlay, work }) => {
    const dir = await at(overlay, 'd')
    const onDirectory = await overlay.stage(ROOT)
    t.equal(await errnoOf(() => onDirectory.publish({ dir, name: 'dir', mode: 0o644 })), 'EISDIR')
    const refused = await overlay.stage(ROOT)
    const check = () => {
      throw new Error('precondition')
    }
    await t.rejects(refused.publish({ dir, name: 'new', mode: 0o644, check }), /precondition/)
    const stranger = await overlay.stage(ALICE)
    t.equal(await errnoOf(() => stranger.publish({ dir: overlay.root, name: 'f', mode: 0o644 })), 'EACCES')
    const dropped = await overlay.stage(ROOT)
    await dropped.append([Buffer.from('x')])
    await dropped.discard()
    t.same(onDisk(join(work, 'work')), [])
    t.same(await list(overlay, 'd'), ['dir'])
  })
})

t.test('clients cannot use private names of extended attributes, and their own names are stored escaped', async (t) => {
  await withOverlay(t, [{ 'd/f': 'x' }], async ({ overlay, upper }) => {
    const file = await at(overlay, 'd/f')
    if (!takesXattrs()) {
      const set = () => overlay.setxattr(ROOT, file, 'user.mine', Buffer.from('1'))
      t.equal(await errnoOf(set), 'EOPNOTSUPP', 'as the storage says')
      return
    }
    await overlay.setxattr(ROOT, file, 'user.a', Buffer.from('1'))
    t.same(await overlay.listxattr(ROOT, file), ['user.a'], 'the origin is hidden')
    t.equal(await overlay.getxattr(ROOT, file, 'trusted.overlay.origin'), undefined)
    await overlay.setxattr(ROOT, await at(overlay, 'd'), 'trusted.overlay.opaque', Buffer.from('y'))
    t.equal(xattrOnDisk(join(upper, 'd'), 'trusted.overlay.overlay.opaque'), 'y')
    t.equal(
      xattrOnDisk(join(upper, 'd'), 'trusted.overlay.opaque'),
      undefined,
      'a client cannot mark a directory opaque',
    )
    t.same(await overlay.listxattr(ROOT, await at(overlay, 'd')), ['trusted.overlay.opaque'])
    t.equal(await errnoOf(() => overlay.setxattr(ALICE, file, 'trusted.x', Buffer.from('1'))), 'EPERM')
    t.equal(await errnoOf(() => overlay.setxattr(ALICE, file, 'security.capability', Buffer.from('1'))), 'EPERM')
    t.equal(await errnoOf(() => overlay.setxattr(ALICE, file, 'user.b', Buffer.from('1'))), 'EACCES')
    t.equal(await errnoOf(() => overlay.setxattr(ROOT, file, 'user.a', Buffer.from('1'), 'create')), 'EEXIST')
    t.equal(await errnoOf(() => overlay.setxattr(ROOT, file, 'user.c', Buffer.from('1'), 'replace')), 'ENODATA')
    await overlay.removexattr(ROOT, file, 'user.a')
    t.equal(await errnoOf(() => overlay.removexattr(ROOT, file, 'user.a')), 'ENODATA')
  })
})

t.test('protocol data follows the object, and no client sees it', async (t) => {
  await withOverlay(t, [{ 'd/f': 'x' }], async (fixture) => {
    const { overlay } = fixture
    await overlay.setProtocolData(ROOT, await at(overlay, 'd/f'), 'dav', Buffer.from('properties'))
    await overlay.rename(ROOT, await at(overlay, 'd'), 'f', overlay.root, 'g')
    const again = await fixture.remount()
    const moved = await at(again, 'g')
    t.equal(Buffer.from((await again.getProtocolData(ROOT, moved, 'dav')) ?? []).toString(), 'properties')
    t.same(await again.listxattr(ROOT, moved), [])
    await again.setProtocolData(ROOT, moved, 'dav', undefined)
    t.equal(await again.getProtocolData(ROOT, moved, 'dav'), undefined)
  })
})

t.test('the owner may read and write without permission bits, because the server sees no open', async (t) => {
  await withOverlay(t, [{ 'd/': { mode: 0o777 } }], async ({ overlay }) => {
    const dir = await at(overlay, 'd')
    await overlay.create(ALICE, dir, 'mine', { mode: 0o000 })
    await put(overlay, 'd/mine', 'data', ALICE)
    t.equal(await text(overlay, 'd/mine', ALICE), 'data')
    t.equal(await errnoOf(() => text(overlay, 'd/mine', { uid: 1001, gid: 1001, groups: [] })), 'EACCES')
  })
})

t.test('after unmount every call fails with ESTALE', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const { overlay } = fixture
    const file = await at(overlay, 'f')
    await fixture.remount()
    t.equal(await errnoOf(() => overlay.getattr(file)), 'ESTALE')
    t.equal(await errnoOf(() => overlay.write(ROOT, file, Buffer.from('x'), 0, 'file')), 'ESTALE')
  })
})

t.test('no caller can set the size of a directory', async (t) => {
  await withOverlay(t, [{ 'd/': { mode: 0o700 } }], async ({ overlay }) => {
    t.equal(await errnoOf(async () => overlay.setattr(ALICE, await at(overlay, 'd'), { size: 0 })), 'EISDIR')
  })
})

t.test('an attribute of an unknown namespace is refused, but a missing permission is reported first', async (t) => {
  await withOverlay(t, [{ file: 'x' }], async ({ overlay }) => {
    const file = await at(overlay, 'file')
    const set = (cred: Cred) => errnoOf(() => overlay.setxattr(cred, file, 'odd.name', Buffer.from('v')))
    t.same([await set(ALICE), await set(ROOT)], ['EACCES', 'EOPNOTSUPP'])
  })
})

t.test('an open file can be resized whatever its mode is now, and its times are updated', async (t) => {
  await withOverlay(t, [{ file: { content: 'content', mode: 0o666 } }], async ({ overlay }) => {
    const file = await at(overlay, 'file')
    const handle = await overlay.open(ALICE, file, { write: true })
    await overlay.setattr(ROOT, file, { mode: 0o600, mtime: { sec: 5, nsec: 0 } })
    t.equal(await errnoOf(() => overlay.setattr(ALICE, file, { size: 7 })), 'EACCES')
    await handle.truncate(7)
    const { size, mtime } = await handle.getattr()
    t.equal(size, 7)
    t.ok(mtime.sec > 5, 'as ftruncate(2), also where the size stays')
    await handle.truncate(3)
    t.equal(await text(overlay, 'file'), 'con')
    handle.close()
    const reader = await overlay.open(ROOT, file, { read: true })
    t.equal(await errnoOf(() => reader.truncate(0)), 'EBADF')
    reader.close()
  })
})

t.test('reading does not change access times, also of upper files and directories', async (t) => {
  await withOverlay(t, [{ 'd/lower': 'x' }], async ({ overlay, upper, lowers }) => {
    const made = await overlay.create(ROOT, await at(overlay, 'd'), 'made', { mode: 0o644 })
    await overlay.write(ROOT, made, Buffer.from('x'), 0, 'unstable')
    const paths = [
      join(upper, 'd'),
      join(upper, 'd/made'),
      join(lowers[0] as string, 'd'),
      join(lowers[0] as string, 'd/lower'),
    ]
    execFileSync('touch', ['-a', '-d', '@1', ...paths])
    for (const path of ['d/made', 'd/lower']) t.equal(await text(overlay, path), 'x')
    t.same(await list(overlay, 'd'), ['lower', 'made'])
    t.same(
      paths.map((path) => statSync(path).atimeMs),
      [1000, 1000, 1000, 1000],
    )
  })
})

t.test('reads off the event loop return the present data, also after a copy-up', async (t) => {
  await withOverlay(t, [{ file: 'lower' }], async ({ overlay }) => {
    const inode = await at(overlay, 'file')
    const file = await overlay.open(ROOT, inode, { read: true })
    const buffer = Buffer.alloc(8, '-')
    t.equal(await file.readAside(buffer, 1, 7, 1), 4)
    t.equal(buffer.toString(), '-ower---')
    await overlay.write(ROOT, inode, Buffer.from('UPPER'), 0, 'unstable')
    t.equal(await file.readAside(buffer, 0, 8, 0), 5)
    t.equal(buffer.toString(), 'UPPER---')
    t.equal(await file.readAside(buffer, 0, 8, 5), 0)
    file.close()
    const writer = await overlay.open(ROOT, inode, { write: true })
    await t.rejects(writer.readAside(buffer, 0, 8, 0), { code: 'EBADF' })
    writer.close()
  })
})
