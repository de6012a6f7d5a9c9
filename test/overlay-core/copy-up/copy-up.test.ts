import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { lstatSync, readFileSync, statSync, truncateSync, utimesSync, writeFileSync } from 'node:fs'
import { constants } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { type CheckedAttr, ownAttr } from '../../../overlay-core/layer/object-attr.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
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

t.test('the first write copies a lower file up with mode, owner, times and attributes', async (t) => {
  await withOverlay(
    t,
    [{ 'd/': '', 'd/e/': '', 'd/e/file': { content: 'lower text', mode: 0o640 } }],
    async (fixture) => {
      const lower = join(fixture.lowers[0] as string, 'd/e/file')
      execFileSync('setfattr', ['-n', 'user.colour', '-v', 'blue', lower])
      const overlay = await fixture.remount()
      const inode = await at(overlay, 'd/e/file')
      const before = await overlay.getattr(inode)
      await overlay.setattr(ROOT, inode, { mode: 0o600 })
      const after = await overlay.getattr(inode)
      t.same(
        { ...ownAttr(after as CheckedAttr), ctime: 0, btime: 0, blocks: 0, mode: 0 },
        { ...ownAttr(before as CheckedAttr), ctime: 0, btime: 0, blocks: 0, mode: 0 },
      )
      t.equal(after.mode, 0o600)
      const upper = join(fixture.upper, 'd/e/file')
      t.equal(readFileSync(upper, 'latin1'), 'lower text')
      t.equal(statSync(upper).mtimeMs, 1_000_000_000_000)
      t.equal(xattrOnDisk(upper, 'user.colour'), takesXattrs() ? 'blue' : undefined)
      t.not(xattrOnDisk(upper, 'trusted.overlay.origin'), undefined, 'the origin is recorded')
      t.equal(xattrOnDisk(join(fixture.upper, 'd/e'), 'trusted.overlay.impure'), 'y')
      t.equal(statSync(join(fixture.upper, 'd/e')).mtimeMs, 1_000_000_000_000, 'parents keep their times')
      t.equal(statSync(join(fixture.upper, 'd')).mtimeMs, 1_000_000_000_000)
    },
  )
})

t.test('an object keeps its identity across copy-up and remount', async (t) => {
  await withOverlay(t, [{ 'd/file': 'x' }], async (fixture) => {
    const before = await fixture.overlay.getattr(await at(fixture.overlay, 'd/file'))
    const inode = await at(fixture.overlay, 'd/file')
    await put(fixture.overlay, 'd/file', 'y')
    const overlay = await fixture.remount()
    const again = await at(overlay, 'd/file')
    t.equal(again.key, inode.key)
    t.equal(again.generation, inode.generation)
    const after = await overlay.getattr(again)
    t.same([after.fileIdHi, after.fileIdLo], [before.fileIdHi, before.fileIdLo])
    await overlay.rename(ROOT, await at(overlay, 'd'), 'file', overlay.root, 'moved')
    const moved = await at(await fixture.remount(), 'moved')
    t.equal(moved.key, inode.key, 'also after a rename')
  })
})

t.test('concurrent changes share one copy-up', async (t) => {
  await withOverlay(t, [{ 'd/big': 'z'.repeat(300_000) }], async ({ overlay, upper }) => {
    const inode = await at(overlay, 'd/big')
    const writes = Array.from({ length: 30 }, (_, i) =>
      overlay.write(ROOT, inode, Buffer.from(String(i % 10)), i, 'unstable'),
    )
    await Promise.all(writes)
    t.equal((await text(overlay, 'd/big')).slice(0, 32), '012345678901234567890123456789zz')
    t.same(onDisk(join(upper, 'd')), ['big'])
  })
})

t.test('holes stay holes', async (t) => {
  const prepare = ([lower]: readonly string[]) => {
    const file = join(lower as string, 'sparse')
    execFileSync('truncate', ['-s', '50M', file])
    execFileSync('dd', [
      'if=/dev/urandom',
      `of=${file}`,
      'bs=64k',
      'count=1',
      'seek=300',
      'conv=notrunc',
      'status=none',
    ])
  }
  await withOverlay(
    t,
    [{}],
    async ({ overlay, upper, lowers }) => {
      await overlay.setattr(ROOT, await at(overlay, 'sparse'), { mode: 0o600 })
      const copy = lstatSync(join(upper, 'sparse'))
      t.equal(copy.size, 50 * 1024 * 1024)
      t.ok(copy.blocks * 512 < 1024 * 1024, `${copy.blocks * 512} bytes are allocated`)
      t.ok(readFileSync(join(lowers[0] as string, 'sparse')).equals(readFileSync(join(upper, 'sparse'))))
    },
    { prepare },
  )
})

