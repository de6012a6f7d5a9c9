import { mkdirSync } from 'node:fs'
import t from 'tap'
import { compare, type Difference, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { ALICE, at, put, ROOT, withOverlay } from '../../helpers/overlay.ts'

/** The differences, each as one line, without those that are the same. */
async function told(overlay: Overlay, lowers: readonly string[], cred = ROOT): Promise<string[]> {
  const base = await mount(parseOptions(`lowerdir=${lowers.join(':')}`))
  try {
    const lines: string[] = []
    for await (const difference of compare(cred, overlay, base)) {
      if (difference.kind !== 'same') lines.push(lineOf(difference))
    }
    return lines.sort()
  } finally {
    await base.unmount()
  }
}

function lineOf({ kind, path, from, aspects }: Difference): string {
  const origin = from === undefined ? '' : ` from ${from.join('/')}`
  return `${kind} ${path.join('/')}${origin}${aspects.length > 0 ? ` (${aspects.join(', ')})` : ''}`
}

/** Writes a file, which is made if it is not there. */
async function write(overlay: Overlay, path: string, content: string): Promise<void> {
  const [name, ...above] = path.split('/').reverse() as [string, ...string[]]
  const dir = await at(overlay, above.reverse().join('/'))
  if (!(await overlay.lookup(ROOT, dir, name))) await overlay.create(ROOT, dir, name, { mode: 0o644 })
  await put(overlay, path, content)
}

const TREE = { a: 'one', b: 'two', 'd/x': 'x', 'd/y': 'y', 'd/e/deep': 'deep', 'other/z': 'z', link: '-> a' }

t.test('an overlay that was only read does not differ', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    await at(overlay, 'd/e/deep')
    t.same(await told(overlay, lowers), [])
  })
})

t.test('added, changed and removed objects', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers, remount }) => {
    await write(overlay, 'a', 'ONE')
    await write(overlay, 'b', 'longer than before')
    await write(overlay, 'd/new', 'new')
    await overlay.mkdir(ROOT, overlay.root, 'made', { mode: 0o755 })
    await write(overlay, 'made/in', 'in')
    await overlay.unlink(ROOT, await at(overlay, 'd'), 'y')
    await overlay.setattr(ROOT, await at(overlay, 'd/x'), { mode: 0o600 })
    await overlay.setattr(ROOT, await at(overlay, 'other'), { uid: 5 })
    const expected = [
      'added d/new',
      'added made',
      'added made/in',
      'changed a (content, time)',
      'changed b (content, time)',
      'changed d/x (mode)',
      'changed other (owner)',
      'removed d/y',
    ]
    t.same(await told(overlay, lowers), expected)
    t.same(await told(await remount(), lowers), expected, 'also after a restart')
  })
})

t.test('a removed directory stands for all that was in it', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    const d = await at(overlay, 'd')
    for (const name of ['x', 'y']) await overlay.unlink(ROOT, d, name)
    await overlay.unlink(ROOT, await at(overlay, 'd/e'), 'deep')
    await overlay.rmdir(ROOT, d, 'e')
    await overlay.rmdir(ROOT, overlay.root, 'd')
    t.same(await told(overlay, lowers), ['removed d'])
  })
})

t.test('moved files and directories are found, also from and to other directories', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers, remount }) => {
    const [root, d] = [overlay.root, await at(overlay, 'd')]
    await overlay.rename(ROOT, root, 'a', d, 'a2')
    await overlay.rename(ROOT, d, 'e', root, 'e2')
    await write(overlay, 'e2/deep', 'changed')
    await overlay.mkdir(ROOT, root, 'made', { mode: 0o755 })
    await overlay.rename(ROOT, root, 'other', await at(overlay, 'made'), 'moved')
    const expected = [
      'added made',
      'changed e2/deep (content, time)',
      'renamed d/a2 from a',
      'renamed e2 from d/e',
      'renamed made/moved from other',
    ]
    t.same(await told(overlay, lowers), expected)
    t.same(await told(await remount(), lowers), expected, 'also after a restart')
  })
})

t.test('what was moved out of a directory that was then removed is found', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    const [root, d] = [overlay.root, await at(overlay, 'd')]
    for (const name of ['x', 'e']) await overlay.rename(ROOT, d, name, root, `saved-${name}`)
    await overlay.unlink(ROOT, d, 'y')
    await overlay.rmdir(ROOT, root, 'd')
    t.same(await told(overlay, lowers), ['removed d', 'renamed saved-e from d/e', 'renamed saved-x from d/x'])
  })
})

