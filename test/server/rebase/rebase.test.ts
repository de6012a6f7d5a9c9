import t from 'tap'
import type { Inode } from '../../../overlay-core/index.ts'
import { executeRebaseOrder } from '../../../server/rebase/rebase-requests.ts'
import { at, errnoOf, list, ROOT, text } from '../../helpers/overlay.ts'
import { RebaseCourse } from './rebase-course.ts'

const FIRST = { a: 'a1', b: 'b1', c: 'c1', 'd/x': 'x1', 'd/y': 'y1', 'old/z': 'z1' }
const SECOND = { a: 'a2', b: 'b1', c: 'c2', 'd/x': 'x1', 'd/y': 'y2', 'd/new': 'new', e: 'e2' }

t.test('a view stays on its version until it is rebased, and keeps what its user has changed', async (t) => {
  const course = await RebaseCourse.start(t, FIRST)
  await course.write('alice', 'a', 'mine')
  await course.write('alice', 'd/x', 'mine')
  await course.write('alice', 'own', 'mine')
  const keys = await course.with('alice', async (overlay) => ({
    own: (await at(overlay, 'own')).key,
    a: (await at(overlay, 'a')).key,
    root: overlay.root.key,
  }))
  course.publish('2', SECOND)
  await course.course.create('bob')
  t.equal(await course.read('alice', 'c'), 'c1')
  t.equal(await course.read('bob', 'c'), 'c2', 'both versions are served side by side')
  const planned = await course.rebase('alice', { dryRun: true })
  t.match(planned, { view: 'course/alice', state: 'possible', from: { material: '1' }, to: { material: '2' } })
  t.match(planned, { counts: { untouched: 2, stale: 1 }, conflictCount: 1 })
  t.match(planned.conflicts, [{ path: 'a', outcome: 'stale', mine: 'changed', base: 'changed', strategy: 'mine' }])
  t.equal(await course.read('alice', 'c'), 'c1', 'a dry run changes nothing')
  const done = await course.rebase('alice')
  t.match(done, { state: 'rebased', aside: 'course/alice@before-rebase-2030-01-02T030405' })
  const check = async (when: string) => {
    t.equal(await course.read('alice', 'a'), 'mine', when)
    t.equal(await course.read('alice', 'd/x'), 'mine')
    t.equal(await course.read('alice', 'own'), 'mine')
    t.equal(await course.read('alice', 'c'), 'c2')
    t.equal(await course.read('alice', 'd/y'), 'y2')
    t.equal(await course.read('alice', 'd/new'), 'new')
    t.same((await course.with('alice', (overlay) => list(overlay, ''))).sort(), ['a', 'b', 'c', 'd', 'e', 'own'])
    const now = await course.with('alice', async (overlay) => ({
      own: (await at(overlay, 'own')).key,
      a: (await at(overlay, 'a')).key,
      root: overlay.root.key,
    }))
    t.same(now, keys, 'file handles stay valid')
  }
  await check('live')
  t.match(await course.rebase('alice'), { state: 'current' })
  t.match(await course.conflicts('alice'), { view: 'course/alice', conflictCount: 1, conflicts: [{ path: 'a' }] })
  await t.rejects(course.conflicts('bob'), { message: /bob was never put on another version/ })
  await course.restart()
  await check('after a restart')
  t.match(await course.conflicts('alice'), { conflictCount: 1 })
  const [back] = await course.order({ verb: 'rollback', view: done.aside! })
  t.ok(back?.aside)
  t.equal(await course.read('alice', 'c'), 'c1', 'a rollback brings the old version')
  t.equal(await course.read('alice', 'd/x'), 'mine')
  await course.restart()
  t.equal(await course.read('alice', 'c'), 'c1', 'also after a restart')
  t.match(await course.rebase('alice'), { state: 'rebased' }, 'and again')
  t.equal(await course.read('alice', 'c'), 'c2')
  t.equal(await course.read('alice', 'own'), 'mine')
})

