import { existsSync, linkSync, mkdirSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { make, seen, type View, withView } from '../../helpers/frozen-view.ts'
import { at, errnoOf, list, put, ROOT, snapshot, type Tree, text } from '../../helpers/overlay.ts'

for (const shared of [false, true]) {
  const where = shared ? ' on a shared stack' : ''
  t.test(`a freeze changes nothing that clients see${where}`, async (t) => {
    const lower: Tree = {
      a: 'a',
      'd/b': 'b',
      'd/e/c': 'c',
      'd/gone': 'x',
      'move/f': 'f',
      'move/g': 'g',
      'opaque/h': 'h',
      old: 'old',
    }
    await withView(
      t,
      lower,
      async (view) => {
        const { overlay } = view
        await put(overlay, 'a', 'A')
        await make(overlay, 'd/new', 'new')
        await overlay.unlink(ROOT, await at(overlay, 'd'), 'gone')
        await overlay.rename(ROOT, overlay.root, 'move', await at(overlay, 'd'), 'moved')
        await overlay.rename(ROOT, overlay.root, 'old', await at(overlay, 'd'), 'renamed')
        for (const name of await list(overlay, 'opaque')) await overlay.unlink(ROOT, await at(overlay, 'opaque'), name)
        await overlay.rmdir(ROOT, overlay.root, 'opaque')
        await overlay.mkdir(ROOT, overlay.root, 'opaque', { mode: 0o755 })
        await make(overlay, 'opaque/own', 'own')
        await overlay.link(ROOT, await at(overlay, 'd/new'), overlay.root, 'linked')
        const all = [
          '/',
          'a',
          'd',
          'd/b',
          'd/e',
          'd/e/c',
          'd/new',
          'd/moved',
          'd/moved/f',
          'd/renamed',
          'opaque',
          'opaque/own',
          'linked',
        ]
        const before = await seen(overlay, all)
        for (const inode of await Promise.all(all.map((path) => at(overlay, path)))) overlay.retain(inode)
        const keys = await Promise.all(all.map(async (path) => await at(overlay, path)))
        const frozen = await view.freeze()
        t.same(readdirSync(join(view.dir, 'upper')), [], 'the upper is empty')
        const layer = snapshot(frozen)
        t.same(await seen(overlay, all), before)
        t.equal(await errnoOf(() => at(overlay, 'd/gone')), 'ENOENT')
        t.equal(await errnoOf(() => at(overlay, 'old')), 'ENOENT')
        for (const { key, generation } of keys) t.equal((await overlay.inodeByKey(key, generation)).key, key)
        await view.restart()
        t.same(await seen(view.overlay, all), before, 'after a restart')
        for (const { key, generation } of keys) t.equal((await view.overlay.inodeByKey(key, generation)).key, key)
        // Changes above the frozen layer.
        await put(view.overlay, 'd/renamed', 'changed')
        await view.overlay.rename(ROOT, await at(view.overlay, 'd'), 'moved', view.overlay.root, 'back')
        await view.overlay.unlink(ROOT, view.overlay.root, 'a')
        await put(view.overlay, 'linked', 'both')
        t.equal(await text(view.overlay, 'd/new'), 'both', 'names stay linked')
        t.equal(await text(view.overlay, 'back/f'), 'f')
        const after = ['/', 'd', 'd/renamed', 'back', 'back/f', 'back/g', 'opaque/own']
        const now = await seen(view.overlay, after)
        await view.freeze()
        t.same(await seen(view.overlay, after), now)
        await view.restart()
        t.same(await seen(view.overlay, after), now, 'after a restart')
        t.equal(
          (await at(view.overlay, 'd/renamed')).key,
          keys[all.indexOf('d/renamed')]?.key,
          'the identity of the first lower',
        )
        t.equal(await errnoOf(() => at(view.overlay, 'a')), 'ENOENT')
        t.same(snapshot(frozen), layer, 'the frozen layer is unchanged')
      },
      { shared },
    )
  })
}

t.test('hard links stay linked over a freeze, whichever of their names was copied up', async (t) => {
  const prepare = (lower: string) => {
    for (const name of ['two', 'three']) linkSync(join(lower, 'one'), join(lower, name))
  }
  const test = async (view: View) => {
    await put(view.overlay, 'one', 'first')
    const names = ['one', 'two', 'three']
    const before = await seen(view.overlay, names)
    await view.freeze()
    t.same(await seen(view.overlay, names), before)
    await view.restart()
    t.same(await seen(view.overlay, names), before, 'after a restart')
    await put(view.overlay, 'three', 'third')
    for (const name of names) t.equal(await text(view.overlay, name), 'third')
    await view.overlay.unlink(ROOT, view.overlay.root, 'two')
    t.equal((await view.overlay.getattr(await at(view.overlay, 'one'))).nlink, 2)
    await view.freeze()
    await view.restart()
    for (const name of ['one', 'three']) {
      t.equal(await text(view.overlay, name), 'third')
      t.equal((await view.overlay.getattr(await at(view.overlay, name))).nlink, 2)
    }
    t.equal(await errnoOf(() => at(view.overlay, 'two')), 'ENOENT')
  }
  await withView(t, { one: 'lower' }, test, { prepare })
})

t.test('a file that is being written during freezes loses nothing, and open files go on', async (t) => {
  await withView(t, { f: 'x' }, async (view) => {
    const { overlay } = view
    const file = await at(overlay, 'f')
    const open = await overlay.open(ROOT, file, { read: true, write: true })
    const reading = await overlay.open(ROOT, file, { read: true })
    let done = false
    let count = 0
    const writing = (async () => {
      while (!done) {
        await overlay.write(ROOT, file, Buffer.from('W'), 2 * count, 'unstable')
        await open.write(Buffer.from('H'), 2 * count + 1)
        count++
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      await view.freeze()
    }
    done = true
    await writing
    await overlay.commit(ROOT, file)
    t.ok(count > 5)
    t.equal(await text(overlay, 'f'), 'WH'.repeat(count))
    const buffer = Buffer.alloc(2 * count)
    for (const handle of [open, reading]) {
      t.equal(await handle.read(buffer, 0, buffer.length, 0), 2 * count)
      t.equal(buffer.toString(), 'WH'.repeat(count))
    }
    await overlay.unlink(ROOT, overlay.root, 'f')
    await view.freeze()
    await open.write(Buffer.from('!'), 0)
    t.equal(await reading.read(buffer, 0, 1, 0), 1)
    t.equal(buffer.toString()[0], '!', 'a removed file stays open and writable')
    for (const handle of [open, reading]) handle.close()
  })
})

for (const merged of [false, true]) {
  const when = merged ? 'a squash' : 'a freeze'
  t.test(`a handle truncates a file under its other name after ${when}, not in the layer`, async (t) => {
    await withView(t, { 'd/other': 'x' }, async (view) => {
      const { overlay } = view
      await make(overlay, 'd/left', 'all of it')
      await overlay.link(ROOT, await at(overlay, 'd/left'), overlay.root, 'gone')
      const open = await overlay.open(ROOT, await at(overlay, 'gone'), { read: true, write: true })
      const { key } = open.inode
      await make(overlay, 'new', 'new')
      await overlay.rename(ROOT, overlay.root, 'new', overlay.root, 'gone')
      const layer = join(await view.freeze(), 'd/left')
      await view.freeze()
      if (merged) await view.squash(0, 2)
      const frozen = merged ? join(view.frozen[0] as string, 'd/left') : layer
      await open.truncate(3)
      t.equal((await open.getattr()).size, 3)
      t.equal(await text(overlay, 'd/left'), 'all')
      t.equal((await at(overlay, 'd/left')).key, key)
      t.equal(await text(overlay, 'gone'), 'new')
      t.equal(readFileSync(frozen, 'utf8'), 'all of it', 'the frozen layer stays as it was')
      await open.write(Buffer.from('!'), 3)
      t.equal(await text(overlay, 'd/left'), 'all!')
      open.close()
    })
  })
}

t.test('a handle opened before a freeze truncates the present file, not the frozen one', async (t) => {
  await withView(t, { f: 'lower' }, async (view) => {
    const { overlay } = view
    await put(overlay, 'f', 'written')
    const open = await overlay.open(ROOT, await at(overlay, 'f'), { write: true })
    const layer = await view.freeze()
    // Calls that begin during a freeze count for the new upper.
    await Promise.all([view.freeze(), open.truncate(5)])
    t.equal(readFileSync(join(layer, 'f'), 'utf8'), 'written')
    t.equal(await text(overlay, 'f'), 'writt')
    await overlay.unlink(ROOT, overlay.root, 'f')
    await view.freeze()
    await open.truncate(2)
    t.equal((await open.getattr()).size, 2, 'a removed file can still be truncated')
    open.close()
  })
})

t.test('a file that was opened for reading shows a later copy-up, also after a freeze', async (t) => {
  await withView(t, { f: 'x' }, async (view) => {
    const { overlay } = view
    await put(overlay, 'f', 'first')
    await view.freeze()
    const reading = await overlay.open(ROOT, await at(overlay, 'f'), { read: true })
    await put(overlay, 'f', 'second')
    await view.freeze()
    const buffer = Buffer.alloc(10)
    t.equal((await reading.getattr()).size, 6)
    t.equal(buffer.toString('utf8', 0, await reading.read(buffer, 0, 10, 0)), 'second')
    reading.close()
  })
})

t.test('everything since a freeze is let go in one step', async (t) => {
  await withView(t, { a: 'a', 'd/b': 'b' }, async (view) => {
    const { overlay } = view
    await put(overlay, 'a', 'first')
    await make(overlay, 'd/first', '1')
    await view.freeze()
    await put(overlay, 'a', 'second')
    await make(overlay, 'd/second', '2')
    await overlay.unlink(ROOT, await at(overlay, 'd'), 'first')
    const kept = await at(overlay, 'a')
    const gone = await at(overlay, 'd/second')
    const aside = join(view.dir, 'aside')
    mkdirSync(aside)
    await overlay.freeze(aside, view.options())
    t.equal(await text(overlay, 'a'), 'first')
    t.same(await list(overlay, 'd'), ['b', 'first'])
    t.equal((await at(overlay, 'a')).key, kept.key)
    t.equal(await errnoOf(async () => await overlay.getattr(gone)), 'ESTALE')
    t.equal(readFileSync(join(aside, 'upper/a'), 'utf8'), 'second', 'it is kept aside')
    await view.restart()
    t.equal(await text(view.overlay, 'a'), 'first')
    t.equal((await at(view.overlay, 'a')).key, kept.key)
    await put(view.overlay, 'a', 'third')
    t.equal(await text(view.overlay, 'a'), 'third')
  })
})

t.test('a freeze takes no longer for many changes than for one, and the kernel sees the same tree', async (t) => {
  await withView(t, { a: 'a', 'd/b': 'b', 'move/m': 'm' }, async (view) => {
    await put(view.overlay, 'a', 'A')
    const times: number[] = []
    const timed = async () => {
      const cpu = process.cpuUsage()
      await view.freeze()
      const { user, system } = process.cpuUsage(cpu)
      times.push((user + system) / 1000)
    }
    await timed()
    const dir = await view.overlay.mkdir(ROOT, view.overlay.root, 'many', { mode: 0o755 })
    for (let i = 0; i < 20_000; i++) await view.overlay.create(ROOT, dir, `f${i}`, { mode: 0o644 })
    await view.overlay.rename(ROOT, view.overlay.root, 'move', await at(view.overlay, 'd'), 'moved')
    await timed()
    t.comment(`processor time in ms: ${times.join(', ')}`)
    t.ok((times[1] as number) < 200, 'no walk')
    await view.overlay.unlink(ROOT, dir, 'f0')
    await view.freeze()
    view.byKernel((path) => {
      t.equal(readFileSync(join(path, 'a'), 'utf8'), 'A')
      t.equal(readdirSync(join(path, 'many')).length, 19_999)
      t.equal(readFileSync(join(path, 'd/moved/m'), 'utf8'), 'm')
      t.notOk(existsSync(join(path, 'move')))
      t.equal(statSync(join(path, 'd/b')).size, 1)
    })
    t.equal((await list(view.overlay, 'many')).length, 19_999)
  })
})

t.test('an upper that cannot be frozen stays as it is', async (t) => {
  await withView(t, { a: 'a' }, async (view) => {
    const directory = join(view.dir, 'layer')
    mkdirSync(directory)
    const next = { ...view.options(), lowerdir: [join(directory, 'upper'), join(view.dir, 'lower')], frozen: 1 }
    await t.rejects(view.overlay.freeze(directory, { ...next, frozen: 0 }), { message: /^lowerdir: must be/ })
    await view.overlay.remount({ ...view.options(), metacopy: true })
    await t.rejects(view.overlay.freeze(directory, { ...next, metacopy: true }), {
      message: /^metacopy: hard links of a frozen layer/,
    })
    await view.overlay.remount({ ...view.options(), readOnly: true })
    t.same(readdirSync(directory), [])
    t.equal(await text(view.overlay, 'a'), 'a')
  })
})
