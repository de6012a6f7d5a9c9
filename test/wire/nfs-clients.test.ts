import t from 'tap'
import { type Entry, MOUNT, NFS, STATUS } from '../helpers/nfs-client.ts'
import { authSys, XdrWriter } from '../helpers/rpc-client.ts'
import { withNfs } from '../protocols/nfs/nfs-fixture.ts'

// What clients other than Linux rely on, call by call as they make them. docs/nfs-clients.md says who and why.

t.test('the mount dialogue: NULL, MNT in any spelling of the path, FSINFO, PATHCONF, FSSTAT, UMNT', async (t) => {
  await withNfs(t, [{}], async ({ client, root }) => {
    ;(await client.rpc.call([MOUNT, 3, 0])).end()
    for (const path of ['/overlay', '/overlay/', '//overlay', '/overlay/.']) {
      t.match(await client.mnt(path), { status: 0, flavors: [1] }, path)
      t.same((await client.mnt(path)).handle, root)
    }
    t.match((await client.fsinfo(root)).numbers, {
      rtmax: 1 << 20,
      rtpref: 1 << 20,
      rtmult: 4096,
      wtmax: 1 << 20,
      wtpref: 1 << 20,
      wtmult: 4096,
      dtpref: 65536,
      maxfilesize: Number.MAX_SAFE_INTEGER,
      deltaSec: 0,
      deltaNsec: 1,
      properties: 0x1b,
    })
    t.same((await client.pathconf(root)).numbers, {
      linkmax: 32000,
      nameMax: 255,
      noTrunc: 1,
      chownRestricted: 1,
      caseInsensitive: 0,
      casePreserving: 1,
    })
    t.match((await client.fsstat(root)).numbers, { invarsec: 0 })
    ;(await client.rpc.call([MOUNT, 3, 3], client.auth, new XdrWriter().string('/overlay').bytes())).end()
  })
})

t.test('versions that are asked for first are refused with those that are served', async (t) => {
  await withNfs(t, [{}], async ({ client }) => {
    await t.resolves(client.rpc.call([NFS, 4, 0]))
    await t.rejects(client.rpc.call([NFS, 2, 0]), /PROG_MISMATCH 3 4/)
    await t.rejects(client.rpc.call([MOUNT, 1, 5]), /PROG_MISMATCH 3 3/)
    await t.rejects(client.rpc.call([MOUNT, 2, 1]), /PROG_MISMATCH 3 3/)
    // NFSACL, which Linux tries beside every mount.
    await t.rejects(client.rpc.call([100227, 3, 0]), /PROG_UNAVAIL/)
  })
})

t.test('a listing by READDIR alone, with the verifier of the page before, then LOOKUP of each name', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 300; i++) tree[`dir/name-${i}`] = ''
  await withNfs(t, [tree], async ({ client, root }) => {
    const dir = await client.walk(root, 'dir')
    const entries: Entry[] = []
    let verifier = Buffer.alloc(8)
    for (let eof = false; !eof; ) {
      const writer = new XdrWriter()
        .opaque(dir)
        .u64(entries.at(-1)?.cookie ?? 0)
        .raw(verifier)
        .u32(4096)
      const { status, reader } = await client.raw('READDIR', writer.bytes())
      t.equal(status, STATUS.OK)
      reader.fixed(4 + 84)
      verifier = Buffer.from(reader.fixed(8))
      entries.push(
        ...reader.list(() => ({
          fileid: reader.u64(),
          name: reader.string(),
          cookie: reader.u64(),
          attr: undefined,
          handle: undefined,
        })),
      )
      eof = reader.bool()
      // The directory changes between the pages: Finder and Explorer do not ask again from the start.
      await client.create(dir, `later-${entries.length}`)
    }
    t.equal(entries.filter(({ name }) => name.startsWith('name-')).length, 300)
    t.same(
      entries.slice(0, 2).map(({ name }) => name),
      ['.', '..'],
    )
    t.equal(new Set(entries.map(({ cookie }) => cookie)).size, entries.length, 'each cookie is another')
    for (const { name, fileid } of entries.slice(2, 30)) t.equal((await client.lookup(dir, name)).attr?.fileid, fileid)
  })
})

t.test('cookies, file ids and offsets are 64 bits, and stay below 2^63 for signed clients', async (t) => {
  const tree: Record<string, string> = {}
  for (let i = 0; i < 500; i++) tree[`n${i}`] = ''
  await withNfs(t, [tree], async ({ client, root }) => {
    const entries = await client.list(root, 'readdir')
    t.ok(entries.every(({ cookie }) => cookie > 0n && cookie < 2n ** 54n))
    t.ok(entries.every(({ fileid }) => fileid > 0n && fileid < 2n ** 63n))
    const file = (await client.create(root, 'large')).handle!
    t.equal((await client.write(file, 2n ** 32n + 1n, Buffer.from('far'), 0)).status, STATUS.OK)
    t.equal((await client.getattr(file)).attr?.size, 2 ** 32 + 4)
    t.equal((await client.read(file, 2n ** 32n, 10)).data.toString(), '\0far')
  })
})

