import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Inode } from '../../../overlay-core/index.ts'
import { make, seen, type View, withView } from '../../helpers/frozen-view.ts'
import { at, errnoOf, list, put, ROOT, type Tree, text } from '../../helpers/overlay.ts'

/** All paths of a tree, with the root. */
async function walk(view: View, path = ''): Promise<string[]> {
  const found = [path === '' ? '/' : path]
  for (const name of await list(view.overlay, path === '' ? '/' : path)) {
    const inside = path === '' ? name : `${path}/${name}`
    const inode = await at(view.overlay, inside)
    found.push(...(inode.type === 0o040000 ? await walk(view, inside) : [inside]))
  }
  return found
}

async function handlesOf(view: View, paths: readonly string[]): Promise<Inode[]> {
  const inodes: Inode[] = []
  for (const path of paths) {
    const inode = await at(view.overlay, path)
    view.overlay.retain(inode)
    inodes.push(inode)
  }
  return inodes
}

/** Checks that everything that clients know is the same after `change`, also after a restart. */
async function unchanged(t: Test, view: View, change: () => Promise<void>): Promise<void> {
  const paths = await walk(view)
  const before = await seen(view.overlay, paths)
  const handles = await handlesOf(view, paths)
  await change()
  for (const when of ['at once', 'after a restart']) {
    t.same(await walk(view), paths, `the same names ${when}`)
    t.same(await seen(view.overlay, paths), before, `the same objects ${when}`)
    for (const { key, generation } of handles) t.equal((await view.overlay.inodeByKey(key, generation)).key, key)
    await view.restart()
  }
}

for (const shared of [false, true]) {
  const where = shared ? ' on a shared stack' : ''
  t.test(`merging frozen layers changes nothing that clients see${where}`, async (t) => {
    const lower: Tree = {
      a: 'a',
      'd/b': 'b',
      'd/e/c': 'c',
      'd/gone': 'x',
      'move/f': 'f',
      'move/g/h': 'h',
      'opaque/h': 'h',
      old: 'old',
      link: '-> a',
    }
    await withView(
      t,
      lower,
      async (view) => {
        const { overlay } = view
        const dir = (path: string) => at(overlay, path)
        await put(overlay, 'a', 'A')
        await make(overlay, 'd/new', 'new')
        await overlay.mkdir(ROOT, overlay.root, 'own', { mode: 0o750 })
        await make(overlay, 'own/one', '1')
        await make(overlay, 'own/two', '2')
        await overlay.unlink(ROOT, await dir('d'), 'gone')
        await overlay.rename(ROOT, overlay.root, 'move', await dir('d'), 'moved')
        await view.freeze()
        await put(overlay, 'd/new', 'newer')
        await put(overlay, 'own/one', '1, again')
        await overlay.rename(ROOT, overlay.root, 'old', await dir('d'), 'renamed')
        await overlay.rename(ROOT, await dir('d'), 'moved', overlay.root, 'back')
        await overlay.rename(ROOT, overlay.root, 'own', await dir('d/e'), 'inner')
        await overlay.rename(ROOT, overlay.root, 'link', overlay.root, 'symlink')
        for (const name of await list(overlay, 'opaque')) await overlay.unlink(ROOT, await dir('opaque'), name)
        await overlay.rmdir(ROOT, overlay.root, 'opaque')
        await overlay.mkdir(ROOT, overlay.root, 'opaque', { mode: 0o755 })
        await make(overlay, 'opaque/own', 'own')
        await overlay.link(ROOT, await at(overlay, 'd/new'), overlay.root, 'linked')
        await view.freeze()
        await put(overlay, 'back/f', 'F')
        await overlay.unlink(ROOT, await dir('d/e/inner'), 'two')
        await overlay.rename(ROOT, await dir('back'), 'g', await dir('d'), 'deep')
        await overlay.rename(ROOT, overlay.root, 'd', overlay.root, 'D')
        await make(overlay, 'own', 'a file now')
        await view.freeze()
        await put(overlay, 'D/renamed', 'changed above')
        await unchanged(t, view, () => view.squash(0, 3))
        t.equal(view.frozen.length, 1)
        t.equal(await errnoOf(() => at(view.overlay, 'D/gone')), 'ENOENT')
        view.byKernel((path) => {
          t.equal(readFileSync(join(path, 'D/e/inner/one'), 'utf8'), '1, again')
          t.same(readdirSync(join(path, 'D/e/inner')), ['one'])
          t.equal(readFileSync(join(path, 'D/deep/h'), 'utf8'), 'h')
          t.equal(readFileSync(join(path, 'back/f'), 'utf8'), 'F')
          t.same(readdirSync(join(path, 'opaque')), ['own'])
          t.equal(statSync(join(path, 'D/b')).nlink, 1)
          t.notOk(existsSync(join(path, 'move')))
          t.notOk(existsSync(join(path, 'D/gone')))
        })
        // Changes above the merged layer.
        await put(view.overlay, 'linked', 'both!')
        t.equal(await text(view.overlay, 'D/new'), 'both!', 'names stay linked')
        await view.overlay.rename(ROOT, await at(view.overlay, 'D'), 'deep', view.overlay.root, 'deep')
        await unchanged(t, view, () => view.freeze().then(() => undefined))
        await unchanged(t, view, () => view.squash(0, 2))
      },
      { shared },
    )
  })
}

