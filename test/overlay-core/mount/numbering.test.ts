import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { numberFileSystems } from '../../../overlay-core/mount/numbering.ts'
import { at, withOverlay } from '../../helpers/overlay.ts'
import { tmpfs } from '../../helpers/tmpfs.ts'

const needsRoot = process.getuid?.() === 0 ? false : 'needs root'

/** File id, key and generation of the object at `path`. */
async function identity(overlay: Overlay, path: string) {
  const inode = await at(overlay, path)
  const { fileIdHi, fileIdLo } = await overlay.getattr(inode)
  return { key: inode.key, generation: inode.generation, fileIdHi, fileIdLo }
}

t.test(
  'objects keep their file ids when the overlay is mounted again with other lowers',
  { skip: needsRoot },
  async (t) => {
    await withOverlay(t, [{ 'd/base': 'x' }], async ({ lowers, upper, work, overlay }) => {
      await overlay.unmount()
      const [first, second] = [tmpfs(t), tmpfs(t)]
      writeFileSync(join(first, 'one'), '1')
      writeFileSync(join(second, 'two'), '2')
      const open = (...stack: string[]) =>
        mount(parseOptions(`lowerdir=${stack.join(':')},upperdir=${upper},workdir=${work}`))
      const all = await open(first, second, lowers[0] as string)
      const [two, base] = [await identity(all, 'two'), await identity(all, 'd/base')]
      await all.unmount()
      for (const stack of [[second, lowers[0] as string], [lowers[0] as string, second], [second]]) {
        const again = await open(...stack)
        t.same(await identity(again, 'two'), two, stack.join(':'))
        if (stack.length > 1) t.same(await identity(again, 'd/base'), base, stack.join(':'))
        await again.unmount()
      }
      const last = await open(lowers[0] as string)
      t.same(await identity(last, 'd/base'), base)
      await last.unmount()
      t.match(JSON.parse(readFileSync(join(work, 'identity.log')).subarray(24).toString()), {
        fileSystems: [{ index: 0 }, {}, {}],
      })
    })
  },
)

t.test('without an upper, root and UUID stay the same while the lowers change', async (t) => {
  const dir = t.testdir({ old: { sub: { f: '1' } }, new: { f: '2' }, state: {} })
  const open = (lower: string) => mount(parseOptions(`lowerdir=${lower}`), { handleDirectory: join(dir, 'state') })
  const before = await open(join(dir, 'old/sub'))
  const [root, uuid] = [await identity(before, '/'), Buffer.from(before.uuid).toString('hex')]
  await before.unmount()
  // The lower that the root was made of is an ordinary directory of the second of these.
  for (const lower of ['new', 'old']) {
    const after = await open(join(dir, lower))
    t.same(await identity(after, '/'), root)
    t.equal(Buffer.from(after.uuid).toString('hex'), uuid)
    if (lower === 'old') {
      const sub = await at(after, 'sub')
      t.not(sub.key, after.root.key, 'two directories are two objects')
      t.equal((await at(after, 'sub/f')).type, 0o100000)
    }
    await after.unmount()
  }
})

t.test('a damaged identity file counts as missing', async (t) => {
  await withOverlay(t, [{ f: 'x' }], async (fixture) => {
    const before = await identity(fixture.overlay, 'f')
    for (const text of ['', '{', '[]', '{"fileSystems":[{"index":999,"uuid":"","marks":[]}]}', '\0\xff']) {
      await fixture.overlay.unmount()
      writeFileSync(join(fixture.work, 'identity.log'), text, 'latin1')
      t.same(await identity(await fixture.remount(), 'f'), before, JSON.stringify(text))
    }
    await fixture.overlay.unmount()
    renameSync(join(fixture.work, 'identity.log'), join(fixture.work, 'identity.log.new'))
    t.same(await identity(await fixture.remount(), 'f'), before)
  })
})

t.test(
  'file systems are recognized by UUID, clones and those without one by their location; numbers are assigned once',
  (t) => {
    const a = { device: '1:1', uuid: 'aa', marks: ['/a'] }
    const b = { device: '1:2', uuid: 'bb', marks: ['/b'] }
    const none = { device: '0:9', uuid: '', marks: ['/n'] }
    const first = numberFileSystems([], [a, b, none])
    t.same([...first.numbers.values()], [0, 1, 2])
    const moved = numberFileSystems(first.known, [{ ...b, device: '7:7', marks: ['/elsewhere'] }, none])
    t.same([...moved.numbers.values()], [1, 2])
    const otherPlace = numberFileSystems(moved.known, [{ ...none, marks: ['/m'] }])
    t.same([...otherPlace.numbers.values()], [3], 'without uuid and at another place it is another one')
    const clone = { device: '1:3', uuid: 'aa', marks: ['/clone'] }
    const cloned = numberFileSystems(numberFileSystems(first.known, [a]).known, [clone, a])
    t.equal(cloned.numbers.get('1:1'), 0, 'the one that was there first keeps its number')
    t.not(cloned.numbers.get('1:3'), 0)
    const again = numberFileSystems(cloned.known, [a, clone])
    t.same([again.numbers.get('1:1'), again.numbers.get('1:3')], [cloned.numbers.get('1:1'), cloned.numbers.get('1:3')])
    let known = first.known
    for (let i = 0; i < 300; i++)
      known = numberFileSystems(known, [a, { device: '9:9', uuid: `u${i}`, marks: [] }]).known
    t.equal(known.length, 256)
    t.equal(numberFileSystems(known, [a]).numbers.get('1:1'), 0, 'what is in use never gives its number away')
    t.end()
  },
)
