import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  chownSync,
  linkSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  readlinkSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import { ALICE, at, errnoOf, type Fixture, list, put, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

t.setTimeout(300_000)

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'

/** The ways in which a file loses the name x, the only one that the core knows of it; mostly to another file, as with every atomic save. */
const LOSSES: Readonly<Record<string, (overlay: Overlay) => Promise<void>>> = {
  'another file takes the name by rename': async (overlay) => {
    await overlay.create(ROOT, overlay.root, 'fresh', { mode: 0o600 })
    await put(overlay, 'fresh', 'fresh')
    await overlay.rename(ROOT, overlay.root, 'fresh', overlay.root, 'x')
  },
  'the name is removed': async (overlay) => await overlay.unlink(ROOT, overlay.root, 'x'),
  'the name is removed and made again': async (overlay) => {
    await overlay.unlink(ROOT, overlay.root, 'x')
    await overlay.create(ROOT, overlay.root, 'x', { mode: 0o600 })
    await put(overlay, 'x', 'fresh')
  },
  'a staged file is published there': async (overlay) => {
    const staged = await overlay.stage(ROOT, { mode: 0o600 })
    await staged.append([Buffer.from('fresh')])
    await staged.publish({ dir: overlay.root, name: 'x', mode: 0o600 })
  },
}

interface Lost {
  readonly fixture: Fixture
  readonly overlay: Overlay
  /** What was found at x before it lost that name. */
  readonly old: Inode
  /** Where x is on disk. */
  readonly x: string
  /** Where the name of the old file is that nobody has looked up. */
  readonly y: string
}

function makeFile(path: string): void {
  writeFileSync(path, 'old')
  chownSync(path, 1000, 1000)
  chmodSync(path, 0o644)
}

/** Runs `test` after each of the losses, with an old file that was found at x and whose other name, d/y, is unknown. */
async function afterEachLoss(
  t: Test,
  test: (t: Test, lost: Lost) => Promise<void>,
  { make = makeFile, losses = LOSSES }: { make?: (path: string) => void; losses?: Partial<typeof LOSSES> } = {},
): Promise<void> {
  for (const [how, lose] of Object.entries(losses)) {
    await t.test(how, async (t) => {
      await withOverlay(t, [{ keep: '' }], async (fixture) => {
        await fixture.overlay.unmount()
        const [x, y] = [join(fixture.upper, 'x'), join(fixture.upper, 'd/y')]
        mkdirSync(join(fixture.upper, 'd'))
        make(x)
        linkSync(x, y)
        const overlay = await fixture.remount()
        const old = await at(overlay, 'x')
        overlay.retain(old)
        await overlay.retained()
        await lose?.(overlay)
        await test(t, { fixture, overlay, old, x, y })
      })
    })
  }
}

/** What is on disk at a name, with all that a client can change. */
function state(path: string): unknown {
  try {
    const { mode, uid, gid, size, nlink, mtimeMs, ctimeMs } = lstatSync(path)
    const attributes = execFileSync('getfattr', ['--absolute-names', '-hd', '-m', '-', path]).toString('latin1')
    return { mode, uid, gid, size, nlink, mtimeMs, ctimeMs, attributes, content: readFileSync(path, 'latin1') }
  } catch (error) {
    return (error as NodeJS.ErrnoException).code
  }
}

async function readAll(overlay: Overlay, inode: Inode): Promise<string> {
  const buffer = Buffer.alloc(100)
  return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, buffer.length, 0))
}

