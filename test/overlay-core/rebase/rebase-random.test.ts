import t from 'tap'
import { runRound } from '../../rebase/round.ts'

const ROUNDS = 250
/** Later ones that found something. */
const ONCE_WRONG = [1084, 1145, 1208, 1388, 1635, 2215]

t.test(
  'views that are put on a new base show what a comparison path by path says, live and after a restart',
  async (t) => {
    const seen = new Set<string>()
    for (const seed of [...Array(ROUNDS).keys(), ...ONCE_WRONG]) {
      const { wrong, outcomes } = await runRound(seed)
      for (const { outcome } of outcomes) seen.add(outcome)
      if (!t.same(wrong, [], `view ${seed}`)) break
    }
    for (const outcome of ['untouched', 'identical', 'stale', 'masked', 'type', 'moved'])
      t.ok(seen.has(outcome), `some outcomes are ${outcome}`)
  },
)
