import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Overlay } from '../../../overlay-core/index.ts'
import { withKernelOverlay } from '../../helpers/kernel-mount.ts'
import { at, errnoOf, type Fixture, ROOT, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

const SLOT = 'dav'
const LARGE = Buffer.alloc(50_000, 'large ')
const SMALL = Buffer.from('small')

const files = ({ work }: Fixture) => (existsSync(join(work, 'notes')) ? readdirSync(join(work, 'notes')) : [])
const note = async (overlay: Overlay, path: string) => {
  const value = await overlay.getProtocolData(ROOT, await at(overlay, path), SLOT)
  return value && Buffer.from(value).toString()
}
const set = async (overlay: Overlay, path: string, value: Buffer | undefined) =>
  overlay.setProtocolData(ROOT, await at(overlay, path), SLOT, value)

t.test(
  'large protocol data is stored in the workdir, small data in an attribute, and each replaces the other',
  async (t) => {
    await withOverlay(t, [{ 'd/f': 'F' }], async (fixture) => {
      const { overlay, upper } = fixture
      await set(overlay, 'd/f', LARGE)
      t.equal(await note(overlay, 'd/f'), LARGE.toString())
      t.equal(files(fixture).length, 1)
      t.equal(xattrOnDisk(join(upper, 'd/f'), 'trusted.overlay.overlayd.dav')?.length, 9)
      await set(overlay, 'd/f', Buffer.from(`${LARGE}!`))
      t.equal(await note(overlay, 'd/f'), `${LARGE}!`)
      t.equal(files(fixture).length, 1, 'the old one went')
      await set(overlay, 'd/f', SMALL)
      t.same([await note(overlay, 'd/f'), files(fixture)], ['small', []])
      await set(overlay, 'd/f', LARGE)
      await set(overlay, 'd/f', undefined)
      t.same([await note(overlay, 'd/f'), files(fixture)], [undefined, []])
      t.equal(await errnoOf(() => set(overlay, 'd/f', Buffer.alloc(1024 * 1024 + 1))), 'ENOSPC')
      t.equal(await note(overlay, 'd/f'), undefined)
    })
  },
)

t.test('protocol data that starts like a marker of the store is returned unchanged', async (t) => {
  await withOverlay(t, [{ f: 'F' }], async ({ overlay }) => {
    await set(overlay, 'f', Buffer.from('\0abcdefgh'))
    t.equal(await note(overlay, 'f'), '\0abcdefgh')
  })
})

t.test(
  'large protocol data follows its file and directory through renames, copy-ups of others and restarts',
  async (t) => {
    await withOverlay(t, [{ 'd/f': 'F', 'e/': '' }], async (fixture) => {
      let { overlay } = fixture
      await set(overlay, 'd/f', LARGE)
      await set(overlay, 'd', LARGE)
      await overlay.rename(ROOT, overlay.root, 'd', await at(overlay, 'e'), 'moved')
      await overlay.rename(ROOT, await at(overlay, 'e/moved'), 'f', overlay.root, 'g')
      overlay = await fixture.remount()
      t.equal(await note(overlay, 'g'), LARGE.toString())
      t.equal(await note(overlay, 'e/moved'), LARGE.toString())
      t.equal(files(fixture).length, 2)
    })
  },
)

t.test('a file that replaces another takes over its large protocol data, and a hard link keeps it', async (t) => {
  await withOverlay(t, [{ f: 'F' }], async (fixture) => {
    const { overlay } = fixture
    await set(overlay, 'f', LARGE)
    const replace = async () => {
      const staged = await overlay.stage(ROOT)
      await staged.append([Buffer.from('new')])
      return staged
    }
    await (await replace()).publish({ dir: overlay.root, name: 'f', mode: 0o644 })
    t.equal(await note(overlay, 'f'), LARGE.toString())
    t.equal(files(fixture).length, 1)
    await overlay.link(ROOT, await at(overlay, 'f'), overlay.root, 'g')
    await (await replace()).publish({ dir: overlay.root, name: 'f', mode: 0o644 })
    t.same([await note(overlay, 'f'), await note(overlay, 'g')], [LARGE.toString(), LARGE.toString()])
    t.equal(files(fixture).length, 2)
    const given = await replace()
    await t.rejects(
      given.publish({
        dir: overlay.root,
        name: 'f',
        mode: 0o644,
        check: () => {
          throw new Error('no')
        },
      }),
      /no/,
    )
    t.equal(files(fixture).length, 2)
  })
})

t.test('large protocol data is removed with the last name, however that is removed', async (t) => {
  await withOverlay(t, [{ a: 'A', b: 'B', c: 'C', 'd/': '', l: 'L' }], async (fixture) => {
    const { overlay } = fixture
    for (const path of ['a', 'b', 'd', 'l']) await set(overlay, path, LARGE)
    t.equal(files(fixture).length, 4)
    await overlay.unlink(ROOT, overlay.root, 'a')
    await overlay.rename(ROOT, overlay.root, 'c', overlay.root, 'b')
    await overlay.rmdir(ROOT, overlay.root, 'd')
    await overlay.link(ROOT, await at(overlay, 'l'), overlay.root, 'm')
    await overlay.unlink(ROOT, overlay.root, 'l')
    t.equal(await note(overlay, 'm'), LARGE.toString(), 'another name is left')
    t.equal(await note(overlay, 'b'), undefined)
    await overlay.unmount()
    t.equal(files(fixture).length, 1)
    await fixture.remount()
  })
})

t.test(
  'the next mount removes leftovers of crashes and of files that another mount removed, and nothing else',
  async (t) => {
    await withOverlay(t, [{}], async (fixture) => {
      let { overlay } = fixture
      for (const name of ['kept', 'removed', 'changed']) {
        await overlay.create(ROOT, overlay.root, name, { mode: 0o644 })
        await set(overlay, name, LARGE)
      }
      await overlay.unmount()
      const notes = join(fixture.work, 'notes')
      const [some] = readdirSync(notes)
      writeFileSync(join(notes, '#0'), 'half')
      writeFileSync(join(notes, 'stranger'), 'x')
      // A note of a living object that was written but does not count yet.
      const twin = Buffer.from(readFileSync(join(notes, String(some))))
      twin[0] = (twin[0] as number) ^ 0xff
      const [, stem] = /^(.*)\.[0-9a-f]{16}$/.exec(String(some)) as unknown as [string, string]
      writeFileSync(join(notes, `${stem}.${twin.toString('hex', 0, 8)}`), twin)
      rmSync(join(fixture.upper, 'removed'))
      overlay = await fixture.remount()
      t.equal(files(fixture).length, 2)
      t.equal(await note(overlay, 'kept'), LARGE.toString())
      t.equal(await note(overlay, 'changed'), LARGE.toString())
    })
  },
)

t.test('a marker in a lower leads nowhere, and is not copied up', async (t) => {
  await withOverlay(t, [{}], async (fixture) => {
    await fixture.overlay.create(ROOT, fixture.overlay.root, 'f', { mode: 0o644 })
    await set(fixture.overlay, 'f', LARGE)
    await fixture.overlay.unmount()
    const { dir } = fixture
    for (const name of ['upper2', 'work2']) mkdirSync(join(dir, name))
    const above = await fixture.open(`lowerdir=${fixture.upper},upperdir=${dir}/upper2,workdir=${dir}/work2`)
    t.equal(await note(above, 'f'), undefined)
    await above.setattr(ROOT, await at(above, 'f'), { mode: 0o600 })
    t.equal(await note(above, 'f'), undefined)
    t.equal(xattrOnDisk(join(dir, 'upper2/f'), 'trusted.overlay.overlayd.dav'), undefined)
    await above.unmount()
    await fixture.remount()
  })
})

t.test('a kernel mount of the same directories shows no protocol data', async (t) => {
  await withOverlay(t, [{ f: 'F' }], async (fixture) => {
    await set(fixture.overlay, 'f', LARGE)
    await fixture.overlay.unmount()
    const mnt = join(fixture.dir, 'mnt')
    const { lowers, upper, work } = fixture
    await withKernelOverlay(mnt, { lower: String(lowers[0]), upper, work }, () => {
      t.same(readdirSync(mnt), ['f'])
      t.equal(xattrOnDisk(join(mnt, 'f'), 'trusted.overlay.overlayd.dav'), undefined)
    })
    const overlay = await fixture.remount()
    t.equal(await note(overlay, 'f'), LARGE.toString(), 'and leaves them as they were')
  })
})
