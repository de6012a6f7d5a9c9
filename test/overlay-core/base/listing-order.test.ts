import { monitorEventLoopDelay } from 'node:perf_hooks'
import t from 'tap'
import { inOrder } from '../../../overlay-core/base/listing-order.ts'
import { cookieOf } from '../../../overlay-core/stack/merged-listing.ts'

const seed = Buffer.from('0123456789abcdef')

t.test('a hundred thousand entries are sorted while other work gets its turns', async (t) => {
  const entries = Array.from({ length: 100_000 }, (_, i) => ({
    name: `entry-${i}`,
    cookie: cookieOf(seed, `entry-${i}`),
  }))
  const expected = [...entries].sort((a, b) => a.cookie - b.cookie)
  const delay = monitorEventLoopDelay({ resolution: 1 })
  let turns = 0
  let sorted = false
  const count = (): void => {
    turns++
    if (!sorted) setImmediate(count)
  }
  setImmediate(count)
  delay.enable()
  const result = await inOrder(entries)
  delay.disable()
  sorted = true
  t.same(result.map(({ name }) => name).join(), expected.map(({ name }) => name).join())
  t.ok(turns > 10, `${turns} turns of the loop, the longest ${(delay.max / 1e6).toFixed(1)} ms`)
})

t.test(
  'entries with equal cookies get distinct ones in the order of their names, even if the next cookie is taken',
  async (t) => {
    const at = (name: string, cookie: number) => ({ name, cookie })
    t.same(await inOrder([at('c', 7), at('b', 7), at('d', 9), at('a', 8), at('e', 2)]), [
      ...[at('e', 2), at('b', 7), at('c', 8)],
      ...[at('a', 9), at('d', 10)],
    ])
    t.same(await inOrder([]), [])
    const last = 2 ** 52 + 1
    t.same(await inOrder([at('z', last), at('y', 2)]), [at('y', 2), at('z', last)])
  },
)
