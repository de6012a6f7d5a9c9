import { pino } from 'pino'
import t, { type Test } from 'tap'
import { type Closable, ViewPool } from '../../../server/registry/view-pool.ts'

/** A pool with a clock of the test, and views that note when they are closed. */
function pool(t: Test, mostOpen = 100) {
  const clock = { nowMs: 0 }
  const views = new ViewPool({ log: pino({ level: 'silent' }), now: () => clock.nowMs, mostOpen })
  t.teardown(() => views.close())
  const closed: string[] = []
  const open = (name: string, idleMs = 1000, ephemeral = false): Closable => {
    const close = async () => {
      closed.push(name)
      views.closed(view)
    }
    const view: Closable = { idleMs, ephemeral, close, end: close }
    views.opened(view)
    return view
  }
  return { views, clock, closed, open }
}

t.test('at most eight views are opened at the same time, in turn, also if some fail', async (t) => {
  const { views } = pool(t)
  const started: number[] = []
  const gates: PromiseWithResolvers<void>[] = []
  const results = Array.from({ length: 20 }, (_, i) =>
    views.inTurn(async () => {
      started.push(i)
      const gate = Promise.withResolvers<void>()
      gates.push(gate)
      await gate.promise
      if (i % 3 === 0) throw new Error('cannot be opened')
    }),
  )
  const settled = Promise.allSettled(results)
  t.equal(started.length, 8)
  for (let i = 0; i < 20; i++) {
    t.ok(started.length - i <= 8)
    gates[i]!.resolve()
    await results[i]!.catch(() => undefined)
    await new Promise(setImmediate)
  }
  t.same(
    started,
    Array.from({ length: 20 }, (_, i) => i),
  )
  t.equal((await settled).filter(({ status }) => status === 'rejected').length, 7)
})

t.test('a view is closed when it was idle for its own time, and not while it is used', async (t) => {
  const { views, clock, closed, open } = pool(t)
  const [short, long, busy] = [open('short', 1000), open('long', 5000), open('busy', 1000)]
  views.idle(short)
  views.idle(long)
  views.idle(busy)
  clock.nowMs = 900
  await views.closeIdle()
  t.same(closed, [])
  views.busy(busy)
  clock.nowMs = 1000
  await views.closeIdle()
  t.same(closed, ['short'])
  views.idle(busy)
  clock.nowMs = 1999
  await views.closeIdle()
  t.same(closed, ['short'], 'the time starts with the end of the last use')
  clock.nowMs = 5000
  await views.closeIdle()
  t.same(closed.sort(), ['busy', 'long', 'short'])
  t.equal(views.size, 0)
})

t.test('if many are open, those that were idle longest are closed first, and those in use never', async (t) => {
  const { views, closed, open } = pool(t, 3)
  open('used')
  views.idle(open('first'))
  views.idle(open('second'))
  open('third')
  t.same(closed, ['first'])
  open('fourth')
  open('fifth')
  t.same(closed, ['first', 'second'])
  t.equal(views.size, 4)
})

t.test('ephemeral views stay open for their idle time, even if many are open', async (t) => {
  const { views, clock, closed, open } = pool(t, 1)
  views.idle(open('ephemeral', 1000, true))
  views.idle(open('kept'))
  open('third')
  t.same(closed, ['kept'])
  clock.nowMs = 1000
  await views.closeIdle()
  t.same(closed, ['kept', 'ephemeral'])
})

t.test('only as many are closed as are too many, although closing takes time', async (t) => {
  const { views } = pool(t, 3)
  const closed: string[] = []
  const gate = Promise.withResolvers<void>()
  const open = (name: string) => {
    const close = async () => {
      closed.push(name)
      await gate.promise
      views.closed(view)
    }
    const view: Closable = { idleMs: 1000, ephemeral: false, close, end: close }
    views.opened(view)
    views.idle(view)
  }
  for (const name of ['a', 'b', 'c', 'd']) open(name)
  t.same(closed, ['a'])
  open('e')
  t.same(closed, ['a', 'b'])
  views.mostOpen = 1
  for (let turns = 0; turns < 100 && closed.length < 4; turns++) await new Promise(setImmediate)
  t.same(closed, ['a', 'b', 'c', 'd'], 'a lower limit applies at once')
  gate.resolve()
})

t.test('many views that become idle at the same time are closed in turns of the event loop', async (t) => {
  const { views, clock, closed } = pool(t)
  for (let i = 0; i < 400; i++) {
    const close = async () => {
      closed.push(`${i}`)
      const until = performance.now() + 0.1
      while (performance.now() < until);
      views.closed(view)
    }
    const view: Closable = { idleMs: 1000, ephemeral: false, close, end: close }
    views.opened(view)
    views.idle(view)
  }
  let turns = 0
  const count = () => {
    turns++
    if (views.size > 0) setImmediate(count)
  }
  clock.nowMs = 1000
  setImmediate(count)
  const done = views.closeIdle()
  t.equal(views.closeIdle(), done, 'one sweep at a time')
  await done
  t.equal(closed.length, 400)
  t.ok(turns >= 10, String(turns))
})

t.test('the end closes all, also those in use', async (t) => {
  const { views, closed, open } = pool(t)
  open('used')
  views.idle(open('idle'))
  await views.close()
  t.same(closed.sort(), ['idle', 'used'])
})
