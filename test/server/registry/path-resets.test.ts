import { linkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { mount, type Overlay } from '../../../overlay-core/index.ts'
import { at, errnoOf, list, put, ROOT, text } from '../../helpers/overlay.ts'
import { change, describe, numbers, randomTree } from '../../helpers/random-changes.ts'
import { started } from './kept-course.ts'

const LOWER = { a: 'a', d: { b: 'b', c: 'c', e: { f: 'f' } }, log: { old: 'old' }, home: { me: 'me' } }
const ROUNDS = 8
const CHANGES = 40

async function make(overlay: Overlay, dir: string, name: string, content: string): Promise<void> {
  await overlay.create(ROOT, await at(overlay, dir), name, { mode: 0o644 })
  await put(overlay, `${dir}/${name}`, content)
}

t.test('paths of a view go back to the material, whichever layer has changed them, and handles stay', async (t) => {
  const course = await started(t, {}, LOWER)
  await course.write('alice', 'd/b', 'first')
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  const [b, c, d] = await course.with('alice', async (overlay) => {
    await put(overlay, 'd/c', 'second')
    await put(overlay, 'a', 'mine')
    await make(overlay, 'd', 'new', 'new')
    await overlay.unlink(ROOT, await at(overlay, 'd/e'), 'f')
    await overlay.setattr(ROOT, await at(overlay, 'd'), { mode: 0o700 })
    return await Promise.all(['d/b', 'd/c', 'd'].map((path) => at(overlay, path)))
  })
  const [done] = await course.order({ verb: 'reset', view: 'course/alice', paths: ['/d/'] })
  t.match(done, { count: 5, aside: 'course/alice@before-reset-2030-01-02T030405', beside: [] })
  await course.with('alice', async (overlay) => {
    t.equal(await text(overlay, 'd/b'), 'b', 'also what a snapshot below has')
    t.equal(await text(overlay, 'd/c'), 'c')
    t.equal(await text(overlay, 'd/e/f'), 'f')
    t.equal((await overlay.getattr(await at(overlay, 'd'))).mode, 0o755)
    t.same(await list(overlay, 'd'), ['b', 'c', 'e'])
    t.equal(await text(overlay, 'a'), 'mine', 'other paths stay')
    t.equal(await at(overlay, 'd/b'), b, 'the same object, for clients that hold it')
    t.equal(await at(overlay, 'd/c'), c)
    t.equal(await at(overlay, 'd'), d)
    const buffer = Buffer.alloc(9)
    t.equal(buffer.toString('latin1', 0, await overlay.read(ROOT, c!, buffer, 0, 9, 0)), 'c')
    await put(overlay, 'd/b', 'x')
  })
  await course.restart()
  await course.with('alice', async (overlay) => {
    t.equal(await text(overlay, 'd/b'), 'x')
    t.equal((await at(overlay, 'd/b')).key, b!.key, 'after a restart')
    t.equal((await at(overlay, 'd')).key, d!.key)
  })
  t.match(await course.order({ verb: 'reset', view: 'course/alice', paths: ['log'] }), [{ count: 0, aside: undefined }])
  await course.order({ verb: 'rollback', view: done?.aside as string, drop: true })
  await course.with('alice', async (overlay) => {
    t.equal(await text(overlay, 'd/c'), 'second', 'and it can be taken back')
    t.same(await list(overlay, 'd'), ['b', 'c', 'e', 'new'])
  })
})

t.test('restore brings a path back from a snapshot, and --aside keeps what was there beside it', async (t) => {
  const course = await started(t, {}, LOWER)
  await course.with('alice', async (overlay) => {
    await put(overlay, 'd/b', 'good')
    await make(overlay, 'd', 'notes', 'my notes')
  })
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  await course.with('alice', async (overlay) => {
    await put(overlay, 'd/b', 'evil')
    await overlay.unlink(ROOT, await at(overlay, 'd'), 'notes')
    await make(overlay, 'd/e', 'added', 'added')
    await put(overlay, 'a', 'mine')
  })
  const [file] = await course.order({
    verb: 'restore',
    view: 'course/alice@one',
    paths: ['d/b'],
    beside: true,
    drop: true,
  })
  t.match(file, { count: 1, aside: undefined, beside: ['d/b.before-restore-2030-01-02T030405'] })
  await course.with('alice', async (overlay) => {
    t.equal(await text(overlay, 'd/b'), 'good')
    t.equal(await text(overlay, 'd/b.before-restore-2030-01-02T030405'), 'evil')
    t.same(await list(overlay, 'd'), ['b', 'b.before-restore-2030-01-02T030405', 'c', 'e'])
  })
  const [tree] = await course.order({ verb: 'restore', view: 'course/alice@one', paths: ['d', 'a'], beside: true })
  t.same(tree?.beside?.toSorted(), ['a.before-restore-2030-01-02T030405', 'd.before-restore-2030-01-02T030405'])
  await course.with('alice', async (overlay) => {
    t.same(await list(overlay, 'd'), ['b', 'c', 'e', 'notes'])
    t.same(await list(overlay, 'd/e'), ['f'])
    t.equal(await text(overlay, 'd/notes'), 'my notes')
    t.equal(await text(overlay, 'a'), 'a')
    const aside = 'd.before-restore-2030-01-02T030405'
    t.same(await list(overlay, aside), ['b.before-restore-2030-01-02T030405', 'e'], 'what was changed and added')
    t.equal(await text(overlay, `${aside}/e/added`), 'added')
  })
  await t.rejects(course.order({ verb: 'restore', view: 'course/alice@one', paths: ['../x'] }), /contains \.\./)
})

t.test('a path in a directory that was removed, replaced or moved comes back, and nothing outside of it', async (t) => {
  const course = await started(t, {}, LOWER)
  await course.with('alice', async (overlay) => {
    await overlay.rename(ROOT, overlay.root, 'd', overlay.root, 'moved')
    await overlay.unlink(ROOT, await at(overlay, 'home'), 'me')
    await overlay.rmdir(ROOT, overlay.root, 'home')
    await make(overlay, '', 'home', 'a file')
  })
  await course.order({ verb: 'reset', view: 'course/alice', paths: ['d/b'] })
  await course.with('alice', async (overlay) => {
    t.same(await list(overlay, 'd'), ['b'])
    t.same(await list(overlay, 'moved'), ['b', 'c', 'e'])
  })
  const path = course.order({ verb: 'reset', view: 'course/alice', paths: ['home/me'] })
  await t.rejects(path, { option: 'view', message: /home is no directory in the view; put that path back too/ })
  t.equal(await course.read('alice', 'home'), 'a file', 'nothing has changed')
  await course.order({ verb: 'reset', view: 'course/alice', paths: ['home', 'moved'] })
  await course.with('alice', async (overlay) => {
    t.same(await list(overlay), ['a', 'd', 'home', 'log'])
    t.equal(await text(overlay, 'home/me'), 'me')
  })
})

t.test('a hard link that was changed by a name at the path becomes a file of its own there', async (t) => {
  const course = await started(t, {}, LOWER)
  linkSync(join(course.dir, 'lower/a'), join(course.dir, 'lower/d/a'))
  await course.write('alice', 'd/a', 'changed')
  t.equal(await course.read('alice', 'a'), 'changed')
  await course.order({ verb: 'reset', view: 'course/alice', paths: ['d'] })
  for (const when of ['at once', 'after a restart']) {
    t.equal(await course.read('alice', 'd/a'), 'a', when)
    t.equal(await course.read('alice', 'a'), 'changed')
    await course.restart()
  }
})

t.test('what clients change at the path meanwhile goes too, and what they change elsewhere stays', async (t) => {
  const course = await started(t, {}, LOWER)
  await course.write('alice', 'd/b', 'mine')
  const done = course.order({ verb: 'reset', view: 'course/alice', paths: ['d/e', 'd/b'] })
  let count = 0
  const writing = course.with('alice', async (overlay) => {
    for (; count < 40; count++) {
      await put(overlay, count < 5 ? 'd/b' : 'd/c', `written ${count}`)
      await overlay.setattr(ROOT, await at(overlay, 'd'), { mode: 0o700 + (count % 8) })
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
  })
  await Promise.all([done, writing])
  t.equal(await course.read('alice', 'd/b'), 'b')
  t.equal(await course.read('alice', 'd/c'), 'written 39')
  await course.with('alice', async (overlay) =>
    t.equal((await overlay.getattr(await at(overlay, 'd'))).mode, 0o707, 'the latest mode of a directory above'),
  )
})

t.test('rules of a template keep and empty paths at a reset of the whole view', async (t) => {
  const resetRules = { keep: ['/home', '/d/e/f'], ephemeral: ['/log', '/missing'] }
  const course = await started(t, { resetRules }, LOWER)
  await course.with('alice', async (overlay) => {
    await put(overlay, 'home/me', 'mine')
    await make(overlay, 'home', 'new', 'new')
    await put(overlay, 'd/e/f', 'kept')
    await put(overlay, 'd/b', 'changed')
    await make(overlay, 'log', 'today', 'today')
  })
  const key = await course.with('alice', async (overlay) => (await at(overlay, 'home/me')).key)
  const [done] = await course.order({ verb: 'reset', view: 'course/alice' })
  t.equal(done?.aside, 'course/alice@before-reset-2030-01-02T030405')
  for (const when of ['at once', 'after a restart']) {
    await course.with('alice', async (overlay) => {
      t.equal(await text(overlay, 'home/me'), 'mine', when)
      t.equal((await at(overlay, 'home/me')).key, key)
      t.equal(await text(overlay, 'home/new'), 'new')
      t.equal(await text(overlay, 'd/e/f'), 'kept')
      t.equal(await text(overlay, 'd/b'), 'b')
      t.same(await list(overlay, 'log'), [])
    })
    await course.restart()
  }
  await course.order({ verb: 'rollback', view: done?.aside as string, drop: true })
  t.same(await course.with('alice', (overlay) => list(overlay, 'log')), ['old', 'today'])
})

t.test('dedupe drops what equals the material, and nothing that is in use', async (t) => {
  const course = await started(t, {}, LOWER)
  const key = await course.with('alice', async (overlay) => {
    for (const path of ['a', 'd/b', 'd/c', 'd/e/f', 'home/me']) {
      const inode = await at(overlay, path)
      const { mtime } = await overlay.getattr(inode)
      await put(overlay, path, await text(overlay, path))
      if (path !== 'd/c') await overlay.setattr(ROOT, inode, { mtime })
    }
    await overlay.setProtocolData(ROOT, await at(overlay, 'd/e/f'), 'dav', Buffer.from('property'))
    return (await at(overlay, 'a')).key
  })
  course.nowMs = Date.now() + 1000
  await course.with('alice', async (overlay) => {
    const open = await overlay.open(ROOT, await at(overlay, 'home/me'), { read: true, write: true })
    const [done] = await course.order({ verb: 'dedupe', view: 'course/alice' })
    t.same(done?.dropped, { count: 2, bytes: 2 }, 'not other times, protocol data, and open files')
    await open.write(Buffer.from('ME'), 0)
    open.close()
    t.equal(await overlay.provenance(ROOT, overlay.root, 'a'), 'lower')
    t.equal(await overlay.provenance(ROOT, await at(overlay, 'd'), 'c'), 'changed')
    t.equal((await at(overlay, 'a')).key, key)
    t.equal(await text(overlay, 'home/me'), 'ME')
    t.equal(await errnoOf(() => put(overlay, 'a', 'again')), 'none')
  })
  course.nowMs = Date.now() - 1000
  await course.with('alice', async (overlay) => {
    const { mtime } = await overlay.getattr(await at(overlay, 'd/b'))
    await put(overlay, 'd/b', 'b')
    await overlay.setattr(ROOT, await at(overlay, 'd/b'), { mtime })
  })
  t.match(await course.order({ verb: 'dedupe', view: 'course/alice' }), [{ dropped: { count: 0 } }], 'just changed')
})

t.test('after random changes and snapshots, a random path goes back, and all else stays', async (t) => {
  for (let round = 0; round < ROUNDS; round++) {
    const below = numbers(round + 77)
    const course = await started(t, {}, { x: 'x', ...nested(randomTree(below)) })
    for (let part = 0; part < 3; part++) {
      await course.with('alice', async (overlay) => {
        for (let i = 0; i < CHANGES; i++) await change(overlay, below)
      })
      if (below(2) === 0) await course.order({ verb: 'take', view: 'course/alice', name: `s${part}` })
    }
    const base = await mount(course.view('alice').lowersOn([]))
    const [was, wanted] = [
      texts(await course.with('alice', (overlay) => describe(overlay))),
      texts(await describe(base)),
    ]
    await base.unmount()
    const all = [...new Set([...was.keys(), ...wanted.keys()])]
    const path = all[below(all.length)] as string
    const isIn = (each: string) => each === path || each.startsWith(`${path}/`)
    try {
      await course.order({ verb: 'reset', view: 'course/alice', paths: [path] })
    } catch (error) {
      t.match(error, { message: /is no directory in the view/ }, `round ${round}`)
      continue
    }
    if (below(2) === 0) await course.restart()
    const now = texts(await course.with('alice', (overlay) => describe(overlay)))
    const sorted = (map: Map<string, string>, inside: boolean) =>
      [...map]
        .filter(([each]) => isIn(each) === inside)
        .map(([each, what]) => `${each}: ${what}`)
        .sort()
    t.same(sorted(now, true), sorted(wanted, true), `round ${round}: ${path}`)
    const isAbove = (line: string) => path.startsWith(`${line.split(': ')[0]}/`)
    t.same(
      sorted(now, false).filter((line) => !isAbove(line)),
      sorted(was, false).filter((line) => !isAbove(line)),
      `round ${round}: outside of ${path}`,
    )
  }
})

function texts(described: Awaited<ReturnType<typeof describe>>): Map<string, string> {
  return new Map([...described].map(([path, { text: what }]) => [path, what]))
}

/** A tree of paths as `testdir` takes it. */
function nested(tree: ReturnType<typeof randomTree>): Record<string, string> {
  const root: Record<string, unknown> = {}
  for (const [path, content] of Object.entries(tree)) {
    const names = path.split('/')
    let at = root
    for (const name of names.slice(0, -1)) {
      at[name] ??= {}
      at = at[name] as Record<string, unknown>
    }
    at[names.at(-1) as string] = content
  }
  return root as Record<string, string>
}