t.test('of many layers any adjacent ones can be merged', async (t) => {
  await withView(t, { a: 'a', 'd/b': 'b', 'd/x/y': 'y' }, async (view) => {
    const { overlay } = view
    for (let i = 0; i < 6; i++) {
      await put(overlay, 'a', `a${i}`)
      await make(overlay, `d/n${i}`, String(i))
      if (i > 0) await overlay.unlink(ROOT, await at(overlay, 'd'), `n${i - 1}`)
      await overlay.rename(ROOT, await at(overlay, 'd'), i === 0 ? 'x' : `x${i - 1}`, await at(overlay, 'd'), `x${i}`)
      await view.freeze()
    }
    await unchanged(t, view, () => view.squash(1, 3))
    await unchanged(t, view, () => view.squash(2, 2))
    t.equal(view.frozen.length, 3)
    await unchanged(t, view, () => view.squash(0, 3))
    t.same(await list(view.overlay, 'd'), ['b', 'n5', 'x5'])
    t.equal(await text(view.overlay, 'd/x5/y'), 'y')
  })
})

t.test('hard links stay linked, with their counts, whichever of their names each layer has', async (t) => {
  const prepare = (lower: string) => {
    for (const name of ['two', 'three', 'four']) linkSync(join(lower, 'one'), join(lower, name))
    for (const name of ['far2', 'far3']) linkSync(join(lower, 'far'), join(lower, name))
  }
  const test = async (view: View) => {
    const links = async (name: string) => (await view.overlay.getattr(await at(view.overlay, name))).nlink
    await put(view.overlay, 'one', 'first')
    await view.overlay.unlink(ROOT, view.overlay.root, 'far3')
    await make(view.overlay, 'new', 'new')
    await view.overlay.link(ROOT, await at(view.overlay, 'new'), view.overlay.root, 'new2')
    await make(view.overlay, 'left', 'left')
    await view.overlay.link(ROOT, await at(view.overlay, 'left'), view.overlay.root, 'gone')
    await view.freeze()
    await put(view.overlay, 'three', 'third')
    await view.overlay.unlink(ROOT, view.overlay.root, 'two')
    await put(view.overlay, 'new2', 'newer')
    await view.overlay.unlink(ROOT, view.overlay.root, 'gone')
    await view.freeze()
    await put(view.overlay, 'd', 'above')
    t.equal(await links('one'), 3)
    await unchanged(t, view, () => view.squash(0, 2))
    t.equal(await links('four'), 3)
    t.equal(await links('left'), 1)
    t.equal(await links('far'), 2)
    await put(view.overlay, 'four', 'fourth')
    for (const name of ['one', 'three', 'four']) t.equal(await text(view.overlay, name), 'fourth')
    await view.overlay.unlink(ROOT, view.overlay.root, 'one')
    t.equal(await links('three'), 2)
    await view.restart()
    t.equal(await links('three'), 2)
    await view.freeze()
    await unchanged(t, view, () => view.squash(0, 2))
    await put(view.overlay, 'new', 'newest')
    t.equal(await text(view.overlay, 'new2'), 'newest')
    t.equal(await links('new'), 2)
  }
  await withView(t, { one: 'lower', d: 'd', far: 'far' }, test, { prepare })
})