t.test('replaced objects: by a new file, by another type, a directory by a new one', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    const root = overlay.root
    await write(overlay, 'saved', 'ONE')
    await overlay.rename(ROOT, root, 'saved', root, 'a')
    await overlay.unlink(ROOT, root, 'b')
    await overlay.mkdir(ROOT, root, 'b', { mode: 0o755 })
    await write(overlay, 'b/in', 'in')
    await overlay.rename(ROOT, root, 'd', root, 'away')
    await overlay.rename(ROOT, root, 'other', root, 'd')
    const lines = await told(overlay, lowers)
    t.same(lines, [
      'added b/in',
      'changed a (content, time)',
      'changed b (type)',
      'renamed away from d',
      'renamed d from other',
    ])
  })
})

t.test('a directory that was made again is compared name by name', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    const other = await at(overlay, 'other')
    await overlay.unlink(ROOT, other, 'z')
    await overlay.rmdir(ROOT, overlay.root, 'other')
    await overlay.mkdir(ROOT, overlay.root, 'other', { mode: (await overlay.getattr(await at(overlay, 'd'))).mode })
    await write(overlay, 'other/z', 'Z')
    await write(overlay, 'other/new', 'new')
    const lines = await told(overlay, lowers)
    t.match(lines, ['added other/new', /^changed other\/z \(content/])
  })
})

t.test('what was copied up but is as before counts as the same', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    const { mtime } = await overlay.getattr(await at(overlay, 'a'))
    await write(overlay, 'a', 'ONE')
    await write(overlay, 'a', 'one')
    t.same(await told(overlay, lowers), ['changed a (time)'])
    await overlay.setattr(ROOT, await at(overlay, 'a'), { mtime })
    t.same(await told(overlay, lowers), [])
    const base = await mount(parseOptions(`lowerdir=${lowers.join(':')}`))
    const same: string[] = []
    for await (const { kind, path } of compare(ROOT, overlay, base)) if (kind === 'same') same.push(path.join('/'))
    t.ok(same.includes('a'))
    await base.unmount()
  })
})

t.test('attributes and the targets of symlinks', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    await overlay.setxattr(ROOT, await at(overlay, 'a'), 'user.note', Buffer.from('x'))
    await overlay.unlink(ROOT, overlay.root, 'link')
    await overlay.symlink(ROOT, overlay.root, 'link', Buffer.from('b'), { mode: 0o777 })
    const lines = await told(overlay, lowers)
    t.match(lines, ['changed a (attributes)', /^changed link \(target/])
  })
})

t.test('holes that both files have are not read', async (t) => {
  await withOverlay(t, [{ sparse: '' }], async ({ overlay, lowers }) => {
    const size = 2 ** 40
    const sparse = await at(overlay, 'sparse')
    await overlay.setattr(ROOT, sparse, { size })
    await overlay.write(ROOT, sparse, Buffer.from('end'), size - 3, 'unstable')
    const base = await mount(parseOptions(`lowerdir=${lowers.join(':')}`))
    t.teardown(() => base.unmount())
    const kinds: string[] = []
    for await (const { kind } of compare(ROOT, overlay, overlay)) kinds.push(kind)
    t.ok(
      kinds.every((kind) => kind === 'same'),
      'an overlay does not differ from itself',
    )
    t.same(await told(overlay, lowers), ['changed sparse (content, time)'])
  })
})

t.test('against another view, and against a stack that has one more layer', async (t) => {
  await withOverlay(t, [{ a: 'new', extra: 'x' }, TREE], async ({ overlay, lowers, dir }) => {
    await write(overlay, 'mine', 'mine')
    const [top, bottom] = lowers as [string, string]
    t.same(await told(overlay, [bottom]), ['added extra', 'added mine', 'changed a (content)'])
    for (const name of ['u2', 'w2']) mkdirSync(`${dir}/${name}`)
    const other = await mount(parseOptions(`lowerdir=${top}:${bottom},upperdir=${dir}/u2,workdir=${dir}/w2`))
    await write(other, 'theirs', 'theirs')
    await write(other, 'b', 'changed by them')
    await other.setattr(ROOT, other.root, { mode: (await overlay.getattr(overlay.root)).mode })
    const lines: string[] = []
    for await (const each of compare(ROOT, overlay, other)) if (each.kind !== 'same') lines.push(lineOf(each))
    t.same(lines.sort(), ['added mine', 'changed b (content, time)', 'removed theirs'])
    await other.unmount()
  })
})

t.test('who may not read a directory is told nothing of it', async (t) => {
  await withOverlay(t, [TREE], async ({ overlay, lowers }) => {
    await write(overlay, 'd/x', 'secret')
    await overlay.setattr(ROOT, await at(overlay, 'd'), { mode: 0o700 })
    t.same(await told(overlay, lowers, ALICE), ['changed d (mode)'])
  })
})
