import t from 'tap'
import { at, list, put, ROOT } from '../../helpers/overlay.ts'
import { started } from './kept-course.ts'

const HOUR = 3_600_000

t.test('forks end after their time, or when nobody uses them, also after a restart', async (t) => {
  const course = await started(t, { trashMs: HOUR })
  await course.write('alice', 'a', 'mine')
  const fork = { verb: 'fork', view: 'course/alice' } as const
  const [timed] = await course.order({ ...fork, name: 'timed', ttlMs: 2 * HOUR })
  t.equal(timed?.ends, '2030-01-02T05:04:05.000Z')
  await course.order({ ...fork, name: 'used', ephemeral: true })
  await course.order({ ...fork, name: 'kept' })
  await course.restart()
  const names = () => [...course.course.list()].map(({ record }) => record.name)
  await course.with('used', async () => {
    course.nowMs += HOUR
    await course.templates.housekeeping.run()
    t.same(names(), ['alice', 'timed', 'used', 'kept'])
  })
  await course.view('used').close()
  course.nowMs += HOUR
  await course.templates.housekeeping.run()
  t.same(names(), ['alice', 'kept'])
  t.same([...course.course.trash.binned()], [], 'they do not go to the trash')
})

t.test('a view gets what was changed in a fork of it, unless both have changed the same', async (t) => {
  const course = await started(t)
  await course.order({ verb: 'fork', view: 'course/alice', name: 'fork', sameOwner: true })
  await course.with('fork', async (overlay) => {
    await put(overlay, 'a', 'of the fork')
    await overlay.unlink(ROOT, await at(overlay, 'd'), 'b')
    await overlay.create(ROOT, await at(overlay, 'd'), 'new', { mode: 0o644 })
  })
  await course.with('alice', async (overlay) => await overlay.create(ROOT, overlay.root, 'own', { mode: 0o644 }))
  const merge = { verb: 'merge', view: 'course/fork', name: 'course/alice' } as const
  t.match(await course.order(merge), [{ count: 3, aside: /^course\/alice@before-merge-/ }])
  t.equal(await course.read('alice', 'a'), 'of the fork')
  t.same(await course.with('alice', (overlay) => list(overlay, 'd')), ['new'])
  t.same(await course.with('alice', (overlay) => list(overlay)), ['a', 'd', 'own'], 'what only the view has stays')
  await course.write('alice', 'a', 'changed again')
  await t.rejects(course.order(merge), /was changed at the same paths since the fork was made: .*a/)
  t.equal(await course.read('alice', 'a'), 'changed again')
})
