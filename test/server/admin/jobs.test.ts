import { pino } from 'pino'
import t from 'tap'
import { OptionError } from '../../../overlay-core/index.ts'
import type { Job } from '../../../server/admin/api/job.ts'
import { Jobs } from '../../../server/admin/jobs/jobs.ts'

const BY = { user: undefined, address: undefined }

function jobs(): Jobs {
  let number = 0
  const random = (length: number) => Buffer.alloc(length, ++number)
  return new Jobs({ wallNow: () => 1_800_000_000_000 + number, random, log: pino({ level: 'silent' }) })
}

/** Resolves with a job when it has ended. */
async function ended(all: Jobs, { id }: Job): Promise<Job> {
  while (all.show(id).state === 'running') await new Promise((resolve) => setImmediate(resolve))
  return all.show(id)
}

t.test('a job tells its progress and its result', async (t) => {
  const all = jobs()
  const told: Job[] = []
  const stop = all.watch((job) => told.push(job))
  const job = all.start('view squash', { view: 'a/b' }, { user: 'alice', address: undefined }, async ({ progress }) => {
    progress({ text: 'first', done: 1, total: 2 })
    progress({ text: 'second', done: 2, total: 2 })
    return { layers: 1 }
  })
  t.match(job, { state: 'running', verb: 'view squash', order: { view: 'a/b' }, user: 'alice' })
  t.match(await ended(all, job), { state: 'done', result: { layers: 1 }, progress: { text: 'second' } })
  t.same(
    told.map(({ state }) => state),
    ['running', 'done'],
    'progress that is overtaken is not told',
  )
  t.notOk('result' in all.list()[0]!, 'a list has no results')
  stop()
  t.equal(all.running, 0)
})

t.test('a job that is cancelled ends at its next safe place', async (t) => {
  const all = jobs()
  const steps: number[] = []
  const job = all.start('x', {}, BY, async ({ signal }) => {
    for (let step = 0; ; step++) {
      signal.throwIfAborted()
      steps.push(step)
      await new Promise((resolve) => setImmediate(resolve))
    }
  })
  while (steps.length < 3) await new Promise((resolve) => setImmediate(resolve))
  t.match(all.cancel(job.id), { state: 'running', cancelling: true })
  t.match(await ended(all, job), { state: 'cancelled' })
  const done = steps.length
  await new Promise((resolve) => setImmediate(resolve))
  t.equal(steps.length, done)
  t.match(all.cancel(job.id), { state: 'cancelled' }, 'one that has ended stays as it is')
  t.throws(() => all.cancel('none'), { message: /there is no job "none"; see overlayd job list/ })
})

t.test('a job that fails says why', async (t) => {
  const all = jobs()
  const refused = all.start('x', {}, BY, async () => {
    throw new OptionError('view', 'there is no view a/b; see overlayd view list')
  })
  t.match(await ended(all, refused), { state: 'failed', error: { option: 'view', message: /^view: there is no view/ } })
  const broken = all.start('x', {}, BY, async () => {
    throw new Error('oops')
  })
  t.match(await ended(all, broken), { state: 'failed', error: { message: /^oops; the log of the server says more/ } })
})

t.test('the number of jobs and the size of their results are limited', async (t) => {
  const all = jobs()
  const large = 'x'.repeat(6 * 1024 * 1024)
  for (let i = 0; i < 5; i++)
    await ended(
      all,
      all.start('large', {}, BY, async () => large),
    )
  const kept = all.list().filter(({ id }) => all.show(id).result !== undefined)
  t.equal(kept.length, 2, 'the latest')
  t.equal(kept[0]?.id, all.list()[0]?.id)
  for (let i = 0; i < 250; i++)
    await ended(
      all,
      all.start('small', {}, BY, async () => i),
    )
  t.ok(all.list().length <= 201)
  const { promise, resolve } = Promise.withResolvers<void>()
  const running = Array.from({ length: 16 }, () => all.start('waits', {}, BY, () => promise))
  t.throws(() => all.start('more', {}, BY, async () => 1), {
    message: /16 jobs run already; wait for one, or cancel it/,
  })
  resolve()
  for (const job of running) await ended(all, job)
})

t.test('closing cancels what runs and waits for it', async (t) => {
  const all = jobs()
  let finished = false
  const job = all.start('x', {}, BY, async ({ signal }) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve))
    finished = true
  })
  await new Promise((resolve) => setImmediate(resolve))
  await all.close()
  t.ok(finished)
  t.equal(all.show(job.id).state, 'done', 'what was done in spite of it is done')
  t.throws(() => all.start('x', {}, BY, async () => 1), { message: /the server is stopping/ })
})