t.test('hard links of a lower stay linked through copy-up and remount (index=on)', async (t) => {
  await withOverlay(t, [{ a: 'shared', 'd/b': '= a', 'd/c': '= a' }], async (fixture) => {
    let { overlay } = fixture
    t.equal(await at(overlay, 'a'), await at(overlay, 'd/b'), 'one object')
    t.equal((await overlay.getattr(await at(overlay, 'a'))).nlink, 3)
    await put(overlay, 'd/b', 'SHARED')
    t.equal(await text(overlay, 'a'), 'SHARED')
    await overlay.unlink(ROOT, overlay.root, 'a')
    t.equal((await overlay.getattr(await at(overlay, 'd/c'))).nlink, 2)
    overlay = await fixture.remount()
    t.equal(await text(overlay, 'd/c'), 'SHARED')
    t.equal((await overlay.getattr(await at(overlay, 'd/c'))).nlink, 2)
    await overlay.link(ROOT, await at(overlay, 'd/c'), overlay.root, 'again')
    t.equal((await overlay.getattr(await at(overlay, 'd/b'))).nlink, 3)
    for (const [dir, name] of [
      ['d', 'b'],
      ['d', 'c'],
      ['/', 'again'],
    ] as const)
      await overlay.unlink(ROOT, await at(overlay, dir), name)
    t.same(await list(overlay), ['d'])
    t.same(onDisk(join(fixture.work, 'index')), [], 'the index entry went with the last name')
  })
})

t.test('hard links break at copy-up with index=off, as in the kernel', async (t) => {
  await withOverlay(
    t,
    [{ a: 'shared', b: '= a' }],
    async ({ overlay }) => {
      await put(overlay, 'a', 'CHANGE')
      t.equal(await text(overlay, 'b'), 'shared')
      t.equal((await overlay.getattr(await at(overlay, 'a'))).nlink, 1)
    },
    { options: ',index=off' },
  )
})

t.test('a handle opened for reading before a copy-up sees the new data after it', async (t) => {
  await withOverlay(t, [{ file: 'old data' }], async ({ overlay }) => {
    const inode = await at(overlay, 'file')
    const file = await overlay.open(ROOT, inode, { read: true })
    const buffer = Buffer.alloc(8)
    t.equal(await file.read(buffer, 0, 8, 0), 8)
    t.equal(buffer.toString(), 'old data')
    await put(overlay, 'file', 'NEW')
    t.equal(await file.read(buffer, 0, 8, 0), 8)
    t.equal(buffer.toString(), 'NEW data')
    file.close()
  })
})

t.test('an unlinked open file stays readable and writable until it is closed', async (t) => {
  await withOverlay(t, [{ file: 'content' }], async ({ overlay, upper }) => {
    const inode = await at(overlay, 'file')
    const file = await overlay.open(ROOT, inode, { read: true, write: true })
    await overlay.unlink(ROOT, overlay.root, 'file')
    t.same(onDisk(upper), ['!file'])
    await file.write(Buffer.from('CON'), 0)
    const buffer = Buffer.alloc(7)
    await file.read(buffer, 0, 7, 0)
    t.equal(buffer.toString(), 'CONtent')
    t.equal((await file.getattr()).nlink, 0)
    file.close()
    t.equal(await errnoOf(() => overlay.inodeByKey(inode.key, inode.generation)), 'ESTALE')
  })
})

t.test('an unlinked lower file that is open for reading is never changed', async (t) => {
  await withOverlay(t, [{ f: 'below' }], async ({ overlay }) => {
    const inode = await at(overlay, 'f')
    const file = await overlay.open(ROOT, inode, { read: true })
    await overlay.unlink(ROOT, overlay.root, 'f')
    t.equal(await errnoOf(() => overlay.setattr(ROOT, inode, { mode: 0o600 })), 'ESTALE')
    t.equal(await errnoOf(() => overlay.setattr(ROOT, inode, { size: 0 })), 'ESTALE')
    t.equal(await errnoOf(() => overlay.setxattr(ROOT, inode, 'user.x', Buffer.from('1'))), 'ESTALE')
    const buffer = Buffer.alloc(8)
    t.equal(buffer.toString('latin1', 0, await file.read(buffer, 0, 8, 0)), 'below')
    file.close()
  })
})

