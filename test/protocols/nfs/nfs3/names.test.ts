import { existsSync, lstatSync, readFileSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../../../helpers/nfs-client.ts'
import { onDisk, xattrOnDisk } from '../../../helpers/overlay.ts'
import { withNfs } from '../nfs-fixture.ts'

t.test('LOOKUP finds names of all layers and gives both attributes', async (t) => {
  await withNfs(t, [{ 'd/top': 'T' }, { 'd/bottom': 'B', 'd/top': 'hidden' }], async ({ client, root }) => {
    const dir = await client.walk(root, 'd')
    const top = await client.lookup(dir, 'top')
    t.match(top, { status: STATUS.OK, attr: { type: 1, size: 1 }, dirAttr: { type: 2 } })
    t.equal((await client.read(top.handle!, 0, 10)).data.toString(), 'T')
    t.equal((await client.lookup(dir, 'bottom')).status, STATUS.OK)
    const absent = await client.lookup(dir, 'absent')
    t.match(absent, { status: STATUS.NOENT, dirAttr: { type: 2 } })
  })
})

t.test('LOOKUP of "." and ".." gives the directory and its parent, the root being its own', async (t) => {
  await withNfs(t, [{ 'a/b/': '' }], async ({ client, root }) => {
    const a = await client.walk(root, 'a')
    const b = await client.walk(a, 'b')
    t.same((await client.lookup(b, '.')).handle, b)
    t.same((await client.lookup(b, '..')).handle, a)
    t.same((await client.lookup(a, '..')).handle, root)
    t.same((await client.lookup(root, '..')).handle, root, 'no way out of the export')
    t.same((await client.lookup(root, '.')).handle, root)
  })
})

t.test('LOOKUP needs a directory, search permission and a possible name', async (t) => {
  await withNfs(t, [{ file: '', 'locked/': { mode: 0o700 }, 'locked/x': '' }], async ({ client, root }) => {
    const [file, locked] = [await client.walk(root, 'file'), await client.walk(root, 'locked')]
    t.equal((await client.lookup(file, 'x')).status, STATUS.NOTDIR)
    t.equal((await client.lookup(file, '..')).status, STATUS.NOTDIR)
    t.equal((await client.as(1000).lookup(locked, 'x')).status, STATUS.ACCES)
    for (const name of ['', 'a/b', 'a\0b', '/']) t.equal((await client.lookup(root, name)).status, STATUS.ACCES)
    t.equal((await client.lookup(root, 'n'.repeat(255))).status, STATUS.NOENT)
    t.equal((await client.lookup(root, 'n'.repeat(256))).status, STATUS.NAMETOOLONG)
    t.equal((await client.lookup(root, 'n'.repeat(60_000))).status, STATUS.NAMETOOLONG)
  })
})

t.test('names of any bytes come and go unchanged', async (t) => {
  await withNfs(t, [{}], async ({ client, root, upper }) => {
    const names = ['\xff\xfe', ' ', '-', '...', '\n', 'é', '\x01\x7f\x80', 'C:\\x', 'n'.repeat(255)]
    for (const name of names) t.equal((await client.create(root, name)).status, STATUS.OK)
    const listed = (await client.list(root)).map(({ name }) => name).filter((name) => name !== '.' && name !== '..')
    t.same(listed.sort(), [...names].sort())
    for (const name of names) t.ok(existsSync(Buffer.concat([Buffer.from(`${upper}/`), Buffer.from(name, 'latin1')])))
    for (const name of names) t.equal((await client.remove(root, name)).status, STATUS.OK)
    t.same(onDisk(upper), [])
  })
})

t.test('CREATE unchecked makes a file, or takes the one that is there with a new size', async (t) => {
  await withNfs(t, [{ old: 'content', 'dir/': '', link: '-> old' }], async ({ client, root, upper }) => {
    const made = await client.create(root, 'new', { mode: 'unchecked', attr: { mode: 0o640, uid: 5, gid: 6 } })
    t.match(made, { status: STATUS.OK, attr: { mode: 0o640, uid: 5, gid: 6, size: 0, type: 1 } })
    t.ok(made.wcc?.before && made.wcc.after, 'with both sides of the directory')
    t.equal(lstatSync(join(upper, 'new')).mode & 0o7777, 0o640)

    const kept = await client.create(root, 'old', { mode: 'unchecked', attr: { mode: 0o600 } })
    t.match(kept, { status: STATUS.OK, attr: { size: 7 } })
    t.not(kept.attr?.mode, 0o600, 'only the size applies')
    t.same(onDisk(upper), ['new'], 'nothing was copied up for it')
    const cut = await client.create(root, 'old', { mode: 'unchecked', attr: { size: 0 } })
    t.match(cut, { status: STATUS.OK, attr: { size: 0 } })
    t.equal((await client.create(root, 'dir', { mode: 'unchecked' })).status, STATUS.EXIST)
    t.equal((await client.create(root, 'link', { mode: 'unchecked' })).status, STATUS.EXIST)
  })
})

t.test('CREATE guarded refuses an existing name', async (t) => {
  await withNfs(t, [{ old: 'content' }], async ({ client, root, upper }) => {
    t.equal((await client.create(root, 'old')).status, STATUS.EXIST)
    t.equal((await client.create(root, 'new')).status, STATUS.OK)
    t.same(onDisk(upper), ['new'])
  })
})

t.test('CREATE exclusive may be repeated with the same verifier, not with another', async (t) => {
  await withNfs(t, [{}], async ({ client, root, upper, connect }) => {
    const verifier = Buffer.from('fedcba9876543210', 'hex')
    const first = await client.create(root, 'file', { mode: 'exclusive', verifier })
    t.equal(first.status, STATUS.OK)
    const other = await connect()
    const again = await other.create(root, 'file', { mode: 'exclusive', verifier })
    t.match(again, { status: STATUS.OK, handle: first.handle })
    const another = await other.create(root, 'file', { mode: 'exclusive', verifier: Buffer.alloc(8, 1) })
    t.equal(another.status, STATUS.EXIST)
    t.same(onDisk(upper), ['file'])
    await client.write(first.handle!, 0, Buffer.from('x'))
    t.equal((await other.create(root, 'file', { mode: 'exclusive', verifier })).status, STATUS.EXIST, 'in use by now')
  })
})

t.test('MKDIR, SYMLINK and MKNOD make what they say, owned by the caller', async (t) => {
  await withNfs(t, [{ 'home/': { mode: 0o777 } }], async ({ client, root, upper }) => {
    const alice = client.as(1000, 1001)
    const home = await client.walk(root, 'home')
    t.match(await alice.mkdir(home, 'dir', { mode: 0o750 }), {
      status: STATUS.OK,
      attr: { type: 2, mode: 0o750, uid: 1000, gid: 1001, nlink: 2 },
    })
    t.match(await alice.symlink(home, 'link', 'to/nowhere'), {
      status: STATUS.OK,
      attr: { type: 5, uid: 1000, size: 10 },
    })
    t.match(await alice.mknod(home, 'fifo', 7, { mode: 0o620 }), { status: STATUS.OK, attr: { type: 7, mode: 0o620 } })
    t.equal((await alice.mknod(home, 'disk', 4, {}, [8, 0])).status, STATUS.ACCES, 'devices are for root')
    t.equal((await client.mknod(home, 'whiteout', 4, {}, [0, 0])).status, STATUS.ACCES, 'a whiteout is not for clients')
    t.equal((await client.mknod(home, 'file', 1)).status, STATUS.BADTYPE)
    t.equal((await client.mknod(home, 'dir2', 2)).status, STATUS.BADTYPE)
    t.equal((await client.mknod(home, 'odd', 99)).status, STATUS.BADTYPE)
    t.same(onDisk(join(upper, 'home')), ['dir/', 'fifo', 'link'])
    t.equal(readlinkSync(join(upper, 'home/link')), 'to/nowhere')
    t.ok(lstatSync(join(upper, 'home/fifo')).isFIFO())
  })
})

t.test('REMOVE and RMDIR leave whiteouts for what is below', async (t) => {
  await withNfs(t, [{ 'd/file': 'x', 'e/': '', 'full/x': '' }], async ({ client, root, upper }) => {
    const d = await client.walk(root, 'd')
    const removed = await client.remove(d, 'file')
    t.equal(removed.status, STATUS.OK)
    t.ok(removed.wcc?.before && removed.wcc.after)
    t.same(onDisk(join(upper, 'd')), ['!file'])
    t.equal((await client.lookup(d, 'file')).status, STATUS.NOENT)
    t.equal((await client.rmdir(root, 'e')).status, STATUS.OK)
    t.equal((await client.rmdir(root, 'd')).status, STATUS.OK, 'only a whiteout is in it')
    t.same(onDisk(upper), ['!d', '!e'])
    t.equal((await client.rmdir(root, 'full')).status, STATUS.NOTEMPTY)
    t.equal((await client.remove(root, 'd')).status, STATUS.NOENT)
    t.equal((await client.rmdir(root, 'd')).status, STATUS.NOENT)
  })
})

t.test('REMOVE of a directory and RMDIR of a file are refused', async (t) => {
  await withNfs(t, [{ 'dir/': '', file: '' }], async ({ client, root, upper }) => {
    t.equal((await client.remove(root, 'dir')).status, STATUS.ACCES)
    t.equal((await client.rmdir(root, 'file')).status, STATUS.NOTDIR)
    t.same(onDisk(upper), [])
  })
})

t.test('RENAME moves a lower directory by redirect, over existing, and its handles stay valid', async (t) => {
  await withNfs(t, [{ 'from/deep/file': 'x', 'to/': '', victim: 'v', file: 'f' }], async ({ client, root, upper }) => {
    const to = await client.walk(root, 'to')
    const file = await client.walk(root, 'from/deep/file')
    const answer = await client.rename(root, 'from', to, 'moved')
    t.equal(answer.status, STATUS.OK)
    t.ok(answer.wcc?.after && answer.wcc2?.after)
    t.same(await client.walk(root, 'to/moved/deep/file'), file, 'the same handle at the new place')
    t.equal((await client.read(file, 0, 10)).data.toString(), 'x')
    t.ok(onDisk(upper).includes('!from'))
    t.equal(xattrOnDisk(join(upper, 'to/moved'), 'trusted.overlay.redirect'), '/from')
    t.equal((await client.rename(root, 'file', root, 'victim')).status, STATUS.OK)
    t.equal((await client.read(await client.walk(root, 'victim'), 0, 10)).data.toString(), 'f')
  })
})

t.test('RENAME is refused where rename(2) would be', async (t) => {
  await withNfs(t, [{ 'a/b/': '', 'c/d': '', file: '' }], async ({ client, root, upper }) => {
    const b = await client.walk(root, 'a/b')
    const file = await client.walk(root, 'file')
    t.equal((await client.rename(root, 'a', b, 'x')).status, STATUS.INVAL, 'into itself')
    t.equal((await client.rename(root, 'absent', root, 'x')).status, STATUS.NOENT)
    t.equal((await client.rename(root, 'file', root, 'a')).status, STATUS.ISDIR)
    t.equal((await client.rename(root, 'a', root, 'file')).status, STATUS.NOTDIR)
    t.equal((await client.rename(root, 'a', root, 'c')).status, STATUS.NOTEMPTY)
    t.equal((await client.rename(root, 'a', file, 'x')).status, STATUS.NOTDIR)
    for (const name of ['.', '..']) {
      t.equal((await client.rename(root, name, root, 'x')).status, STATUS.INVAL)
      t.equal((await client.rename(root, 'a', root, name)).status, STATUS.INVAL)
    }
    t.same(
      onDisk(upper).filter((name) => name.startsWith('!')),
      [],
    )
  })
})

t.test('LINK makes a second name of one object', async (t) => {
  await withNfs(t, [{ file: 'x', 'dir/': '' }], async ({ client, root, upper }) => {
    const file = await client.walk(root, 'file')
    const dir = await client.walk(root, 'dir')
    const answer = await client.link(file, dir, 'second')
    t.match(answer, { status: STATUS.OK, attr: { nlink: 2 } })
    t.ok(answer.wcc?.after)
    t.same(await client.walk(root, 'dir/second'), file)
    await client.write(file, 0, Buffer.from('Y'))
    t.equal(readFileSync(join(upper, 'dir/second'), 'latin1'), 'Y')
    t.equal((await client.link(file, dir, 'second')).status, STATUS.EXIST)
    t.equal((await client.link(dir, root, 'again')).status, STATUS.ACCES, 'a directory has one name')
    t.equal((await client.link(file, file, 'x')).status, STATUS.NOTDIR)
  })
})

t.test('"." and ".." cannot be made, removed or linked; nor can impossible names', async (t) => {
  await withNfs(t, [{ file: '', 'dir/': '' }], async ({ client, root, upper }) => {
    const file = await client.walk(root, 'file')
    for (const name of ['.', '..']) {
      t.equal((await client.create(root, name)).status, STATUS.EXIST)
      t.equal((await client.create(root, name, { mode: 'unchecked' })).status, STATUS.EXIST)
      t.equal((await client.mkdir(root, name)).status, STATUS.EXIST)
      t.equal((await client.symlink(root, name, 'x')).status, STATUS.EXIST)
      t.equal((await client.mknod(root, name, 7)).status, STATUS.EXIST)
      t.equal((await client.link(file, root, name)).status, STATUS.EXIST)
      t.equal((await client.remove(root, name)).status, STATUS.ACCES)
    }
    t.equal((await client.rmdir(root, '.')).status, STATUS.INVAL)
    t.equal((await client.rmdir(root, '..')).status, STATUS.EXIST)
    for (const name of ['', 'a/b', '../x', 'a\0']) {
      t.equal((await client.create(root, name)).status, STATUS.ACCES)
      t.equal((await client.mkdir(root, name)).status, STATUS.ACCES)
      t.equal((await client.remove(root, name)).status, STATUS.ACCES)
    }
    t.equal((await client.mkdir(root, 'n'.repeat(256))).status, STATUS.NAMETOOLONG)
    t.same(onDisk(upper), [])
  })
})

t.test('what the caller may not do is refused and leaves no trace', async (t) => {
  const tree = { 'dir/': { mode: 0o755 }, 'dir/file': '', 'tmp/': { mode: 0o1777 }, 'tmp/root': '' }
  await withNfs(t, [tree], async ({ client, root, upper }) => {
    const alice = client.as(1000)
    const [dir, tmp] = [await client.walk(root, 'dir'), await client.walk(root, 'tmp')]
    t.equal((await alice.create(dir, 'x')).status, STATUS.ACCES)
    t.equal((await alice.mkdir(dir, 'x')).status, STATUS.ACCES)
    t.equal((await alice.symlink(dir, 'x', 'y')).status, STATUS.ACCES)
    t.equal((await alice.remove(dir, 'file')).status, STATUS.ACCES)
    t.equal((await alice.rename(dir, 'file', tmp, 'file')).status, STATUS.ACCES)
    t.equal((await alice.remove(tmp, 'root')).status, STATUS.ACCES, 'sticky')
    t.same(onDisk(upper), [])
  })
})

t.test('an overlay without upper and a read-only rule refuse every change with ROFS', async (t) => {
  for (const settings of [{ readOnly: true }, { rules: '127.0.0.1(ro,no_root_squash,insecure)' }]) {
    await withNfs(
      t,
      [{ file: 'x', 'dir/': '' }],
      async ({ client, root }) => {
        const file = await client.walk(root, 'file')
        const answers = [
          await client.setattr(file, { mode: 0o600 }),
          await client.write(file, 0, Buffer.from('x')),
          await client.create(root, 'new'),
          await client.mkdir(root, 'new'),
          await client.symlink(root, 'new', 'x'),
          await client.mknod(root, 'new', 7),
          await client.remove(root, 'file'),
          await client.rmdir(root, 'dir'),
          await client.rename(root, 'file', root, 'new'),
          await client.link(file, root, 'new'),
        ]
        t.same(
          answers.map(({ status }) => status),
          answers.map(() => STATUS.ROFS),
        )
        t.equal((await client.access(root, 0x3f)).bits, 0x03)
        t.equal((await client.read(file, 0, 10)).data.toString(), 'x')
        t.equal((await client.commit(file)).status, STATUS.OK)
      },
      settings,
    )
  }
})
