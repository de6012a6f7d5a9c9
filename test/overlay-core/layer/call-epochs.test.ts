import t from 'tap'
import { CallEpochs } from '../../../overlay-core/layer/call-epochs.ts'

/** Descriptors in a list instead of the process. */
function owner() {
  const closed: number[] = []
  return { closed, close: (fd: number) => void closed.push(fd) }
}

function enter(...counters: CallEpochs[]): number {
  for (const calls of counters) calls.runningNow++
  return (counters[0] as CallEpochs).clock.now
}

function leave(epoch: number, ...counters: CallEpochs[]): void {
  for (const calls of counters) {
    if (epoch > calls.lastRetired) calls.runningNow--
    else calls.leaveEarlier(epoch)
    if (calls.hasRetired) calls.scheduleDrain()
  }
}

const turn = () => new Promise((resolve) => setImmediate(resolve))

t.test(
  'a descriptor is closed when all calls that began before it was retired have ended, and no later one',
  async (t) => {
    const calls = new CallEpochs()
    const { closed, close } = owner()
    const early = enter(calls)
    calls.retire(3, { close })
    const between = enter(calls)
    const other = enter(calls)
    calls.retire(4, { close })
    const late = enter(calls)
    await turn()
    t.same(closed, [])
    leave(between, calls)
    leave(early, calls)
    await turn()
    t.same(closed, [3], 'a call from before the second one still runs')
    leave(other, calls)
    await turn()
    t.same(closed, [3, 4], 'whatever began later')
    leave(late, calls)
    calls.retire(5, { close })
    await turn()
    t.same(closed, [3, 4, 5])
    t.notOk(calls.hasRetired)
  },
)

t.test('a long call of one overlay keeps descriptors of the stack open, and not those of others', async (t) => {
  const stack = new CallEpochs()
  const [one, two] = [new CallEpochs(stack.clock), new CallEpochs(stack.clock)]
  const shared = owner()
  const own = owner()
  const long = enter(one, stack)
  const short = enter(two, stack)
  two.retire(10, own)
  stack.retire(20, shared)
  const next = enter(two, stack)
  two.retire(11, own)
  leave(short, two, stack)
  leave(next, two, stack)
  await turn()
  t.same(own.closed, [10, 11])
  t.same(shared.closed, [])
  leave(long, one, stack)
  await turn()
  t.same(shared.closed, [20])
})

t.test('the descriptors of one owner can be closed at once', async (t) => {
  const calls = new CallEpochs()
  const [one, two] = [owner(), owner()]
  const running = enter(calls)
  calls.retire(3, one)
  calls.retire(4, two)
  calls.closeAllOf(one)
  t.same([one.closed, two.closed], [[3], []])
  leave(running, calls)
  await turn()
  t.same([one.closed, two.closed], [[3], [4]])
})

t.test('what was opened after a call began to rest does not wait for it', async (t) => {
  const calls = new CallEpochs()
  const { closed, close } = owner()
  const resting = enter(calls)
  const early = calls.clock.now
  calls.retire(3, { close })
  const since = calls.rest()
  const sameEpoch = calls.clock.now
  calls.retire(4, { close }, early)
  calls.retire(5, { close }, sameEpoch)
  calls.retire(6, { close })
  const later = calls.clock.now
  const other = enter(calls)
  calls.retire(7, { close }, later)
  await turn()
  t.same(closed, [], 'another call runs, which may use the last one')
  leave(other, calls)
  await turn()
  t.same(closed, [7], 'the resting call may use the others')
  calls.goOn(since)
  calls.retire(8, { close }, calls.clock.now)
  await turn()
  t.same(closed, [7], 'it goes on')
  leave(resting, calls)
  await turn()
  t.same(closed, [7, 3, 4, 5, 6, 8])
})

t.test('of several calls, each must rest or have ended', async (t) => {
  const stack = new CallEpochs()
  const [one, two] = [new CallEpochs(stack.clock), new CallEpochs(stack.clock)]
  const { closed, close } = owner()
  const first = enter(one, stack)
  const second = enter(two, stack)
  const [rests, restsToo] = [one.rest(), stack.rest()]
  two.retire(90, owner())
  const born = stack.clock.now
  stack.retire(3, { close }, born)
  await turn()
  t.same(closed, [], 'the second runs')
  const [secondRests, secondRestsToo] = [two.rest(), stack.rest()]
  await turn()
  t.same(closed, [], 'it may have got the descriptor before it began to rest')
  const bornLater = stack.clock.now
  stack.retire(4, { close }, bornLater)
  two.retire(91, owner())
  stack.retire(5, { close }, stack.clock.now)
  await turn()
  t.same(closed, [5])
  two.goOn(secondRests)
  stack.goOn(secondRestsToo)
  leave(second, two, stack)
  await turn()
  t.same(closed, [5, 3, 4], 'the first has rested since before')
  one.goOn(rests)
  stack.goOn(restsToo)
  leave(first, one, stack)
})
