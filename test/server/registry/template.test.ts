import { join } from 'node:path'
import { setImmediate as turn } from 'node:timers/promises'
import { pino } from 'pino'
import t, { type Test } from 'tap'
import type { TemplateSettings } from '../../../config/index.ts'
import { systemRandom } from '../../../server/random.ts'
import { CreationRate } from '../../../server/registry/creation-rate.ts'
import type { Template } from '../../../server/registry/template.ts'
import { Templates } from '../../../server/registry/templates.ts'
import { ViewPool } from '../../../server/registry/view-pool.ts'

const ADDRESS = '192.0.2.1'

/** A template whose views all belong to the user of the test. */
async function template(t: Test, more: Partial<TemplateSettings> = {}): Promise<Template> {
  const dir = t.testdir({ lower: {}, views: {} })
  const log = pino({ level: 'silent' })
  const pool = new ViewPool({ log, now: () => 0, mostOpen: 100 })
  const templates = new Templates(
    {
      pool,
      accounts: { byName: async () => undefined },
      rate: new CreationRate(() => 0),
      random: systemRandom,
      wallNow: () => 0,
      serverUid: process.geteuid?.() ?? 0,
    },
    undefined,
  )
  t.teardown(() => templates.close())
  const settings: TemplateSettings = {
    ...{ kind: 'per-user', ephemeral: false, directory: join(dir, 'views'), inMemory: false, create: true },
    ...{ idleMs: 1000, maxViews: 100, owners: [], quota: undefined, quotaBy: 'server' },
    mount: { lowerdir: [join(dir, 'lower')] } as unknown as TemplateSettings['mount'],
    owner: { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0 },
    ...more,
  }
  return (await templates.add({ name: 'course', template: settings } as Parameters<Templates['add']>[0])) as Template
}

t.test('of names that differ only in case, asked for at once, one gets a view and the others get none', async (t) => {
  const course = await template(t)
  const names = ['alice', 'ALICE', 'Alice', 'alice']
  const made = await Promise.all(names.map((name) => course.reach(name, ADDRESS)))
  t.same(
    made.map((view) => view?.record.name),
    ['alice', undefined, undefined, 'alice'],
  )
  t.equal(made[0], made[3])
  await t.rejects(course.create('Alice'), /differs from course\/alice only in case or form/)
  const [one, other] = await Promise.allSettled([course.create('bob'), course.create('BOB')])
  t.equal(one.status, 'fulfilled')
  t.match(other, { status: 'rejected', reason: { message: /differs from course\/bob only in case or form/ } })
  t.equal(course.size, 2)
})

t.test('a template never has more views than it may, also if many are asked for at once', async (t) => {
  const course = await template(t, { maxViews: 3 })
  const asked = Array.from({ length: 20 }, async (_, i) => course.reach(`user${i}`, ADDRESS))
  const made = await Promise.allSettled(asked)
  t.equal(made.filter(({ status }) => status === 'fulfilled').length, 3)
  t.equal(course.size, 3)
})

t.test('whoever asks for the new name of a view that is being renamed gets that view', async (t) => {
  const course = await template(t)
  const view = await course.reach('alice', ADDRESS)
  const renamed = course.rename(view!, 'amy')
  const asked: Promise<unknown>[] = []
  for (let i = 0; i < 5; i++) {
    asked.push(Promise.resolve(course.reach('amy', ADDRESS)))
    await turn()
  }
  await renamed
  for (const each of await Promise.all(asked)) t.equal(each, view)
  t.equal(course.size, 1)
})
