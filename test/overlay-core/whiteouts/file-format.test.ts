import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OptionError } from '../../../overlay-core/index.ts'
import { at, errnoOf, list, onDisk, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

const MODE = { mode: 0o755 }
const FILES = { options: ',whiteouts=files' }

/** The message of the OptionError that mounting ends with. */
async function refusal(open: () => Promise<unknown>): Promise<string> {
  try {
    await open()
  } catch (error) {
    if (error instanceof OptionError) return error.message
    throw error
  }
  return 'none'
}

t.test('names of the whiteout format cannot be created, and those of a lower are not shown', async (t) => {
  const lowers = [{ '.wh.plain': 'x', 'd/.wh.in': '', 'd/file': 'y' }]
  await withOverlay(
    t,
    lowers,
    async ({ overlay, upper }) => {
      t.same(await list(overlay), ['d'], 'a file of a plain lower that has such a name is not to be seen')
      t.same(await list(overlay, 'd'), ['file'])
      t.equal(await errnoOf(() => at(overlay, '.wh.plain')), 'ENOENT')
      const { root } = overlay
      for (const name of ['.wh.x', '.wh..wh..opq', '.wh.', '.wh..wh.overlayd']) {
        t.equal(await errnoOf(() => overlay.create(ROOT, root, name, MODE)), 'EPERM', name)
        t.equal(await errnoOf(() => overlay.mkdir(ROOT, root, name, MODE)), 'EPERM', name)
        t.equal(await errnoOf(() => overlay.rename(ROOT, root, 'd', root, name)), 'EPERM', name)
        t.equal(await errnoOf(async () => overlay.link(ROOT, await at(overlay, 'd/file'), root, name)), 'EPERM', name)
        t.equal(await errnoOf(() => overlay.unlink(ROOT, root, name)), 'ENOENT', name)
        const staged = await overlay.stage(ROOT)
        t.equal(await errnoOf(() => staged.publish({ dir: root, name, mode: 0o644, durable: false })), 'EPERM', name)
      }
      await overlay.unlink(ROOT, await at(overlay, 'd'), 'file')
      await overlay.rmdir(ROOT, root, 'd')
      t.same(onDisk(upper), ['!d'])
    },
    FILES,
  )
})

t.test('the whiteout format of the first mount is recorded, and no option changes it', async (t) => {
  await withOverlay(
    t,
    [{ file: 'x' }],
    async (fixture) => {
      const { upper, work, lowers } = fixture
      await fixture.overlay.unlink(ROOT, fixture.overlay.root, 'file')
      t.ok(existsSync(join(upper, '.wh.file')))
      t.equal(readFileSync(join(work, 'whiteouts'), 'latin1'), 'whiteouts=files\n')
      const again = await fixture.remount('')
      t.same(await list(again), [])
      await again.unmount()
      const line = `lowerdir=${lowers[0]},upperdir=${upper},workdir=${work}`
      t.match(
        await refusal(() => fixture.open(`${line},whiteouts=device`)),
        /^whiteouts: .*created with whiteouts=files/,
      )

      const other = join(fixture.dir, 'work2')
      mkdirSync(other)
      const moved = await fixture.open(`lowerdir=${lowers[0]},upperdir=${upper},workdir=${other}`)
      t.same(await list(moved), [], 'the upper itself tells, with a new workdir')
      await moved.unmount()
      const readOnly = await fixture.open(`lowerdir=${upper}:${lowers[0]}`)
      t.same(await list(readOnly), [], 'and as a lower')
      await readOnly.unmount()
      await fixture.open(line)
    },
    FILES,
  )
})

t.test("an upper begun in the kernel's form stays in it", async (t) => {
  await withOverlay(t, [{ file: 'x' }], async (fixture) => {
    await fixture.overlay.create(ROOT, fixture.overlay.root, '.wh.file', MODE)
    t.same(await list(fixture.overlay), ['.wh.file', 'file'], 'the name means nothing here')
    const { root } = fixture.overlay
    t.equal(await errnoOf(() => fixture.overlay.create(ROOT, root, '.wh..wh.overlayd', MODE)), 'EPERM')
    await fixture.overlay.unmount()
    const line = `lowerdir=${fixture.lowers[0]},upperdir=${fixture.upper},workdir=${fixture.work}`
    t.match(await refusal(() => fixture.open(`${line},whiteouts=files`)), /created with whiteouts=device/)
    writeFileSync(join(fixture.upper, '.wh..wh.overlayd'), 'whiteouts=files\n')
    const again = await fixture.open(line)
    t.same(await list(again), ['.wh.file', 'file'], 'a record that was put there afterwards changes nothing')
  })
})

t.test('an unpacked OCI layer is read as one if the option says so, and a plain lower is not affected', async (t) => {
  const layer = {
    '.wh.gone': '',
    'd/.wh..wh..opq': '',
    'd/new': 'n',
    'e/.wh.x': '',
    'e/y': 'top',
    both: 'top',
    '.wh.both': '',
  }
  const base = { gone: '1', 'd/old': '2', 'e/x': '3', 'e/y': '4', both: 'base', 'f/z': '5' }
  await withOverlay(t, [layer, base], async (fixture) => {
    t.ok((await list(fixture.overlay)).includes('.wh.gone'), 'without the option the names are names')
    t.ok((await list(fixture.overlay)).includes('gone'))
    const overlay = await fixture.remount(',lower_whiteouts=files')
    t.same(await list(overlay), ['both', 'd', 'e', 'f'])
    t.same([await list(overlay, 'd'), await list(overlay, 'e')], [['new'], ['y']])
    t.equal(await errnoOf(() => at(overlay, 'gone')), 'ENOENT')
    t.equal(await errnoOf(() => at(overlay, 'd/old')), 'ENOENT')
    t.equal(await errnoOf(() => at(overlay, 'e/.wh.x')), 'ENOENT')
    t.equal(await text(overlay, 'both'), 'top', 'an object counts, not the whiteout beside it')
    const e = await at(overlay, 'e')
    await overlay.create(ROOT, e, 'x', MODE)
    await overlay.create(ROOT, e, '.wh.x', MODE)
    t.same(await list(overlay, 'e'), ['.wh.x', 'x', 'y'], 'in an upper of the other form clients may use the names')
    await overlay.unlink(ROOT, overlay.root, 'both')
    t.same(onDisk(fixture.upper), ['!both', 'e/'])
  })
})

t.test('a whiteout is a separate file even for a replaced object, and a file makes a directory opaque', async (t) => {
  await withOverlay(
    t,
    [{ 'd/a': '1', 'd/sub/x': '2', f: '3' }],
    async ({ overlay, upper }) => {
      await overlay.unlink(ROOT, await at(overlay, 'd'), 'a')
      await overlay.rename(ROOT, overlay.root, 'f', await at(overlay, 'd'), 'a')
      t.same(readdirSync(join(upper, 'd')), ['a'], 'renamed over a whiteout, which is gone')
      t.same(onDisk(upper), ['!f', 'd/'])
      await overlay.unlink(ROOT, await at(overlay, 'd/sub'), 'x')
      await overlay.rmdir(ROOT, await at(overlay, 'd'), 'sub')
      await overlay.mkdir(ROOT, await at(overlay, 'd'), 'sub', { ...MODE, mtime: { sec: 5, nsec: 6 } })
      t.ok(existsSync(join(upper, 'd/sub/.wh..wh..opq')))
      t.same((await overlay.getattr(await at(overlay, 'd/sub'))).mtime, { sec: 5, nsec: 6 })
      t.same(await list(overlay, 'd/sub'), [])
      const long = 'n'.repeat(252)
      await overlay.create(ROOT, overlay.root, long, MODE)
      await overlay.unlink(ROOT, overlay.root, long)
      t.same(onDisk(upper), ['!f', 'd/'])
    },
    FILES,
  )
})

t.test('a name too long for a whiteout cannot be hidden, so the file stays', async (t) => {
  const long = 'n'.repeat(252)
  await withOverlay(
    t,
    [{ [long]: 'x' }],
    async ({ overlay, upper }) => {
      t.equal(await errnoOf(() => overlay.unlink(ROOT, overlay.root, long)), 'ENAMETOOLONG')
      t.equal(await errnoOf(() => overlay.rename(ROOT, overlay.root, long, overlay.root, 'b')), 'ENAMETOOLONG')
      t.same(await list(overlay), [long])
      t.equal(await text(overlay, long), 'x')
      t.notOk(onDisk(upper).some((name) => name.startsWith('!')))
    },
    FILES,
  )
})