t.test(
  'attributes set by a handle are those of its file, whichever object has its name',
  { skip: needsRoot },
  async (t) => {
    await afterEachLoss(t, async (t, { overlay, old, x, y }) => {
      const before = state(x)
      await overlay.setattr(ALICE, old, { mode: 0o4777 })
      await overlay.setattr(ALICE, old, { atime: { sec: 5, nsec: 0 }, mtime: { sec: 6, nsec: 7_000_000 } })
      t.same(state(x), before, 'the file that has the name is as it was')
      t.equal(lstatSync(y).mode & 0o7777, 0o4777)
      t.equal(lstatSync(y).mtimeMs, 6007)
      await overlay.setattr(ROOT, old, { uid: 4, gid: 5 })
      await overlay.setattr(ROOT, old, { size: 2 })
      t.same(state(x), before)
      const { uid, gid, size, nlink } = lstatSync(y)
      t.same({ uid, gid, size, nlink }, { uid: 4, gid: 5, size: 2, nlink: 1 })
      const shown = await overlay.getattr(old)
      t.same([shown.uid, shown.gid, shown.size, shown.nlink], [4, 5, 2, 1])
      t.equal(await errnoOf(() => overlay.setattr(ALICE, old, { mode: 0o777 })), 'EPERM', 'checked on the same object')
    })
  },
)

t.test('data read and written by a handle is that of its file', { skip: needsRoot }, async (t) => {
  await afterEachLoss(t, async (t, { overlay, old, x, y }) => {
    const before = state(x)
    t.equal(await readAll(overlay, old), 'old')
    await overlay.write(ALICE, old, Buffer.from('OLDER'), 0, 'file')
    const open = await overlay.open(ALICE, old, { read: true, write: true })
    await open.truncate(4)
    await open.write(Buffer.from('!'), 0)
    open.close()
    await overlay.commit(ALICE, old)
    t.same(state(x), before)
    t.equal(readFileSync(y, 'latin1'), '!LDE')
  })
})

t.test(
  'extended attributes, ACLs and protocol data by a handle are those of its file',
  { skip: needsRoot },
  async (t) => {
    await afterEachLoss(t, async (t, { overlay, old, x, y }) => {
      const before = state(x)
      await overlay.setxattr(ALICE, old, 'user.one', Buffer.from('1'))
      await overlay.setxattr(ROOT, old, 'trusted.two', Buffer.from('2'))
      const acl = Buffer.from(
        '0200000001000700ffffffff02000700e9030000040005000000000010000700ffffffff20000000ffffffff',
        'hex',
      )
      acl.writeUInt32LE(0xffffffff, 24)
      await overlay.setxattr(ALICE, old, 'system.posix_acl_access', acl)
      await overlay.setProtocolData(ALICE, old, 'dav', Buffer.from('short'))
      await overlay.setProtocolData(ALICE, old, 'dav', Buffer.alloc(20_000, 'long'))
      t.same(state(x), before)
      const names = execFileSync('getfattr', ['--absolute-names', '-m', '-', y]).toString()
      t.match(names, /user\.one/)
      t.match(names, /trusted\.two/)
      t.match(names, /posix_acl_access/)
      t.equal((await overlay.getProtocolData(ALICE, old, 'dav'))?.length, 20_000)
      await overlay.removexattr(ALICE, old, 'user.one')
      t.equal(await overlay.getxattr(ALICE, old, 'user.one'), undefined)
      t.same((await overlay.listxattr(ROOT, old)).sort(), ['system.posix_acl_access', 'trusted.two'])
    })
  },
)

t.test('a link by a handle refers to its file, also over a whiteout', { skip: needsRoot }, async (t) => {
  await afterEachLoss(t, async (t, { overlay, old, x, y }) => {
    const before = state(x)
    await overlay.link(ROOT, old, overlay.root, 'z')
    t.same(state(x), before)
    t.equal(lstatSync(join(x, '../z')).ino, lstatSync(y).ino)
    t.equal(await at(overlay, 'z'), old)
    t.equal(await text(overlay, 'z'), 'old')
    await overlay.unlink(ROOT, overlay.root, 'keep')
    await overlay.link(ROOT, old, overlay.root, 'keep')
    t.equal(lstatSync(join(x, '../keep')).ino, lstatSync(y).ino)
    await overlay.setattr(ALICE, old, { mode: 0o600 })
    t.equal(lstatSync(y).mode & 0o777, 0o600)
  })
})

