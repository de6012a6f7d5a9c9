import t from 'tap'
import { SharedTurns } from '../../../server/registry/shared-turns.ts'

/** Turns that end when they are told to. */
function scene() {
  const turns: { readonly items: string[]; readonly end: (error?: Error) => void }[] = []
  const shared = new SharedTurns<string>((items) => {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    turns.push({ items: [...items], end: (error) => (error === undefined ? resolve() : reject(error)) })
    return promise
  })
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  return { shared, turns, settled }
}

t.test('who comes while a turn runs shares the next one', async (t) => {
  const { shared, turns, settled } = scene()
  const first = shared.add(['a'])
  await settled()
  const others = [shared.add(['b']), shared.add(['c', 'd']), shared.add(['b'])]
  await settled()
  t.same(
    turns.map(({ items }) => items),
    [['a']],
    'one at a time',
  )
  turns[0]?.end()
  await first
  await settled()
  t.same(turns[1]?.items, ['b', 'c', 'd'])
  turns[1]?.end()
  await Promise.all(others)
  t.equal(turns.length, 2)
})

t.test('a failed turn fails those who shared it, and nobody else', async (t) => {
  const { shared, turns, settled } = scene()
  const [first, same] = [shared.add(['a']), shared.add(['b'])]
  await settled()
  const next = shared.add(['c'])
  turns[0]?.end(new Error('disk'))
  await t.rejects(first, { message: 'disk' })
  await t.rejects(same, { message: 'disk' })
  await settled()
  turns[1]?.end()
  await next
})
