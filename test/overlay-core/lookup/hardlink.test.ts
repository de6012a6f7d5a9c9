import { execFileSync } from 'node:child_process'
import { lstatSync, readdirSync, renameSync, unlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { at, list, onDisk, put, ROOT, text, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

const LINKS = { a: 'linked', b: '= a', 'dir/c': '= a', d: 'single' }
const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'

t.test('link counts are right after a restart, whichever name is looked up first', async (t) => {
  for (const order of [
    ['a', 'b', 'dir/c'],
    ['dir/c', 'b', 'a'],
  ]) {
    await withOverlay(t, [LINKS], async (fixture) => {
      await put(fixture.overlay, 'a', 'LINKED')
      const overlay = await fixture.remount()
      for (const path of order) t.equal((await overlay.getattr(await at(overlay, path))).nlink, 3, path)
      t.equal(await at(overlay, 'a'), await at(overlay, 'b'))
      await overlay.unlink(ROOT, overlay.root, order[0] === 'a' ? 'a' : 'b')
      await overlay.link(ROOT, await at(overlay, 'dir/c'), overlay.root, 'e')
      const again = await fixture.remount()
      for (const path of ['e', 'dir/c']) t.equal((await again.getattr(await at(again, path))).nlink, 3, path)
    })
  }
})

t.test('a copied-up hard link stays usable through any name when another one is removed', async (t) => {
  await withOverlay(t, [LINKS], async (fixture) => {
    await put(fixture.overlay, 'a', 'LINKED')
    const overlay = await fixture.remount()
    await overlay.unlink(ROOT, overlay.root, 'a')
    t.equal(await text(overlay, 'b'), 'LINKED')
    t.equal((await overlay.getattr(await at(overlay, 'dir/c'))).nlink, 2)
  })
})

t.test(
  'an index entry left by a crash without an upper name is used, with the link count of the lower',
  { skip: needsRoot },
  async (t) => {
    await withOverlay(t, [LINKS], async (fixture) => {
      await put(fixture.overlay, 'a', 'LINKED')
      await fixture.overlay.unmount()
      t.equal(xattrOnDisk(join(fixture.upper, 'a'), 'trusted.overlay.nlink'), 'L+0')
      unlinkSync(join(fixture.upper, 'a'))
      const overlay = await fixture.remount()
      for (const path of ['a', 'b', 'dir/c']) {
        t.equal(await text(overlay, path), 'LINKED')
        t.equal((await overlay.getattr(await at(overlay, path))).nlink, 3, path)
      }
    })
  },
)

t.test('mount removes index entries whose objects have no name left, and no others', { skip: needsRoot }, async (t) => {
  await withOverlay(t, [LINKS], async (fixture) => {
    const index = join(fixture.work, 'index')
    await put(fixture.overlay, 'a', 'LINKED')
    await fixture.overlay.unlink(ROOT, fixture.overlay.root, 'b')
    await fixture.overlay.unmount()
    const [entry] = readdirSync(index) as [string]
    const orphan = `${entry.slice(0, -2)}00`
    await (await fixture.remount()).unmount()
    t.same(readdirSync(index), [entry])
    execFileSync('cp', ['-a', join(index, entry), join(index, orphan)])
    execFileSync('setfattr', ['-n', 'trusted.overlay.nlink', '-v', 'U-1', join(index, orphan)])
    t.equal(lstatSync(join(index, orphan)).nlink, 1)
    const overlay = await fixture.remount()
    t.same(readdirSync(index), [entry])
    t.same(await list(overlay), ['a', 'd', 'dir'])
  })
})

t.test('the name by which a lower hard link was last looked up is the one that is copied up', async (t) => {
  await withOverlay(t, [{ 'a/x': 'linked', 'b/y': '= a/x' }], async ({ overlay, upper }) => {
    await at(overlay, 'b/y')
    await at(overlay, 'a/x')
    await overlay.setattr(ROOT, await at(overlay, 'b/y'), { mode: 0o600 })
    t.same(onDisk(upper), ['b/'])
    t.equal((await overlay.getattr(await at(overlay, 'a/x'))).mode, 0o600)
  })
})

t.test(
  'a separated hard link moved by the kernel is one object, whatever its size and link count become',
  async (t) => {
    await withOverlay(
      t,
      [{ a: 'linked', b: '= a' }],
      async (fixture) => {
        let { overlay } = fixture
        await overlay.mkdir(ROOT, overlay.root, 'dir', { mode: 0o755 })
        await overlay.setattr(ROOT, await at(overlay, 'a'), { mode: 0o600 })
        await overlay.unmount()
        // The kernel does not know its identity, and so does not call the directory impure.
        renameSync(join(fixture.upper, 'a'), join(fixture.upper, 'dir/a'))
        execFileSync('mknod', [join(fixture.upper, 'a'), 'c', '0', '0'])
        overlay = await fixture.remount()
        const { key } = await at(overlay, 'dir/a')
        for (const size of [1_000_000, 0]) {
          await overlay.setattr(ROOT, await at(overlay, 'dir/a'), { size })
          overlay = await fixture.remount()
          t.equal((await at(overlay, 'dir/a')).key, key, `the same with ${size} bytes`)
        }
      },
      { options: ',index=off' },
    )
  },
)
