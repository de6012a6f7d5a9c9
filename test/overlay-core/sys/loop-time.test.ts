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

t.test('a turn of the loop has time for short calls, and the next one has it again', async (t) => {
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
  'after a call that waited there are none for a hundred times as long, then two thousand times, at least a second',
  async (t) => {
    const { state, time, trip } = setUp()
    for (const [ms, pause] of [
      [20, 2000],
      [20, 40_000],
      [0.3, 1000],
      [2, 4000],
    ] as const) {
      trip(ms, { waits: 1 })
      await turn()
      state.ms += pause - 1
      t.notOk(time.free, `${ms} ms`)
      state.ms += 2
      t.ok(time.free, 'tried again')
    }
    state.ms += 300_000
    trip(20, { waits: 1 })
    await turn()
    state.ms += 2001
    t.ok(time.free, 'the one long ago is forgotten')
  },
)

t.test(
  'a call that was long without waiting counts as slow, one that was interrupted by another process does not',
  async (t) => {
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
  },
)

t.test('a slow sync says that the disk is slow', (t) => {
  const { state, time } = setUp()
  time.synced(40)
  t.ok(time.free)
  time.synced(100)
  t.notOk(time.free)
  state.ms += 19_999
  t.notOk(time.free)
  state.ms += 2
  t.ok(time.free)
  t.end()
})

t.test('where a file system asks others there are none at all', (t) => {
  const { time } = setUp()
  time.forbid()
  time.forbid()
  time.allow()
  t.notOk(time.free)
  time.allow()
  t.ok(time.free)
  t.end()
})