t.test('a file without any permission is written by who made it, as cp and unzip do', async (t) => {
  await withNfs(t, [{ 'home/': { mode: 0o777 } }], async ({ client, root }) => {
    const home = await client.walk(root, 'home')
    const alice = client.as(1000)
    for (const mode of [0, 0o444]) {
      const made = await alice.create(home, `file-${mode}`, { mode: 'guarded', attr: { mode } })
      t.match(made, { status: STATUS.OK, attr: { mode, uid: 1000 } })
      t.equal((await alice.write(made.handle!, 0, Buffer.from('data'), 0)).status, STATUS.OK)
      t.equal((await alice.commit(made.handle!)).status, STATUS.OK)
      t.equal((await alice.read(made.handle!, 0, 4)).data.toString(), 'data')
      t.equal((await client.as(1001).write(made.handle!, 0, Buffer.from('evil'), 0)).status, STATUS.ACCES)
      t.match(
        await alice.access(made.handle!, 0x3f),
        { bits: mode === 0 ? 0 : 1 },
        'ACCESS tells the mode all the same',
      )
    }
  })
})

t.test('Finder: exclusive create, attributes after it, AppleDouble beside it, and both renamed', async (t) => {
  await withNfs(t, [{ 'home/': { mode: 0o777 } }], async ({ client, root }) => {
    const home = await client.walk(root, 'home')
    const user = client.as(501, 20)
    for (const name of ['photo.jpg', '._photo.jpg', '.DS_Store']) {
      t.equal((await user.lookup(home, name)).status, STATUS.NOENT)
      const made = await user.create(home, name, {
        mode: 'exclusive',
        verifier: Buffer.from('a1b2c3d4e5f60718', 'hex'),
      })
      t.equal(made.status, STATUS.OK, name)
      const again = await user.create(home, name, {
        mode: 'exclusive',
        verifier: Buffer.from('a1b2c3d4e5f60718', 'hex'),
      })
      t.same(again.handle, made.handle, 'the same request again is no error')
      t.equal((await user.setattr(made.handle!, { mode: 0o644, atime: 'now', mtime: 'now' })).status, STATUS.OK)
      t.equal((await user.write(made.handle!, 0, Buffer.alloc(4096), 2)).status, STATUS.OK)
    }
    t.equal((await user.rename(home, 'photo.jpg', home, 'renamed.jpg')).status, STATUS.OK)
    t.equal((await user.rename(home, '._photo.jpg', home, '._renamed.jpg')).status, STATUS.OK)
    const names = (await user.list(home)).map(({ name }) => name).sort()
    t.same(names, ['.', '..', '.DS_Store', '._renamed.jpg', 'renamed.jpg'])
  })
})

t.test('names are bytes: composed, decomposed, Latin-1 and what Windows maps stay as they are', async (t) => {
  await withNfs(t, [{}], async ({ client, root }) => {
    const names = ['\u00fc', 'u\u0308', '\u30d5\u309a', 'a:b', 'CON', 'trailing. ', '\uf03a'].map((name) =>
      Buffer.from(name).toString('latin1'),
    )
    names.push('\xfc', 'A', 'a')
    for (const name of names) t.equal((await client.create(root, name)).status, STATUS.OK, name)
    t.same(new Set((await client.list(root)).map(({ name }) => name)), new Set(['.', '..', ...names]))
    for (const name of names) t.equal((await client.lookup(root, name)).status, STATUS.OK, name)
  })
})

t.test('names that are none get an answer of the protocol', async (t) => {
  await withNfs(t, [{ file: 'x' }], async ({ client, root, complaints }) => {
    for (const name of ['', 'a/b', 'a\0b', '/', '\0']) {
      const what = JSON.stringify(name)
      t.equal((await client.lookup(root, name)).status, STATUS.ACCES, `LOOKUP ${what}`)
      for (const answer of [
        await client.create(root, name),
        await client.mkdir(root, name),
        await client.symlink(root, name, 'x'),
        await client.remove(root, name),
        await client.rename(root, 'file', root, name),
      ]) {
        t.ok(([STATUS.ACCES, STATUS.INVAL] as number[]).includes(answer.status), `${what}: ${answer.status}`)
      }
    }
    t.same(complaints, [])
  })
})

t.test('Windows: the user -2, MNT and EXPORT, and a file opened, grown, truncated and deleted', async (t) => {
  await withNfs(t, [{ 'share/': { mode: 0o777 } }], async ({ client, root }) => {
    client.auth = authSys(0xffff_fffe, 0xffff_fffe, [], 'WINDOWS')
    const share = await client.walk(root, 'share')
    const made = await client.create(share, 'Document.docx', { mode: 'unchecked', attr: { mode: 0o755, size: 0 } })
    t.match(made, { status: STATUS.OK, attr: { uid: 0xffff_fffe, gid: 0xffff_fffe, size: 0 } })
    const file = made.handle!
    t.equal((await client.setattr(file, { size: 100_000 })).status, STATUS.OK)
    t.equal((await client.write(file, 0, Buffer.alloc(32768, 1), 0)).status, STATUS.OK)
    t.equal((await client.commit(file)).status, STATUS.OK)
    t.equal((await client.create(share, 'Document.docx', { mode: 'unchecked', attr: { size: 0 } })).status, STATUS.OK)
    t.equal((await client.getattr(file)).attr?.size, 0)
    // Explorer deletes what it has just listed, and lists again.
    t.equal((await client.remove(share, 'Document.docx')).status, STATUS.OK)
    t.equal((await client.remove(share, 'Document.docx')).status, STATUS.NOENT)
    t.equal((await client.getattr(file)).status, STATUS.STALE)
    t.same(
      (await client.list(share, 'readdir')).map(({ name }) => name),
      ['.', '..'],
    )
  })
})
