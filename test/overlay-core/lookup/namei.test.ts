import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import t from 'tap'
import { at, errnoOf, list, ROOT, text, withOverlay } from '../../helpers/overlay.ts'

t.test('lookup takes the topmost file and merges directories', async (t) => {
  const lowers = [
    { 'both/a': 'upper lower', file: 'first' },
    { 'both/a': 'hidden', 'both/b': 'from below', 'file/inside': 'hidden dir' },
  ]
  await withOverlay(t, lowers, async ({ overlay }) => {
    t.same(await list(overlay), ['both', 'file'])
    t.same(await list(overlay, 'both'), ['a', 'b'])
    t.equal(await text(overlay, 'both/a'), 'upper lower')
    t.equal(await text(overlay, 'both/b'), 'from below')
    t.equal(await text(overlay, 'file'), 'first', 'a file hides the directory below it')
  })
})

t.test('a whiteout in an upper lower hides the name below', async (t) => {
  await withOverlay(
    t,
    [
      { gone: 'whiteout', 'd/gone': 'whiteout' },
      { gone: 'x', 'd/gone': 'x', 'd/stays': 'y' },
    ],
    async ({ overlay }) => {
      t.same(await list(overlay), ['d'])
      t.same(await list(overlay, 'd'), ['stays'])
      t.equal(await errnoOf(() => at(overlay, 'gone')), 'ENOENT')
    },
  )
})

t.test('an opaque directory hides all lower layers, and a non-directory in between ends the merge', async (t) => {
  const lowers = [
    { 'mixed/top': '1' },
    { 'opaque/middle': '2', mixed: 'a file' },
    { 'opaque/low': '3', 'mixed/low': '3' },
  ]
  await withOverlay(t, lowers, async (fixture) => {
    execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(fixture.lowers[1] as string, 'opaque')])
    const overlay = await fixture.remount()
    t.same(await list(overlay, 'opaque'), ['middle'])
    t.same(await list(overlay, 'mixed'), ['top'])
  })
})

t.test('a hidden name stays hidden in lookups, not only in listings', async (t) => {
  const lower = { gone: 'x', 'd/gone': 'x', 'd/stays': 'y', 'opaque/low': 'z' }
  await withOverlay(t, [lower], async (fixture) => {
    const { overlay: first } = fixture
    await first.unlink(ROOT, first.root, 'gone')
    await first.unlink(ROOT, await at(first, 'd'), 'gone')
    await first.unlink(ROOT, await at(first, 'opaque'), 'low')
    await first.rmdir(ROOT, first.root, 'opaque')
    await first.mkdir(ROOT, first.root, 'opaque', { mode: 0o755 })
    const overlay = await fixture.remount()
    t.equal(await errnoOf(() => at(overlay, 'gone')), 'ENOENT')
    t.equal(await errnoOf(() => at(overlay, 'd/gone')), 'ENOENT')
    t.equal(await text(overlay, 'd/stays'), 'y')
    t.equal(await errnoOf(() => at(overlay, 'opaque/low')), 'ENOENT')
    t.same(await list(overlay, 'opaque'), [])
  })
})

t.test('a whiteout, a file or an opaque directory on the way of a redirect hides the layers below', async (t) => {
  const cases: [what: string, middle: Record<string, string>, seen: string[]][] = [
    ['a whiteout', { deep: 'whiteout' }, ['own']],
    ['a file', { deep: 'file' }, ['own']],
    ['an opaque directory', { 'deep/old/middle': '2' }, ['middle', 'own']],
  ]
  for (const [what, middle, seen] of cases) {
    await withOverlay(t, [{ 'new/own': '1' }, middle, { 'deep/old/kept': '3' }], async (fixture) => {
      const [top, between] = fixture.lowers as [string, string]
      execFileSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/deep/old', join(top, 'new')])
      if (seen.length > 1) execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(between, 'deep')])
      t.same(await list(await fixture.remount(), 'new'), seen, what)
    })
  }
})

t.test('an absolute redirect of a lower directory is followed from the layer roots', async (t) => {
  await withOverlay(t, [{ 'new/own': '1' }, { 'deep/old/kept': '2' }], async (fixture) => {
    const moved = join(fixture.lowers[0] as string, 'new')
    execFileSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/deep/old', moved])
    const overlay = await fixture.remount()
    t.same(await list(overlay, 'new'), ['kept', 'own'])
    const strict = await fixture.remount(',redirect_dir=nofollow')
    t.equal(await errnoOf(() => at(strict, 'new')), 'EPERM', 'nofollow refuses it')
  })
})

t.test('a redirect cannot leave its layer', async (t) => {
  await withOverlay(
    t,
    [
      { 'a/x': '1', 'b/x': '1' },
      { 'in/y': '2', link: '-> /etc' },
    ],
    async (fixture) => {
      const lower = fixture.lowers[0] as string
      execFileSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/../../etc', join(lower, 'a')])
      execFileSync('setfattr', ['-n', 'trusted.overlay.redirect', '-v', '/link', join(lower, 'b')])
      const overlay = await fixture.remount()
      t.equal(await errnoOf(() => at(overlay, 'a')), 'EACCES')
      t.same(await list(overlay, 'b'), ['x'], 'a symlink ends the merge')
    },
  )
})

t.test('names of any bytes and of 255 bytes work, others are refused', async (t) => {
  await withOverlay(t, [{ a: '1' }], async ({ overlay }) => {
    const odd = '\xff\xfe\n"<&>'
    await overlay.create(ROOT, overlay.root, odd, { mode: 0o644 })
    await overlay.create(ROOT, overlay.root, 'n'.repeat(255), { mode: 0o644 })
    t.same(await list(overlay), ['a', 'n'.repeat(255), odd])
    for (const name of ['', '.', '..', 'a/b', 'a\0b']) {
      t.equal(
        await errnoOf(() => overlay.create(ROOT, overlay.root, name, { mode: 0o644 })),
        'EINVAL',
        JSON.stringify(name),
      )
      t.equal(await errnoOf(() => overlay.lookup(ROOT, overlay.root, name)), 'EINVAL')
    }
    t.equal(await errnoOf(() => overlay.lookup(ROOT, overlay.root, 'n'.repeat(256))), 'ENAMETOOLONG')
  })
})

t.test('a small dentry cache serves a large tree and keeps identities', async (t) => {
  const tree = Object.fromEntries(Array.from({ length: 400 }, (_, i) => [`d${i % 20}/s${i % 7}/f${i}`, String(i)]))
  await withOverlay(
    t,
    [tree],
    async ({ overlay }) => {
      const first = await at(overlay, 'd3/s3/f3')
      for (const path of Object.keys(tree)) t.equal(await text(overlay, path), tree[path])
      const again = await at(overlay, 'd3/s3/f3')
      t.equal(again.key, first.key)
      t.equal(await overlay.inodeByKey(first.key, first.generation), again, 'the handle finds the object again')
      t.equal(await errnoOf(() => overlay.inodeByKey(first.key, first.generation + 1)), 'ESTALE')
    },
    { environment: { dentryLimit: 16, fileLimit: 4 } },
  )
})