t.test(
  'a handle leads to its file after a restart, also after another name was found',
  { skip: needsRoot },
  async (t) => {
    await afterEachLoss(t, async (t, { fixture, old, y }) => {
      const { fileIdHi, fileIdLo } = await fixture.overlay.getattr(old)
      for (const round of ['first', 'second']) {
        const overlay = await fixture.remount()
        const again = await overlay.inodeByKey(old.key, old.generation)
        const attr = await overlay.getattr(again)
        t.same([attr.size, attr.nlink, attr.uid], [3, 1, 1000], `after the ${round} restart`)
        t.same([attr.fileIdHi, attr.fileIdLo], [fileIdHi, fileIdLo])
        await overlay.setattr(ALICE, again, { mode: 0o640 })
        t.equal(lstatSync(y).mode & 0o777, 0o640)
        t.equal(await at(overlay, 'd/y'), again)
      }
      const { overlay } = fixture
      await overlay.rename(ROOT, await at(overlay, 'd'), 'y', overlay.root, 'y2')
      t.equal(await at(overlay, 'y2'), await overlay.inodeByKey(old.key, old.generation))
      await overlay.unlink(ROOT, overlay.root, 'y2')
      t.equal(await errnoOf(() => overlay.inodeByKey(old.key, old.generation)), 'ESTALE')
      t.equal(await errnoOf(async () => (await fixture.remount()).inodeByKey(old.key, old.generation)), 'ESTALE')
    })
  },
)

t.test('a handle leads to its file after a remount with other options', { skip: needsRoot }, async (t) => {
  await afterEachLoss(t, async (t, { overlay, old, y }) => {
    await overlay.remount({ ...overlay.options, redirectDir: 'off' })
    await overlay.setattr(ALICE, await overlay.inodeByKey(old.key, old.generation), { mode: 0o611 })
    t.equal(lstatSync(y).mode & 0o777, 0o611)
    t.equal(await at(overlay, 'd/y'), old)
  })
})

t.test('symlinks, fifos and devices are changed by their handles like files', { skip: needsRoot }, async (t) => {
  const others = {
    symlink: (path: string) => symlinkSync('target', path),
    fifo: (path: string) => execFileSync('mkfifo', ['-m', '600', path]),
    device: (path: string) => execFileSync('mknod', ['-m', '600', path, 'c', '1', '3']),
  }
  const { 'a staged file is published there': _onlyFiles, ...losses } = LOSSES
  for (const [type, make] of Object.entries(others)) {
    await t.test(type, async (t) => {
      const test = async (t: Test, { overlay, old, x, y }: Lost) => {
        const before = state(x)
        await overlay.setattr(ROOT, old, { uid: 7, gid: 8 })
        await overlay.setattr(ROOT, old, { mtime: { sec: 9, nsec: 0 } })
        await overlay.setxattr(ROOT, old, 'trusted.two', Buffer.from('2'))
        await overlay.link(ROOT, old, overlay.root, 'z')
        t.same(state(x), before)
        const { uid, gid, mtimeMs, nlink, ino } = lstatSync(y)
        t.same({ uid, gid, mtimeMs, nlink }, { uid: 7, gid: 8, mtimeMs: 9000, nlink: 2 })
        t.equal(lstatSync(join(x, '../z')).ino, ino)
        if (type !== 'symlink') return
        t.equal(Buffer.from(await overlay.readlink(ROOT, old)).toString(), 'target')
        t.equal(readlinkSync(y), 'target')
      }
      await afterEachLoss(t, test, { make, losses })
    })
  }
})

t.test('neither name of a copied-up file with two names shows the lower again', { skip: needsRoot }, async (t) => {
  await withOverlay(t, [{ x: 'lower' }], async (fixture) => {
    await put(fixture.overlay, 'x', 'UPPER')
    await fixture.overlay.link(ROOT, await at(fixture.overlay, 'x'), fixture.overlay.root, 'y')
    const overlay = await fixture.remount()
    const old = await at(overlay, 'x')
    overlay.retain(old)
    await overlay.unlink(ROOT, overlay.root, 'x')
    const restored = await overlay.restore(ROOT, overlay.root, 'x')
    t.equal(await text(overlay, 'x'), 'lower')
    t.equal(await readAll(overlay, old), 'UPPER')
    t.not(restored, old)
    await overlay.setattr(ROOT, old, { mode: 0o700 })
    t.equal((await overlay.getattr(restored)).mode, 0o644)
    t.equal(await text(overlay, 'y'), 'UPPER')
    t.equal(await at(overlay, 'y'), old)
  })
})

