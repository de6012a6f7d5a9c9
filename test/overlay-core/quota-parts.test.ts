import t from 'tap'
import { Quota } from '../../overlay-core/index.ts'

const PARTS = { wallClockMs: () => 1000 }

function empty(limits: ConstructorParameters<typeof Quota>[0]): Quota {
  return new Quota(limits, { bytes: 0, files: 0 }, false, PARTS)
}

t.test('a whole limits its parts together, and each part keeps its own limit', (t) => {
  const whole = empty({ hardBytes: 100, hardFiles: 3 })
  const [one, two] = [empty({ hardBytes: 70 }), empty({})]
  for (const part of [one, two]) part.join(whole, { bytes: 0, files: 0 })
  one.reserve(60, 1, 'write')
  t.throws(() => one.reserve(11, 0, 'write'), { code: 'EDQUOT' }, 'its own limit')
  t.same(one.room, { bytes: 10, files: 2 })
  t.same(two.room, { bytes: 40, files: 2 })
  t.throws(() => two.reserve(41, 0, 'write'), { code: 'EDQUOT' }, 'what the other has left')
  two.reserve(40, 2, 'write')
  t.match(whole.state, { bytes: 100, files: 3 })
  t.same(one.room, { bytes: 0, files: 0 })
  t.throws(() => one.reserve(0, 1, 'create'), { code: 'EDQUOT' })
  t.match(one.state, { bytes: 60, files: 1 }, 'nothing was counted for what was refused')
  one.add(-20, -1)
  t.same(two.room, { bytes: 20, files: 1 }, 'what one gives back is for the other')
  one.correct({ bytes: 10, files: 1 })
  t.match(whole.state, { bytes: 50, files: 3 }, 'a recount of a part corrects the whole')
  t.same(two.limits, { bytes: 100, files: 3 })
  t.same(one.limits, { bytes: 70, files: 3 })
  t.end()
})

t.test('a whole goes on counting a part that has left, until it comes back', (t) => {
  let warned = 0
  const whole = new Quota({ softBytes: 50, hardBytes: 100, graceMs: 10 }, { bytes: 80, files: 1 }, false, {
    ...PARTS,
    aboveSoft: () => warned++,
  })
  t.equal(warned, 1)
  const since = whole.state.bytesAboveSinceMs
  const part = new Quota({}, { bytes: 80, files: 1 }, false, PARTS)
  part.join(whole, { bytes: 80, files: 1 })
  t.match(whole.state, { bytes: 80, files: 1 })
  part.leave()
  t.match(whole.state, { bytes: 80, files: 1 })
  part.add(5, 0)
  t.match(whole.state, { bytes: 80, files: 1 }, 'it is not told any more')
  part.join(whole, { bytes: 80, files: 1 })
  t.match(whole.state, { bytes: 85, files: 1 })
  t.equal(whole.state.bytesAboveSinceMs, since, 'the time above the soft limit goes on')
  t.equal(warned, 1)
  t.end()
})
