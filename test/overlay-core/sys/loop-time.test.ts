import t from 'tap'
import { LoopTime, type Switches } from '../../../overlay-core/sys/loop-time.ts'

/** A loop time with a clock and switches that the test sets. */
function setUp() {
  const state = { ms: 1, voluntary: 0, forced: 0, past: { trips: 0, long: 0 } }
  const switches = (into: Switches) => Object.assign(into, { voluntary: state.voluntary, forced: state.forced })
  const time = new LoopTime(
    () => state.ms,
    switches,
    () => state.past,
  )
  const trip = (ms: number, { waits = 0, interrupted = 0 } = {}) => {
    time.begin()
    state.ms += ms
    state.voluntary += waits
    state.forced += interrupted
    time.end()
  }
  return { state, time, trip }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test('every turn of the loop has time for short calls', async (t) => {
  const { time, trip } = setUp()
  t.ok(time.free)
  trip(0.1)
  t.ok(time.free)
  trip(0.2)
  t.notOk(time.free, 'used up')
  await turn()
  t.ok(time.free)
})

t.test(
  'a long call that waited is followed by a pause of twenty times its length, at least a tenth of a second',
  async (t) => {
    const { state, time, trip } = setUp()
    for (const [ms, pause] of [
      [2, 100],
      [6, 120],
    ] as const) {
      trip(ms, { waits: 1 })
      await turn()
      state.ms += pause - 1
      t.notOk(time.free, `${ms} ms`)
      state.ms += 2
      t.ok(time.free, 'tried again')
    }
    trip(0.3, { waits: 1 })
    await turn()
    t.ok(time.free, 'one that is hardly noticed is followed by no pause')
  },
)

t.test('slow calls together take a two-thousandth of the time, plus 25 milliseconds', async (t) => {
  const { state, time, trip } = setUp()
  trip(35, { waits: 1 })
  await turn()
  state.ms += 19_999
  t.notOk(time.free, 'ten ms too many')
  state.ms += 2
  t.ok(time.free)
  trip(20, { waits: 1 })
  await turn()
  state.ms += 39_900
  t.notOk(time.free, 'nothing was left')
  state.ms += 200
  t.ok(time.free)
  state.ms += 60_000
  trip(24.9, { waits: 1 })
  await turn()
  state.ms += 500
  t.ok(time.free, '25 have gathered again')
  const small = setUp()
  for (let made = 0; made < 90; made++) {
    small.trip(0.3, { waits: 1 })
    await turn()
  }
  t.notOk(small.time.free, 'small ones count as well')
})

t.test('a call that was long without waiting counts as slow, but not one interrupted by another process', async (t) => {
  const long = setUp()
  long.trip(2)
  await turn()
  t.notOk(long.time.free)
  const interrupted = setUp()
  interrupted.trip(4, { interrupted: 1 })
  await turn()
  t.ok(interrupted.time.free)
  const quick = setUp()
  quick.trip(0.1, { waits: 1 })
  await turn()
  t.ok(quick.time.free, 'a wait too short to matter')
})

t.test('a slow sync shows that the disk is slow, and no calls are made while a long one runs', (t) => {
  const { state, time } = setUp()
  time.syncBegins()
  t.ok(time.free)
  state.ms += 11
  t.notOk(time.free, 'it takes long')
  time.syncBegins()
  time.syncEnds(20)
  t.notOk(time.free, 'the other one runs')
  time.syncEnds(40)
  t.ok(time.free)
  time.syncBegins()
  time.syncEnds(100)
  t.notOk(time.free)
  state.ms += 999
  t.notOk(time.free)
  state.ms += 2
  t.ok(time.free)
  t.end()
})

t.test('no calls are made for a file system that asks another process', (t) => {
  const { time } = setUp()
  time.forbid()
  time.forbid()
  time.allow()
  t.notOk(time.free)
  time.allow()
  t.ok(time.free)
  t.end()
})

t.test('one slow call is forgiven when threads make three hundred calls in a row without a long one', async (t) => {
  const { state, time, trip } = setUp()
  const slow = async (ms: number) => {
    trip(ms, { waits: 1 })
    await turn()
    state.ms += Math.max(100, 20 * ms) + 1
  }
  await slow(45)
  state.past = { trips: 299, long: 0 }
  t.notOk(time.free, 'not yet')
  state.past = { trips: 310, long: 1 }
  t.notOk(time.free, 'one was long')
  state.past = { trips: 609, long: 1 }
  t.notOk(time.free, 'they are counted from there')
  state.past = { trips: 610, long: 1 }
  t.ok(time.free)
  await slow(10)
  state.past = { trips: 2000, long: 1 }
  t.notOk(time.free, 'but only once in a while')
  state.ms += 100_000
  t.ok(time.free)
  state.ms += 1_000_000
  await slow(51)
  state.past = { trips: 4000, long: 1 }
  t.notOk(time.free, 'and not if it was very slow')
})

t.test('a pause after a slow sync is not forgiven', async (t) => {
  const { state, time } = setUp()
  time.syncBegins()
  time.syncEnds(100)
  state.past = { trips: 1000, long: 0 }
  t.notOk(time.free)
  state.ms += 1001
  t.ok(time.free)
})