t.test(
  'a copied-up hard link is found by its handle after its recorded name was removed',
  { skip: needsRoot },
  async (t) => {
    await withOverlay(t, [{ a: 'linked', b: '= a', 'd/c': '= a' }], async (fixture) => {
      await put(fixture.overlay, 'a', 'LINKED')
      const old = await at(fixture.overlay, 'a')
      fixture.overlay.retain(old)
      const overlay = await fixture.remount()
      await overlay.unlink(ROOT, overlay.root, 'a')
      const again = await fixture.remount()
      const found = await again.inodeByKey(old.key, old.generation)
      t.equal(await readAll(again, found), 'LINKED')
      t.equal((await again.getattr(found)).nlink, 2)
      await again.setattr(ROOT, found, { mode: 0o600 })
      t.equal(await at(again, 'd/c'), found)
      t.equal((await again.getattr(found)).mode, 0o600)
      t.same(await list(again), ['b', 'd'])
    })
  },
)

t.test(
  'after a name of a lower hard link is removed, its handle leads to the other names or nowhere',
  { skip: needsRoot },
  async (t) => {
    for (const options of ['', ',metacopy=on', ',index=off']) {
      await t.test(options === '' ? 'index=on' : options.slice(1), async (t) => {
        const lower = { a: 'linked', b: '= a', 'd/c': '= a' }
        await withOverlay(
          t,
          [lower],
          async (fixture) => {
            const { overlay } = fixture
            const old = await at(overlay, 'a')
            overlay.retain(old)
            await overlay.retained()
            await overlay.unlink(ROOT, overlay.root, 'a')
            if (options === ',index=off') {
              // Each name is an object of its own.
              t.equal(await errnoOf(() => overlay.setattr(ROOT, old, { mode: 0o600 })), 'ESTALE')
              t.equal((await overlay.getattr(await at(overlay, 'b'))).mode, 0o644)
              return
            }
            t.equal(await readAll(overlay, old), 'linked')
            await overlay.setattr(ROOT, old, { mode: 0o600 })
            t.equal((await overlay.getattr(old)).nlink, 2)
            t.equal(await overlay.inodeByKey(old.key, old.generation), old)
            const again = await fixture.remount()
            if (options === ',metacopy=on') {
              // The data of a metadata-only copy lies at a name, and none is known.
              t.equal(await errnoOf(() => again.inodeByKey(old.key, old.generation)), 'ESTALE')
            } else {
              const found = await again.inodeByKey(old.key, old.generation)
              t.equal(await readAll(again, found), 'linked')
              t.equal(await at(again, 'b'), found)
            }
            const b = await at(again, 'b')
            t.same([b.key, b.generation], [old.key, old.generation], 'by a name it is the same object')
            t.equal((await again.getattr(b)).mode, 0o600)
            t.equal(await at(again, 'd/c'), b)
          },
          { options },
        )
      })
    }
  },
)

t.test('thousands of files that lost their known names are all still found', { skip: needsRoot }, async (t) => {
  const count = 1200
  await withOverlay(t, [{ keep: '' }], async (fixture) => {
    await fixture.overlay.unmount()
    mkdirSync(join(fixture.upper, 'd'))
    for (let i = 0; i < count; i++) {
      writeFileSync(join(fixture.upper, `x${i}`), `${i}`)
      linkSync(join(fixture.upper, `x${i}`), join(fixture.upper, 'd', `y${i}`))
    }
    const overlay = await fixture.remount()
    const all: Inode[] = []
    for (let i = 0; i < count; i++) {
      const inode = await at(overlay, `x${i}`)
      overlay.retain(inode)
      all.push(inode)
      await overlay.unlink(ROOT, overlay.root, `x${i}`)
    }
    let wrong = 0
    for (const [i, inode] of all.entries()) if ((await readAll(overlay, inode)) !== `${i}`) wrong++
    t.equal(wrong, 0)
  })
})