t.test('rules of the template decide where both sides have changed a path', async (t) => {
  const conflicts = [
    { strategy: 'replace', pattern: '/d' },
    { strategy: 'theirs', pattern: 'a' },
    { strategy: 'both', pattern: '*' },
  ] as const
  const course = await RebaseCourse.start(t, FIRST, { conflicts })
  for (const path of ['a', 'c', 'd/x', 'd/y', 'd/own', 'b']) await course.write('alice', path, 'mine')
  course.publish('2', SECOND)
  const { conflicts: found } = await course.rebase('alice')
  t.match(found, [
    { path: 'a', outcome: 'stale', strategy: 'theirs' },
    { path: 'c', outcome: 'stale', strategy: 'both', beside: 'c.base-2' },
    { path: 'd' },
    { path: 'd/own', outcome: 'replaced' },
    { path: 'd/x', outcome: 'replaced' },
    { path: 'd/y', outcome: 'replaced' },
  ])
  t.equal(await course.read('alice', 'a'), 'a2')
  t.equal(await course.read('alice', 'b'), 'mine', 'what only the user has changed stays')
  t.equal(await course.read('alice', 'c'), 'mine')
  t.equal(await course.read('alice', 'c.base-2'), 'c2')
  t.equal(await course.read('alice', 'd/x'), 'x1')
  t.equal(await course.read('alice', 'd/y'), 'y2')
  t.same((await course.with('alice', (overlay) => list(overlay, 'd'))).sort(), ['new', 'x', 'y'])
})

t.test('with the strategy fail a view stays as it is, and others are rebased', async (t) => {
  const course = await RebaseCourse.start(t, FIRST, { conflicts: [{ strategy: 'fail', pattern: 'a' }] })
  await course.course.create('bob')
  await course.write('alice', 'a', 'mine')
  course.publish('2', SECOND)
  const reports = await executeRebaseOrder(course.templates, { views: ['course'] })
  t.match(reports, [
    { view: 'course/alice', state: 'refused', conflicts: [{ path: 'a', strategy: 'fail' }] },
    { view: 'course/bob', state: 'rebased' },
  ])
  t.equal(await course.read('alice', 'c'), 'c1')
  t.equal(await course.read('bob', 'c'), 'c2')
  t.same(await course.order({ verb: 'list', view: 'course/alice' }), [])
})

t.test('a rebase at the next opening', async (t) => {
  const course = await RebaseCourse.start(t, FIRST)
  await course.write('alice', 'own', 'mine')
  course.publish('2', SECOND)
  t.match(await course.rebase('alice', { atNextOpen: true }), { state: 'planned' })
  t.equal(await course.read('alice', 'c'), 'c1')
  await course.view('alice').close()
  t.equal(await course.read('alice', 'c'), 'c2')
  t.equal(await course.read('alice', 'own'), 'mine')
  course.publish('3', FIRST)
  await course.rebase('alice', { atNextOpen: true })
  await course.restart()
  t.equal(await course.read('alice', 'c'), 'c1', 'it is remembered over a restart')
  t.same(course.view('alice').record.due, undefined)
})

t.test('what clients write while a view is rebased is not lost, and open files go on', async (t) => {
  const course = await RebaseCourse.start(t, { ...FIRST, big: 'x'.repeat(100_000) })
  await course.write('alice', 'log', '')
  for (let i = 0; i < 200; i++) await course.write('alice', `file${i}`, `content ${i}`)
  course.publish('2', SECOND)
  const view = course.view('alice')
  const overlay = await view.use()
  const log = await at(overlay, 'log')
  const reading = await overlay.open(ROOT, await at(overlay, 'file7'), { read: true })
  let written = 0
  let ended = false
  const writing = (async () => {
    for (; !ended; written++) {
      const used = await view.use()
      await used.write(ROOT, log, Buffer.from(`${String(written).padStart(9)}\n`), written * 10, 'unstable')
      view.release()
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  })()
  view.release()
  t.match(await course.rebase('alice'), { state: 'rebased' })
  ended = true
  await writing
  const content = await course.read('alice', 'log')
  t.equal(content, Array.from({ length: written }, (_, i) => `${String(i).padStart(9)}\n`).join(''))
  const buffer = Buffer.alloc(20)
  t.equal(await reading.read(buffer, 0, 20, 0), 9)
  t.equal(buffer.toString('utf8', 0, 9), 'content 7', 'an open file is still read')
  reading.close()
  t.equal(await course.read('alice', 'c'), 'c2')
})

t.test('handles of base objects that are other objects in the new version are stale', async (t) => {
  const course = await RebaseCourse.start(t, FIRST)
  await course.write('alice', 'own', 'mine')
  const [own, c] = await course.with('alice', async (overlay) => [await at(overlay, 'own'), await at(overlay, 'c')])
  course.publish('2', SECOND)
  await course.rebase('alice')
  await course.with('alice', async (overlay) => {
    t.equal((await overlay.getattr(own as Inode)).size, 4)
    t.equal(await errnoOf(async () => overlay.getattr(c as Inode)), 'ESTALE')
    t.equal(await text(overlay, 'c'), 'c2')
  })
})
