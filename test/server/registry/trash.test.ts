import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { executeTrashOrder, type TrashOrder } from '../../../server/registry/trash.ts'
import { started } from './kept-course.ts'

const DAY = 86_400_000
const TRASH = { trashMs: 7 * DAY }

t.test('a removed view comes back with its snapshots, also after a restart and under another name', async (t) => {
  const course = await started(t, TRASH)
  const trash = (order: TrashOrder) => executeTrashOrder(course.templates, order)
  await course.write('alice', 'a', 'first')
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  await course.write('alice', 'a', 'second')
  const { id } = course.view('alice').record
  await course.course.remove(course.view('alice'))
  t.equal(course.course.byName('alice'), undefined)
  t.equal(course.course.byId(id), undefined)
  await course.course.create('alice')
  await course.write('alice', 'a', 'another one')
  await course.restart()
  const removed = '2030-01-02T03:04:05.000Z'
  t.match(await trash({ verb: 'list' }), [
    { id, kind: 'view', path: 'course/alice', removed, ends: '2030-01-09T03:04:05.000Z' },
  ])
  await t.rejects(trash({ verb: 'restore', id }), /course\/alice exists already; choose another name/)
  t.match(await trash({ verb: 'restore', id: 'course/alice', name: 'former' }), [{ path: 'course/former' }])
  for (const when of ['at once', 'after a restart']) {
    t.equal(await course.read('former', 'a'), 'second', when)
    t.equal(await course.read('alice', 'a'), 'another one')
    t.equal(course.view('former').record.id, id)
    await course.restart()
  }
  await course.order({ verb: 'rollback', view: 'course/former@one', drop: true })
  t.equal(await course.read('former', 'a'), 'first')
  t.match(await trash({ verb: 'list' }), [{ kind: 'snapshot', path: /^course\/former@dropped-/ }], 'what was dropped')
})

t.test('snapshots come back too, and everything goes when its time is over or by command', async (t) => {
  const course = await started(t, TRASH)
  const trash = (order: TrashOrder) => executeTrashOrder(course.templates, order)
  await course.write('alice', 'a', 'first')
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  await course.write('alice', 'a', 'second')
  await course.order({ verb: 'reset', view: 'course/alice', drop: true })
  await course.order({ verb: 'remove', view: 'course/alice@one' })
  t.same(await course.order({ verb: 'list', view: 'course/alice' }), [])
  t.equal(course.layers.length, 2)
  await course.restart()
  const listed = await trash({ verb: 'list', template: 'course' })
  t.same(listed.map(({ path }) => path).sort(), ['course/alice@dropped-2030-01-02T030405', 'course/alice@one'])
  t.match(await trash({ verb: 'restore', id: 'course/alice@one', name: 'again' }), [{ path: 'course/alice@again' }])
  await course.order({ verb: 'rollback', view: 'course/alice@again', drop: true })
  t.equal(await course.read('alice', 'a'), 'first')
  const dropped = 'course/alice@dropped-2030-01-02T030405'
  const [entry] = (await trash({ verb: 'list' })).filter(({ path }) => path === dropped)
  await trash({ verb: 'restore', id: entry!.id })
  await course.order({ verb: 'rollback', view: dropped, drop: true })
  t.equal(await course.read('alice', 'a'), 'second')

  await t.rejects(trash({ verb: 'restore', id: 'course/bob' }), /is not in the trash; see overlayd trash list/)
  await t.rejects(trash({ verb: 'list', template: 'curse' }), /no template "curse"/)
  course.nowMs += 8 * DAY
  await course.templates.housekeeping.run()
  t.same(await trash({ verb: 'list' }), [], 'their time is over')
  await course.order({ verb: 'remove', view: 'course/alice@again' })
  const { id } = course.view('alice').record
  await course.course.remove(course.view('alice'))
  t.ok(existsSync(join(course.views, id)))
  t.equal((await trash({ verb: 'empty' })).length, 1)
  t.notOk(existsSync(join(course.views, id)))
  t.same(course.layers, [])
  await course.restart()
  t.same([...course.course.list()], [])
})