t.test('a write by an ordinary user clears setuid, before and after copy-up', async (t) => {
  const lowers = [{ lower: { content: 'x', mode: 0o6777 }, upper: { content: 'x', mode: 0o6777 } }]
  await withOverlay(t, lowers, async ({ overlay }) => {
    await overlay.setattr(ROOT, await at(overlay, 'upper'), { mode: 0o6777 })
    for (const name of ['lower', 'upper']) {
      await put(overlay, name, 'y', ALICE)
      t.equal((await overlay.getattr(await at(overlay, name))).mode, 0o777, name)
    }
  })
})

t.test('an overlay without an upper refuses every change', async (t) => {
  await withOverlay(
    t,
    [{ file: 'kept' }],
    async ({ overlay }) => {
      t.equal(await errnoOf(() => put(overlay, 'file', 'x')), 'EROFS')
      t.equal(await errnoOf(() => overlay.mkdir(ROOT, overlay.root, 'd', { mode: 0o755 })), 'EROFS')
      t.equal(await errnoOf(() => overlay.unlink(ROOT, overlay.root, 'file')), 'EROFS')
      t.equal(await text(overlay, 'file'), 'kept')
    },
    { readOnly: true },
  )
})

t.test('a copy continues after a call that copied less than requested', async (t) => {
  const content = randomBytes(100_000)
  await withOverlay(t, [{ file: '' }], async ({ overlay, upper, lowers: [lower] }) => {
    const path = join(lower as string, 'file')
    writeFileSync(path, content)
    const file = await at(overlay, 'file')
    let shortened = 0
    setFaultPoints({
      before: (op) => {
        if (op === 'copy_file_range' && shortened++ === 0) truncateSync(path, 10_000)
        return 0
      },
      after: (op) => {
        if (op === 'copy_file_range') writeFileSync(path, content)
      },
    })
    await overlay.setattr(ROOT, file, { mode: 0o600 }).finally(() => setFaultPoints(undefined))
    t.ok(shortened > 0)
    t.same(readFileSync(join(upper, 'file')), content)
    writeFileSync(path, '')
    utimesSync(path, 1e9, 1e9)
  })
})

/** So many files, one for each call that is made to fail. */
const VICTIMS = 60

t.test(
  'a copy-up in which any call fails returns the error, changes nothing visible and leaves nothing behind',
  async (t) => {
    const content = 'kept'.repeat(30_000)
    const lower = Object.fromEntries(Array.from({ length: VICTIMS }, (_, i) => [`d/file-${i}`, content]))
    await withOverlay(t, [lower], async ({ overlay, upper, work }) => {
      await overlay.setattr(ROOT, await at(overlay, 'd'), { mode: 0o755 })
      const failed: string[] = []
      for (let failAt = 0; failAt < VICTIMS; failAt++) {
        const name = `file-${failAt}`
        const made: string[] = []
        setFaultPoints({
          before: (op) => (made.push(op) - 1 === failAt ? constants.errno.ENOSPC : 0),
          after: () => undefined,
        })
        const code = await errnoOf(() => put(overlay, `d/${name}`, 'x')).finally(() => setFaultPoints(undefined))
        if (made.length <= failAt) {
          t.equal((await text(overlay, `d/${name}`)).slice(0, 8), 'xeptkept', 'without a fault it succeeds')
          break
        }
        if (code === 'none') continue
        failed.push(made[failAt] as string)
        t.equal(code, 'ENOSPC', made[failAt])
        t.equal(await text(overlay, `d/${name}`), content, `${made[failAt]} failed: the content`)
        t.notOk(
          onDisk(join(upper, 'd')).includes(name) && made[failAt] !== 'pwrite',
          `${made[failAt]} failed: the upper`,
        )
        t.same(onDisk(join(work, 'work')), [], `${made[failAt]} failed: the work directory`)
      }
      t.ok(failed.length > 3, failed.join(', '))
    })
  },
)
