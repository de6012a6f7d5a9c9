import t from 'tap'
import type { Snapshot } from '../../../server/registry/layer-record.ts'
import { isDue, surplus } from '../../../server/registry/snapshot-schedule.ts'
import { ROOT } from '../../helpers/overlay.ts'
import { started } from './kept-course.ts'

const HOUR = 3_600_000
const MONDAY = Date.UTC(2030, 0, 7)

function at(ms: number, name = `auto-${ms}`): Snapshot {
  return { name, top: '0123456789abcdef', createdMs: ms }
}

t.test('the last snapshot of each of the latest periods is kept, and those of people always', (t) => {
  const hours = Array.from({ length: 24 * 30 }, (_, hour) => at(MONDAY + hour * HOUR))
  const own = at(MONDAY, 'mine')
  const counts = { hourly: 3, daily: 2, weekly: 2 }
  const gone = new Set(surplus(counts, [own, ...hours]))
  const kept = hours.filter((each) => !gone.has(each)).map(({ createdMs }) => (createdMs - MONDAY) / HOUR)
  t.notOk(gone.has(own))
  t.same(kept, [28 * 24 - 1, 29 * 24 - 1, 717, 718, 719], 'the last week, the last days, the last hours')
  t.same(surplus({ hourly: 24, daily: 0, weekly: 0 }, hours.slice(0, 24)), [])
  t.end()
})

t.test('one is due when a period of the shortest kind has begun', (t) => {
  const daily = { hourly: 0, daily: 7, weekly: 1 }
  t.equal(isDue(daily, [], MONDAY), true)
  t.equal(isDue(daily, [at(MONDAY)], MONDAY + 23 * HOUR), false)
  t.equal(isDue(daily, [at(MONDAY), at(MONDAY + HOUR, 'mine')], MONDAY + 24 * HOUR), true)
  t.equal(isDue({ hourly: 0, daily: 0, weekly: 0 }, [], MONDAY), false)
  t.end()
})

t.test('only changed views get a snapshot, old ones go, and a reload counts at once', async (t) => {
  const course = await started(t, { schedule: { hourly: 2, daily: 0, weekly: 0 } })
  await course.course.create('bob')
  const tick = async () => {
    course.nowMs += HOUR
    await course.templates.housekeeping.run()
  }
  const names = async (name: string) =>
    (await course.order({ verb: 'list', view: `course/${name}` })).map((each) => each.name)
  await tick()
  t.same(await names('alice'), [], 'nothing was changed')
  for (let hour = 0; hour < 4; hour++) {
    await course.write('alice', 'a', `${hour}`)
    if (hour % 2 === 0) await course.view('alice').close()
    await tick()
    await course.templates.housekeeping.run()
  }
  t.same(await names('alice'), ['auto-2030-01-02T070405', 'auto-2030-01-02T080405'])
  t.same(await names('bob'), [])
  await tick()
  t.equal((await names('alice')).length, 2, 'nothing was changed since')
  course.course.settings = { ...course.course.settings, schedule: { hourly: 1, daily: 0, weekly: 0 } }
  await course.with('alice', (overlay) => overlay.mkdir(ROOT, overlay.root, 'new', { mode: 0o755 }))
  await course.order({ verb: 'take', view: 'course/alice', name: 'mine' })
  await course.write('alice', 'a', 'again')
  await tick()
  t.same(await names('alice'), ['mine', 'auto-2030-01-02T100405'])
  course.course.settings = { ...course.course.settings, schedule: undefined }
  await course.write('alice', 'a', 'last')
  await tick()
  t.equal((await names('alice')).length, 2)
})
