import t from 'tap'
import { LoopTime, type Switches } from '../../../overlay-core/sys/loop-time.ts'

/** A loop time with a clock and switches that the test sets. */
function setUp() {
  const state = { ms: 1, voluntary: 0, forced: 0 }
  const switches = (into: Switches) => Object.assign(into, { voluntary: state.voluntary, forced: state.forced })
  const time = new LoopTime(() => state.ms, switches)
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

t.test('slow calls together take a two-thousandth of the time, plus ten milliseconds', async (t) => {
  const { state, time, trip } = setUp()
  trip(20, { waits: 1 })
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
  trip(9.9, { waits: 1 })
  await turn()
  state.ms += 200
  t.ok(time.free, 'ten have gathered again')
  const small = setUp()
  for (let made = 0; made < 40; made++) {
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