t.test('clients write, snapshots are taken and link counts stay while layers are merged', async (t) => {
  await withView(t, { f: 'x', 'd/g': 'g' }, async (view) => {
    const { overlay } = view
    for (let layer = 0; layer < 3; layer++) {
      for (let i = 0; i < 300; i++) {
        const path = `n${i}`
        if (layer === 0) await make(overlay, path, `${i}`)
        else if (i % 3 === layer) await put(overlay, path, `${i} in ${layer}`)
      }
      await view.freeze()
    }
    const open = await overlay.open(ROOT, await at(overlay, 'f'), { read: true, write: true })
    const handles = await handlesOf(view, ['n0', 'n1', 'n2', 'f', 'd'])
    let count = 0
    let done = false
    const wrong: string[] = []
    const meanwhile = async () => {
      while (!done) {
        await open.write(Buffer.from('w'), count++)
        const name = `n${(count * 7) % 300}`
        const { nlink } = await overlay.getattr(await at(overlay, name))
        if (nlink !== 1) wrong.push(`${name} ${nlink}`)
        if (count % 5 === 0) await put(overlay, name, 'changed')
        await new Promise((resolve) => setImmediate(resolve))
      }
    }
    const running = meanwhile()
    const before = view.frozen.length
    await view.squash(0, 3)
    done = true
    await running
    t.same(wrong, [], 'link counts')
    t.ok(count > 10, `${count} writes`)
    t.equal(view.frozen.length, before - 2)
    t.equal(await text(overlay, 'f'), 'w'.repeat(count))
    open.close()
    for (const { key, generation } of handles) t.equal((await overlay.inodeByKey(key, generation)).key, key)
    await unchanged(t, view, async () => undefined)
  })
})

t.test('large protocol data of files and directories stays, also of copies', async (t) => {
  await withView(t, { f: 'x', 'd/g': 'g' }, async (view) => {
    const large = Buffer.alloc(5000, 'p')
    const set = async (path: string) => view.overlay.setProtocolData(ROOT, await at(view.overlay, path), 'dav', large)
    for (const path of ['f', 'd', 'd/g']) await set(path)
    await view.freeze()
    await put(view.overlay, 'f', 'copied')
    await view.overlay.setattr(ROOT, await at(view.overlay, 'd'), { mode: 0o700 })
    await view.freeze()
    await put(view.overlay, 'f', 'copied again')
    await view.squash(0, 2)
    for (const when of ['at once', 'after a restart', 'after another one']) {
      for (const path of ['f', 'd', 'd/g'])
        t.same(await view.overlay.getProtocolData(ROOT, await at(view.overlay, path), 'dav'), large, `${path} ${when}`)
      await view.restart()
    }
  })
})

t.test('layers that are not adjacent, not frozen or have left are not merged', async (t) => {
  await withView(t, { a: 'a' }, async (view) => {
    const { overlay } = view
    for (const content of ['1', '2', '3']) {
      await put(overlay, 'a', content)
      await view.freeze()
    }
    const directory = join(view.dir, 'merging')
    mkdirSync(directory)
    const [top = '', middle = '', low = ''] = view.frozen
    for (const wrong of [[top, low], [top], [middle, top], [low, join(view.dir, 'lower')]])
      t.throws(() => overlay.squash(wrong, directory), { message: /^lowerdir: only adjacent frozen layers/ })
    const squash = overlay.squash([top, middle], directory)
    await squash.make()
    t.equal(readFileSync(join(directory, 'upper/a'), 'utf8'), '3')
    squash.end()
    const late = overlay.squash([middle, low], directory)
    await t.rejects(late.make(), { code: 'EEXIST' })
    late.end()
    t.equal(await text(overlay, 'a'), '3')
  })
})
