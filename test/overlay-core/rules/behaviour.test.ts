import { mkdirSync, readdirSync, statfsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Inode, mount, parseOptions } from '../../../overlay-core/index.ts'
import { ALICE, at, errnoOf, list, put, ROOT, text, withOverlay } from '../../helpers/overlay.ts'
import { tmpfs } from '../../helpers/tmpfs.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'

t.test('merged directories take names from all layers and attributes from the topmost', async (t) => {
  const lowers = [
    { 'd/': { mode: 0o750 }, 'd/top': '1' },
    { 'd/': { mode: 0o700 }, 'd/bottom': '2' },
  ]
  await withOverlay(t, lowers, async ({ overlay }) => {
    t.same(await list(overlay, 'd'), ['bottom', 'top'])
    t.equal((await overlay.getattr(await at(overlay, 'd'))).mode, 0o750)
    await overlay.setattr(ROOT, await at(overlay, 'd'), { mode: 0o711 })
    t.equal((await overlay.getattr(await at(overlay, 'd'))).mode, 0o711)
    t.same(await list(overlay, 'd'), ['bottom', 'top'])
  })
})

t.test('paths longer than 4,096 bytes can be reached by handles, also after a restart', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const name = 'p'.repeat(250)
    let dir: Inode = fixture.overlay.root
    for (let depth = 0; depth < 20; depth++) dir = await fixture.overlay.mkdir(ROOT, dir, name, { mode: 0o755 })
    const file = await fixture.overlay.create(ROOT, dir, 'deep', { mode: 0o644 })
    await fixture.overlay.write(ROOT, file, Buffer.from('here'), 0, 'unstable')
    fixture.overlay.retain(file)
    await fixture.overlay.retained()
    const again = await fixture.remount()
    const found = await again.inodeByKey(file.key, file.generation)
    const buffer = Buffer.alloc(8)
    t.equal(buffer.toString('latin1', 0, await again.read(ROOT, found, buffer, 0, 8, 0)), 'here')
    // Too long for the file system calls that clean up after tests: moved up before.
    let top = await at(again, name)
    for (let depth = 1; depth < 20; depth++) {
      const next = (await again.lookup(ROOT, top, name)) as Inode
      await again.rename(ROOT, top, name, again.root, `level${depth}`)
      top = next
    }
    t.equal((await again.getattr(found)).size, 4)
  })
})

t.test(
  'a file may be as large as the file system allows, with exact sizes and offsets up to just below 2^53',
  { skip },
  async (t) => {
    const medium = tmpfs(t)
    for (const name of ['l', 'u', 'w']) mkdirSync(join(medium, name))
    const overlay = await mount(parseOptions(`lowerdir=${medium}/l,upperdir=${medium}/u,workdir=${medium}/w`))
    try {
      const file = await overlay.create(ROOT, overlay.root, 'f', { mode: 0o644 })
      // Four GiB below 2^53 nothing is written any more, so that no sum of offset and length is rounded.
      const end = Number.MAX_SAFE_INTEGER - 2 ** 32
      await overlay.write(ROOT, file, Buffer.from('end'), end - 3, 'unstable')
      t.equal((await overlay.getattr(file)).size, end)
      const buffer = Buffer.alloc(8)
      t.equal(buffer.toString('latin1', 0, await overlay.read(ROOT, file, buffer, 0, 3, end - 3)), 'end')
      await overlay.setattr(ROOT, file, { size: end - 1 })
      t.equal((await overlay.getattr(file)).size, end - 1)
    } finally {
      await overlay.unmount()
    }
  },
)

t.test('statfs is the upper’s', { skip }, async (t) => {
  const medium = tmpfs(t)
  for (const name of ['u', 'w']) mkdirSync(join(medium, name))
  const dir = t.testdir({ l: {} })
  const overlay = await mount(parseOptions(`lowerdir=${dir}/l,upperdir=${medium}/u,workdir=${medium}/w`))
  try {
    const { bsize, blocks, files } = statfsSync(medium)
    const stat = await overlay.statfs()
    t.equal(stat.totalBytes, bsize * blocks)
    t.equal(stat.totalFiles, files)
  } finally {
    await overlay.unmount()
  }
})

t.test('nlink is right with index=on and index=off, before and after copy-up', async (t) => {
  for (const options of ['', ',index=off']) {
    await withOverlay(
      t,
      [{ one: 'x', two: '= one' }],
      async ({ overlay }) => {
        const nlink = async (path: string) => (await overlay.getattr(await at(overlay, path))).nlink
        t.equal(await nlink('one'), 2, options)
        await put(overlay, 'one', 'y')
        t.equal(await text(overlay, 'two'), options === '' ? 'y' : 'x')
        t.equal(await nlink('one'), options === '' ? 2 : 1, options)
        t.equal(await nlink('two'), 2, options)
      },
      { options },
    )
  }
})

t.test('a refused change copies nothing up', async (t) => {
  const lower = { 'd/f': 'f', 'd/g': 'g', 'full/x': 'x', 'e/y': 'y', 's/': { mode: 0o1777 }, 's/mine': 'm' }
  await withOverlay(t, [lower], async ({ overlay, upper }) => {
    const [d, s, f] = [await at(overlay, 'd'), await at(overlay, 's'), await at(overlay, 'd/f')]
    const { root } = overlay
    const mode = { mode: 0o644 }
    const changes: Readonly<Record<string, () => unknown>> = {
      'EEXIST create': () => overlay.create(ROOT, d, 'f', mode),
      'EEXIST mkdir': () => overlay.mkdir(ROOT, d, 'f', mode),
      'EEXIST link': () => overlay.link(ROOT, f, d, 'g'),
      'EEXIST rename': () => overlay.rename(ROOT, d, 'f', d, 'g', { noReplace: true }),
      'ENOTEMPTY rename': () => overlay.rename(ROOT, root, 'e', root, 'full'),
      'ENOTDIR rename': () => overlay.rename(ROOT, root, 'e', d, 'f'),
      'EISDIR rename': () => overlay.rename(ROOT, d, 'f', root, 'e'),
      'EINVAL rename': () => overlay.rename(ROOT, root, 'e', root, 'e/inside/'),
      'ENOTEMPTY rmdir': () => overlay.rmdir(ROOT, root, 'full'),
      'ENOENT unlink': () => overlay.unlink(ROOT, d, 'nothing'),
      'EACCES create': () => overlay.create(ALICE, d, 'new', mode),
      'EACCES unlink': () => overlay.unlink(ALICE, d, 'f'),
      'EPERM unlink': () => overlay.unlink(ALICE, s, 'mine'),
      'EPERM setattr': () => overlay.setattr(ALICE, f, { mode: 0o777 }),
      'EACCES write': () => overlay.write(ALICE, f, Buffer.from('x'), 0, 'unstable'),
      'EACCES setattr': () => overlay.setattr(ALICE, f, { size: 0 }),
      'ENODATA removexattr': () => overlay.removexattr(ROOT, f, 'user.none'),
      'EPERM setxattr': () => overlay.setxattr(ALICE, f, 'trusted.x', Buffer.from('x')),
    }
    for (const [what, change] of Object.entries(changes)) {
      t.equal(await errnoOf(async () => await change()), what.split(' ')[0], what)
      t.same(readdirSync(upper), [], what)
    }
  })
})
