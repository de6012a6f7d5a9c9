import { cpSync, existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { SnapshotOrder } from '../../../server/registry/snapshot-requests.ts'
import { at, list } from '../../helpers/overlay.ts'
import { started } from './kept-course.ts'

t.test('a view returns to a snapshot, and what was there before is kept as another one', async (t) => {
  const course = await started(t)
  await course.write('alice', 'a', 'first')
  const key = await course.with('alice', async (overlay) => (await at(overlay, 'a')).key)
  t.match(await course.order({ verb: 'take', view: 'course/alice', name: 'one' }), [{ path: 'course/alice@one' }])
  await course.write('alice', 'a', 'second')
  await course.write('alice', 'd/b', 'second')
  const [done] = await course.order({ verb: 'rollback', view: 'course/alice@one' })
  t.equal(done?.aside, 'course/alice@before-rollback-2030-01-02T030405')
  t.equal(await course.read('alice', 'a'), 'first')
  t.equal(await course.read('alice', 'd/b'), 'b')
  await course.restart()
  t.equal(await course.read('alice', 'a'), 'first', 'after a restart')
  t.equal(await course.with('alice', async (overlay) => (await at(overlay, 'a')).key), key)
  const names = (await course.order({ verb: 'list', view: 'course/alice' })).map(({ name, inUse }) => [name, inUse])
  t.same(names, [
    ['one', true],
    ['before-rollback-2030-01-02T030405', false],
  ])
  await course.order({ verb: 'rollback', view: done?.aside as string })
  t.equal(await course.read('alice', 'a'), 'second', 'and forward again')
  t.equal(await course.read('alice', 'd/b'), 'second')
  await course.order({ verb: 'rollback', view: 'course/alice@one', drop: true })
  t.equal(await course.read('alice', 'a'), 'first')
  const before = course.layers.length
  const [removed] = await course.order({ verb: 'remove', view: done?.aside as string })
  t.equal(removed?.released, 1)
  t.equal(course.layers.length, before - 1)
})

t.test('a fork has the content of the view, and neither sees the changes of the other', async (t) => {
  const course = await started(t)
  await course.write('alice', 'a', 'shared')
  await course.order({ verb: 'fork', view: 'course/alice', name: 'bob' })
  t.equal(await course.read('bob', 'a'), 'shared')
  await course.write('alice', 'a', 'of alice')
  await course.write('bob', 'd/b', 'of bob')
  t.equal(await course.read('bob', 'a'), 'shared')
  t.equal(await course.read('alice', 'd/b'), 'b')
  await course.restart()
  t.equal(await course.read('bob', 'a'), 'shared', 'after a restart')
  t.equal(await course.read('bob', 'd/b'), 'of bob')
  await course.course.remove(course.view('alice'))
  t.equal(course.layers.length, 1, 'the layer stays for the fork')
  await course.restart()
  t.equal(await course.read('bob', 'a'), 'shared')
  await course.course.remove(course.view('bob'))
  t.same(course.layers, [], 'it goes with its last user')
})

t.test('forks and snapshots in any number share layers, and views close and open again', async (t) => {
  const course = await started(t)
  for (let i = 0; i < 5; i++) {
    await course.write('alice', 'a', `state ${i}`)
    await course.order({ verb: 'take', view: 'course/alice', name: `s${i}` })
    await course.order({ verb: 'fork', view: 'course/alice', name: `fork${i}` })
    await course.view('alice').close()
  }
  t.equal(course.layers.length, 10)
  for (let i = 0; i < 5; i++) t.equal(await course.read(`fork${i}`, 'a'), `state ${i}`)
  await Promise.all([0, 1, 2].map((i) => course.order({ verb: 'take', view: 'course/alice', name: `together${i}` })))
  t.same(await course.with('alice', (overlay) => list(overlay)), ['a', 'd'])
  for (const i of [2, 0, 4]) {
    await course.order({ verb: 'rollback', view: `course/alice@s${i}`, drop: true })
    t.equal(await course.read('alice', 'a'), `state ${i}`)
  }
})

t.test('a freeze that a crash interrupts is finished or undone by the next start', async (t) => {
  const course = await started(t)
  await course.write('alice', 'a', 'former')
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  await course.write('alice', 'a', 'latest')
  const { id, top } = course.view('alice').record
  await course.templates.close()
  const own = join(course.views, id)
  const saved = join(course.dir, 'saved')
  cpSync(course.views, saved, { recursive: true, preserveTimestamps: true })
  const layer = '0123456789abcdef'
  const directory = join(course.views, 'layers', layer)
  const record = {
    view: id,
    layer: { id: layer, below: top },
    top: layer,
    snapshot: { name: 'two', top: layer, createdMs: 5 },
  }
  // After each step of a freeze.
  const steps: readonly (readonly [string, () => void])[] = [
    ['the directory is made', () => mkdirSync(directory)],
    ['its record is written', () => writeFileSync(join(directory, 'layer.json'), `${JSON.stringify(record)}\n`)],
    ['the fresh upper is made', () => mkdirSync(join(directory, 'fresh'))],
    ['the upper is moved', () => renameSync(join(own, 'upper'), join(directory, 'upper'))],
    ['the fresh upper is in its place', () => renameSync(join(directory, 'fresh'), join(own, 'upper'))],
  ]
  for (const [at, [name]] of steps.entries()) {
    rmSync(course.views, { recursive: true })
    cpSync(saved, course.views, { recursive: true, preserveTimestamps: true })
    for (const [, step] of steps.slice(0, at + 1)) step()
    await course.start()
    const frozen = at >= 3
    t.equal(await course.read('alice', 'a'), 'latest', name)
    const names = (await course.order({ verb: 'list', view: 'course/alice' })).map((each) => each.name)
    t.same(names, frozen ? ['one', 'two'] : ['one'])
    t.equal(existsSync(directory), frozen, 'nothing is left of one that was undone')
    await course.restart()
    await course.order({ verb: 'rollback', view: 'course/alice@one' })
    t.equal(await course.read('alice', 'a'), 'former')
    await course.templates.close()
  }
  await course.start()
})

t.test('a lost registry is mended from the directories of views and layers', async (t) => {
  const course = await started(t)
  await course.write('alice', 'a', 'one')
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  await course.order({ verb: 'fork', view: 'course/alice', name: 'bob' })
  await course.write('alice', 'a', 'two')
  await course.templates.close()
  rmSync(join(course.views, 'views.log'))
  await course.start()
  t.equal(await course.read('alice', 'a'), 'two')
  t.equal(await course.read('bob', 'a'), 'one')
  await course.order({ verb: 'rollback', view: 'course/alice@one', drop: true })
  t.equal(await course.read('alice', 'a'), 'one')
})

t.test('what cannot be done is said, and changes nothing', async (t) => {
  const course = await started(t)
  await course.order({ verb: 'take', view: 'course/alice', name: 'one' })
  const refused = async (order: SnapshotOrder, message: RegExp) => {
    await t.rejects(course.order(order), { option: 'view', message }, JSON.stringify(order))
  }
  await refused({ verb: 'take', view: 'course/alice', name: 'one' }, /alice@one exists already; choose another name/)
  await refused({ verb: 'take', view: 'course/alice', name: 'a/b' }, /cannot name a snapshot; use letters/)
  await refused({ verb: 'take', view: 'course/alice', name: 'x'.repeat(256) }, /longer than 255 bytes/)
  await refused({ verb: 'take', view: 'course/alcie' }, /no view course\/alcie; see overlayd view list course/)
  await refused({ verb: 'rollback', view: 'course/alice@on' }, /no snapshot "on"; did you mean one\?/)
  await refused({ verb: 'rollback', view: 'course/alice' }, /names no snapshot; use TEMPLATE\/NAME@SNAPSHOT/)
  await refused({ verb: 'fork', view: 'course/alice', name: 'Alice' }, /differs from course\/alice only in case/)
  t.equal((await course.order({ verb: 'list', view: 'course/alice' })).length, 1)
  const ephemeral = await started(t, { ephemeral: true })
  await t.rejects(
    ephemeral.order({ verb: 'take', view: 'course/alice' }),
    /end with their use, so they have no snapshots/,
  )
})
