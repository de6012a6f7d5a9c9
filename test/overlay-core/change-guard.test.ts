import t from 'tap'
import { Access, type ChangeGuard, guardChanges, type Overlay } from '../../overlay-core/index.ts'
import { at, errnoOf, onDisk, ROOT, withOverlay } from '../helpers/overlay.ts'

/** Holds `held` with all below it. */
function holding(...held: string[]): ChangeGuard {
  const within = (path: string, top: string) => path === top || path.startsWith(`${top}/`)
  return {
    active: held.length > 0,
    covers: (path) => held.some((top) => within(path.join('/'), top)),
    coversBelow: (path) => held.some((top) => top.startsWith(`${path.join('/')}/`)),
  }
}

const DATA = Buffer.from('x')
const HELD = 'd/held'

/** Every change of what is held, or of the names around it. */
const refused: Record<string, (overlay: Overlay) => unknown> = {
  write: async (o) => o.write(ROOT, await at(o, `${HELD}/f`), DATA, 0, 'unstable'),
  'open for writing': async (o) => o.open(ROOT, await at(o, `${HELD}/f`), { write: true }),
  'open with truncation': async (o) => o.open(ROOT, await at(o, `${HELD}/f`), { truncate: true }),
  setattr: async (o) => o.setattr(ROOT, await at(o, HELD), { mode: 0o700 }),
  setxattr: async (o) => o.setxattr(ROOT, await at(o, `${HELD}/f`), 'user.a', DATA),
  removexattr: async (o) => o.removexattr(ROOT, await at(o, `${HELD}/f`), 'user.a'),
  setProtocolData: async (o) => o.setProtocolData(ROOT, await at(o, `${HELD}/f`), 'n', DATA),
  create: async (o) => o.create(ROOT, await at(o, HELD), 'n', { mode: 0o644 }),
  mkdir: async (o) => o.mkdir(ROOT, await at(o, HELD), 'n', { mode: 0o755 }),
  symlink: async (o) => o.symlink(ROOT, await at(o, HELD), 'n', DATA, { mode: 0o777 }),
  mknod: async (o) => o.mknod(ROOT, await at(o, HELD), 'n', 0o010000, { major: 0, minor: 0 }, { mode: 0o644 }),
  'link into it': async (o) => o.link(ROOT, await at(o, 'free'), await at(o, HELD), 'n'),
  'link out of it': async (o) => o.link(ROOT, await at(o, `${HELD}/f`), o.root, 'n'),
  unlink: async (o) => o.unlink(ROOT, await at(o, HELD), 'f'),
  rmdir: async (o) => o.rmdir(ROOT, await at(o, 'd'), 'held'),
  'rename of it': async (o) => o.rename(ROOT, await at(o, 'd'), 'held', o.root, 'n'),
  'rename of what holds it': async (o) => o.rename(ROOT, o.root, 'd', o.root, 'n'),
  'rename into it': async (o) => o.rename(ROOT, o.root, 'free', await at(o, HELD), 'n'),
  'rename onto it': async (o) => o.rename(ROOT, o.root, 'e', await at(o, 'd'), 'held'),
  publish: async (o) => {
    const staged = await o.stage(ROOT)
    try {
      await staged.publish({ dir: await at(o, HELD), name: 'n', mode: 0o644 })
    } finally {
      await staged.discard()
    }
  },
}

t.test('objects protected by a guard can be read but not changed', async (t) => {
  await withOverlay(t, [{ 'd/held/f': 'F', free: 'free', 'e/': '' }], async ({ overlay, upper }) => {
    const guarded = guardChanges(overlay, holding(HELD))
    for (const [what, change] of Object.entries(refused)) t.equal(await errnoOf(() => change(guarded)), 'EACCES', what)
    t.same(onDisk(upper), [], 'nothing was copied up')
    const file = await at(guarded, `${HELD}/f`)
    t.equal(await guarded.access(ROOT, file, Access.read | Access.write), Access.read)
    const open = await guarded.open(ROOT, file, { read: true })
    t.equal(await open.read(Buffer.alloc(1), 0, 1, 0), 1)
    open.close()
  })
})

t.test('unprotected objects can be changed, and all objects if nothing is protected', async (t) => {
  await withOverlay(t, [{ 'd/held/f': 'F', free: 'free', 'e/': '' }], async ({ overlay, upper }) => {
    const guarded = guardChanges(overlay, holding(HELD))
    await guarded.write(ROOT, await at(guarded, 'free'), DATA, 0, 'unstable')
    await guarded.create(ROOT, await at(guarded, 'd'), 'n', { mode: 0o644 })
    t.same(onDisk(upper), ['d/', 'free'])
    const open = guardChanges(overlay, holding())
    await open.write(ROOT, await at(open, `${HELD}/f`), DATA, 0, 'unstable')
    t.same(onDisk(`${upper}/d`), ['held/', 'n'])
  })
})

t.test('a hard link is protected by any of its names, and a moved object by its new name', async (t) => {
  await withOverlay(t, [{ 'd/a': 'A', 'e/b': '= d/a', c: 'C' }], async ({ overlay }) => {
    const guarded = guardChanges(overlay, holding('d'))
    await at(guarded, 'd/a')
    const write = async (path: string) => guarded.write(ROOT, await at(guarded, path), DATA, 0, 'unstable')
    t.equal(await errnoOf(() => write('e/b')), 'EACCES')
    const moved = await at(guarded, 'c')
    await overlay.rename(ROOT, overlay.root, 'c', await at(overlay, 'd'), 'c')
    t.same(guarded.paths(moved), [['d', 'c']])
    t.equal(await errnoOf(() => guarded.write(ROOT, moved, DATA, 0, 'unstable')), 'EACCES')
  })
})
