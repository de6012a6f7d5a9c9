import { lstatSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../../../helpers/nfs-client.ts'
import { onDisk } from '../../../helpers/overlay.ts'
import { WRITE_VERIFIER, withNfs } from '../nfs-fixture.ts'

t.test('NULL answers nothing', async (t) => {
  await withNfs(t, [{}], async ({ client }) => {
    await client.null()
    t.pass('an empty answer')
  })
})

t.test('GETATTR tells what the lower file is', async (t) => {
  await withNfs(
    t,
    [{ 'dir/file': { content: 'twelve bytes', mode: 0o640 } }],
    async ({ client, root, lowers, overlay }) => {
      const handle = await client.walk(root, 'dir/file')
      const { status, attr } = await client.getattr(handle)
      const stat = lstatSync(join(lowers[0], 'dir/file'))
      t.equal(status, STATUS.OK)
      t.match(attr, { type: 1, mode: 0o640, nlink: 1, uid: stat.uid, gid: stat.gid, size: 12, used: stat.blocks * 512 })
      t.same(attr?.mtime, { sec: 1_000_000_000, nsec: 0 })
      t.equal(attr?.fsid, Buffer.from(overlay.uuid).readBigUInt64BE(0))
    },
  )
})

t.test('GETATTR tells the file type of each kind of object', async (t) => {
  await withNfs(t, [{ 'd/': '', f: '', s: '-> x' }], async ({ client, root }) => {
    for (const [name, type] of [
      ['fifo', 7],
      ['socket', 6],
      ['block', 3],
      ['char', 4],
    ] as const) {
      const device = type === 3 || type === 4
      t.equal((await client.mknod(root, name, type, { mode: 0o600 }, device ? [7, 300] : undefined)).status, STATUS.OK)
    }
    const types: Record<string, number | undefined> = {}
    for (const name of ['d', 'f', 's', 'fifo', 'socket', 'block', 'char']) {
      types[name] = (await client.lookup(root, name)).attr?.type
    }
    t.same(types, { d: 2, f: 1, s: 5, fifo: 7, socket: 6, block: 3, char: 4 })
    t.same((await client.lookup(root, 'block')).attr?.rdev, [7, 300])
  })
})

t.test('the file id stays the same through copy-up', async (t) => {
  await withNfs(t, [{ file: 'old' }], async ({ client, root, upper }) => {
    const handle = await client.walk(root, 'file')
    const before = await client.getattr(handle)
    await client.write(handle, 0, Buffer.from('new'))
    const after = await client.getattr(handle)
    t.equal(after.attr?.fileid, before.attr?.fileid)
    t.same(onDisk(upper), ['file'])
    t.same((await client.lookup(root, 'file')).handle, handle, 'and the handle too')
  })
})

t.test('SETATTR sets mode, owner, size and times with nanoseconds', async (t) => {
  await withNfs(t, [{ file: 'content' }], async ({ client, root, upper }) => {
    const handle = await client.walk(root, 'file')
    const atime = { sec: 1_234_567_890, nsec: 123_456_789 }
    const mtime = { sec: 0xffff_0000, nsec: 999_999_999 }
    const { status, wcc } = await client.setattr(handle, { mode: 0o4755, uid: 42, gid: 43, size: 4, atime, mtime })
    t.equal(status, STATUS.OK)
    t.equal(wcc?.before?.size, 7, 'the size before')
    t.match(wcc?.after, { uid: 42, gid: 43, size: 4, atime, mtime })
    const stat = lstatSync(join(upper, 'file'), { bigint: true })
    t.same([stat.uid, stat.gid, stat.size], [42n, 43n, 4n])
    t.equal(stat.mtimeNs, 0xffff_0000n * 1_000_000_000n + 999_999_999n, 'beyond 2106 minus a bit')
    t.equal((await client.read(handle, 0, 100)).data.toString(), 'cont')
  })
})

t.test('SETATTR sets times to the clock of the server', async (t) => {
  await withNfs(t, [{ file: '' }], async ({ client, root }) => {
    const handle = await client.walk(root, 'file')
    const start = Math.floor(Date.now() / 1000) - 1
    const { wcc } = await client.setattr(handle, { atime: 'now', mtime: 'now' })
    t.ok((wcc?.after?.mtime.sec ?? 0) >= start)
    t.ok((wcc?.after?.atime.sec ?? 0) >= start)
  })
})

t.test('SETATTR guarded by ctime refuses when the file has changed', async (t) => {
  await withNfs(t, [{ file: '' }], async ({ client, root }) => {
    const handle = await client.walk(root, 'file')
    const { attr } = await client.getattr(handle)
    const first = await client.setattr(handle, { mode: 0o600 }, attr?.ctime)
    t.equal(first.status, STATUS.OK)
    const second = await client.setattr(handle, { mode: 0o644 }, { sec: 1, nsec: 2 })
    t.equal(second.status, STATUS.NOT_SYNC)
    t.equal((await client.getattr(handle)).attr?.mode, 0o600, 'and changes nothing')
  })
})

t.test('SETATTR refuses owners of -1, impossible times and sizes', async (t) => {
  await withNfs(t, [{ file: 'x', 'dir/': '' }], async ({ client, root, upper }) => {
    const handle = await client.walk(root, 'file')
    t.equal((await client.setattr(handle, { uid: 0xffff_ffff })).status, STATUS.INVAL)
    t.equal((await client.setattr(handle, { gid: 0xffff_ffff })).status, STATUS.INVAL)
    t.equal((await client.setattr(handle, { mtime: { sec: 1, nsec: 1_000_000_000 } })).status, STATUS.INVAL)
    t.equal((await client.setattr(handle, { size: 2n ** 64n - 1n })).status, STATUS.INVAL, 'FBIG is not in its list')
    t.equal((await client.setattr(await client.walk(root, 'dir'), { size: 0 })).status, STATUS.INVAL)
    t.same(onDisk(upper), [], 'nothing was copied up')
  })
})

t.test('SETATTR of another user is refused', async (t) => {
  await withNfs(t, [{ file: { content: 'x', mode: 0o644 } }], async ({ client, root, upper }) => {
    const handle = await client.walk(root, 'file')
    const alice = client.as(1000)
    t.equal((await alice.setattr(handle, { mode: 0o777 })).status, STATUS.PERM)
    t.equal((await alice.setattr(handle, { size: 0 })).status, STATUS.ACCES)
    t.same(onDisk(upper), [])
  })
})

t.test('ACCESS tells what each caller may do', async (t) => {
  const tree = { open: { content: '', mode: 0o755 }, private: { content: '', mode: 0o600 }, 'dir/': { mode: 0o755 } }
  await withNfs(t, [tree], async ({ client, root }) => {
    const alice = client.as(1000)
    const [open, priv, dir] = [
      await client.walk(root, 'open'),
      await client.walk(root, 'private'),
      await client.walk(root, 'dir'),
    ]
    t.equal((await alice.access(open, 0x3f)).bits, 0x21, 'read and execute')
    t.equal((await alice.access(priv, 0x3f)).bits, 0)
    t.equal((await alice.access(dir, 0x3f)).bits, 0x03, 'read and search')
    t.equal((await client.access(dir, 0x3f)).bits, 0x1f, 'all but execute, which a directory has not')
    t.equal((await client.access(priv, 0x3f)).bits, 0x0d, 'root may read and write, not execute')
    t.equal((await client.access(open, 0x01)).bits, 0x01, 'only what was asked for')
    t.ok((await client.access(open, 0)).attr, 'with the attributes')
  })
})

t.test('READLINK gives the target byte for byte', async (t) => {
  await withNfs(t, [{ link: '-> ../some where' }], async ({ client, root }) => {
    t.equal((await client.readlink(await client.walk(root, 'link'))).target, '../some where')
    const made = await client.symlink(root, 'odd', '\xff\xfe//\x01')
    t.equal((await client.readlink(made.handle!)).target, '\xff\xfe//\x01')
    const answer = await client.readlink(root)
    t.equal(answer.status, STATUS.INVAL)
    t.equal(answer.attr?.type, 2, 'with the attributes of what it is instead')
  })
})

t.test('FSSTAT, FSINFO and PATHCONF tell the limits', async (t) => {
  await withNfs(t, [{}], async ({ client, root }) => {
    const stat = await client.fsstat(root)
    t.ok(stat.attr)
    t.ok(stat.numbers.tbytes >= stat.numbers.fbytes && stat.numbers.fbytes >= stat.numbers.abytes)
    t.ok(stat.numbers.tbytes > 0)
    t.match((await client.fsinfo(root)).numbers, {
      rtmax: 1024 * 1024,
      wtmax: 1024 * 1024,
      dtpref: 64 * 1024,
      maxfilesize: Number.MAX_SAFE_INTEGER,
      deltaSec: 0,
      deltaNsec: 1,
      properties: 0x1b,
    })
    t.match((await client.pathconf(root)).numbers, {
      nameMax: 255,
      noTrunc: 1,
      chownRestricted: 1,
      caseInsensitive: 0,
      casePreserving: 1,
    })
  })
})

t.test('COMMIT answers with the verifier of the writes', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ client, root }) => {
    const handle = await client.walk(root, 'file')
    const written = await client.write(handle, 0, Buffer.from('abc'), 0)
    const committed = await client.commit(handle)
    t.equal(committed.status, STATUS.OK)
    t.equal(committed.verifier, WRITE_VERIFIER.toString('hex'))
    t.equal(written.verifier, committed.verifier)
    t.equal(committed.wcc?.after?.size, 3)
  })
})
