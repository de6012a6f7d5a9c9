import { join } from 'node:path'
import t from 'tap'
import type { Overlay } from '../../../overlay-core/index.ts'
import {
  at,
  errnoOf,
  isOpaqueOnDisk,
  list,
  onDisk,
  put,
  ROOT,
  text,
  withOverlay,
  xattrOnDisk,
} from '../../helpers/overlay.ts'

const MODE = { mode: 0o755 }

async function move(overlay: Overlay, from: string, to: string, options = {}): Promise<void> {
  const split = (path: string) => [path.split('/').slice(0, -1).join('/'), path.split('/').at(-1) as string] as const
  const [fromDir, fromName] = split(from)
  const [toDir, toName] = split(to)
  await overlay.rename(ROOT, await at(overlay, fromDir), fromName, await at(overlay, toDir), toName, options)
}

t.test('rename of a lower file leaves a whiteout and keeps the object', async (t) => {
  await withOverlay(t, [{ 'd/a': 'text', 'e/x': '' }], async ({ overlay, upper }) => {
    const inode = await at(overlay, 'd/a')
    await move(overlay, 'd/a', 'e/b')
    t.equal(await at(overlay, 'e/b'), inode)
    t.same([await list(overlay, 'd'), await list(overlay, 'e')], [[], ['b', 'x']])
    t.same([onDisk(join(upper, 'd')), onDisk(join(upper, 'e'))], [['!a'], ['b']])
  })
})

t.test('a merged directory moves by a redirect and is found again after a remount', async (t) => {
  await withOverlay(
    t,
    [
      { 'd/one': '1', 'p/q': '' },
      { 'd/two': '2', 'd/sub/three': '3' },
    ],
    async (fixture) => {
      await move(fixture.overlay, 'd', 'renamed')
      t.equal(xattrOnDisk(join(fixture.upper, 'renamed'), 'trusted.overlay.redirect'), 'd')
      await move(fixture.overlay, 'renamed', 'p/deep')
      t.equal(xattrOnDisk(join(fixture.upper, 'p/deep'), 'trusted.overlay.redirect'), '/d')
      await move(fixture.overlay, 'p/deep/sub', 'sub2')
      const overlay = await fixture.remount()
      t.same(await list(overlay), ['p', 'sub2'])
      t.same(await list(overlay, 'p/deep'), ['one', 'two'])
      t.equal(await text(overlay, 'sub2/three'), '3')
      await overlay.mkdir(ROOT, overlay.root, 'd', MODE)
      t.same(await list(overlay, 'd'), [], 'a new directory at the old name does not see the old lowers')
    },
  )
})

t.test('with redirect_dir=off a directory with lowers does not move', async (t) => {
  await withOverlay(
    t,
    [{ 'd/x': '' }],
    async ({ overlay }) => {
      t.equal(await errnoOf(() => move(overlay, 'd', 'e')), 'EXDEV')
      await overlay.mkdir(ROOT, overlay.root, 'own', MODE)
      await move(overlay, 'own', 'other')
      t.same(await list(overlay), ['d', 'other'])
    },
    { options: ',redirect_dir=off' },
  )
})

t.test('rename replaces files and empty directories, and refuses what rename(2) refuses', async (t) => {
  const lowers = [{ f: 'f', g: 'g', 'full/x': '', 'hollow/y': '', 'd/z': '' }]
  await withOverlay(t, lowers, async ({ overlay, upper }) => {
    await move(overlay, 'f', 'g')
    t.equal(await text(overlay, 'g'), 'f')
    await overlay.unlink(ROOT, await at(overlay, 'hollow'), 'y')
    t.equal(await errnoOf(() => move(overlay, 'd', 'full')), 'ENOTEMPTY')
    t.equal(await errnoOf(() => move(overlay, 'd', 'g')), 'ENOTDIR')
    t.equal(await errnoOf(() => move(overlay, 'g', 'd')), 'EISDIR')
    t.equal(await errnoOf(() => move(overlay, 'd', 'd/inside')), 'EINVAL')
    t.equal(await errnoOf(() => move(overlay, 'nothing', 'x')), 'ENOENT')
    t.equal(await errnoOf(() => move(overlay, 'g', 'full', { noReplace: true })), 'EEXIST')
    await move(overlay, 'd', 'hollow')
    t.same(await list(overlay, 'hollow'), ['z'])
    t.same(onDisk(upper), ['!d', '!f', 'g', 'hollow/'])
  })
})

t.test('a directory does not move into itself, and is not copied up for it', async (t) => {
  await withOverlay(t, [{ 'd/deep/z': '' }], async ({ overlay, upper }) => {
    t.equal(await errnoOf(() => move(overlay, 'd', 'd/inside')), 'EINVAL')
    t.equal(await errnoOf(() => move(overlay, 'd', 'd/deep/inside')), 'EINVAL')
    t.same(onDisk(upper), [])
  })
})

t.test('exchange swaps two names', async (t) => {
  await withOverlay(t, [{ 'd/x': '1', f: 'file' }], async (fixture) => {
    await move(fixture.overlay, 'd', 'f', { exchange: true })
    const overlay = await fixture.remount()
    t.equal(await text(overlay, 'd'), 'file')
    t.same(await list(overlay, 'f'), ['x'])
  })
})

t.test('a directory can be moved over a whiteout', async (t) => {
  await withOverlay(t, [{ 'old/hidden': '', src: '' }], async ({ overlay, upper }) => {
    await overlay.unlink(ROOT, await at(overlay, 'old'), 'hidden')
    await overlay.rmdir(ROOT, overlay.root, 'old')
    await overlay.mkdir(ROOT, overlay.root, 'new', MODE)
    await overlay.create(ROOT, await at(overlay, 'new'), 'n', MODE)
    await move(overlay, 'new', 'old')
    t.same(await list(overlay, 'old'), ['n'])
    t.same(onDisk(upper), ['old/'])
    t.ok(isOpaqueOnDisk(join(upper, 'old')))
  })
})

t.test('writes to a file reach it while its directory is being moved', async (t) => {
  await withOverlay(t, [{ 'a/b/file': '......' }], async ({ overlay }) => {
    const inode = await at(overlay, 'a/b/file')
    const write = overlay.write(ROOT, inode, Buffer.from('hello!'), 0, 'unstable')
    await Promise.all([write, move(overlay, 'a', 'moved')])
    t.equal(await text(overlay, 'moved/b/file'), 'hello!')
    await put(overlay, 'moved/b/file', 'HELLO')
    t.equal(await text(overlay, 'moved/b/file'), 'HELLO!')
  })
})

t.test('renames in both directions between two directories end in a serial outcome', async (t) => {
  await withOverlay(t, [{ 'a/x': '1', 'b/y': '2' }], async ({ overlay }) => {
    const steps = Array.from({ length: 40 }, (_, i) => {
      const [from, to] = i % 2 === 0 ? ['a/x', 'b/x'] : ['b/x', 'a/x']
      return errnoOf(() => move(overlay, from as string, to as string))
    })
    for (const code of await Promise.all(steps)) t.ok(['none', 'ENOENT'].includes(code), code)
    const names = [...(await list(overlay, 'a')), ...(await list(overlay, 'b'))].sort()
    t.same(names, ['x', 'y'])
  })
})
