import t from 'tap'
import { HandshakeTurns } from '../../../server/tls/handshake-turns.ts'

t.test('addresses take turns, whatever the number that one has waiting', async (t) => {
  const turns = new HandshakeTurns<string>(() => 0)
  for (const item of ['a1', 'a2', 'a3']) turns.add('a', item)
  turns.add('b', 'b1')
  const order: unknown[] = []
  for (let next = turns.next(); next !== undefined && 'item' in next; next = turns.next()) order.push(next.item)
  t.same(order, ['a1', 'b1', 'a2', 'a3'])
})

t.test(
  'an address that has used half a second waits until it has a part of the time again; others do not',
  async (t) => {
    let nowMs = 0
    const turns = new HandshakeTurns<number>(() => nowMs)
    for (let i = 0; i < 700; i++) turns.add('a', i)
    let begun = 0
    for (let next = turns.next(); next !== undefined && 'item' in next; next = turns.next()) {
      begun++
      turns.used('a', 1)
    }
    t.equal(begun, 501, 'of 1 ms each')
    turns.add('b', 0)
    t.match(turns.next(), { address: 'b' })
    t.same(turns.next(), { waitMs: 4 })
    nowMs += 4
    t.match(turns.next(), { address: 'a' })
    turns.used('a', 1)
    nowMs += 4000
    for (begun = 0; turns.next() !== undefined && begun < 1000; begun++) turns.used('a', 0)
    t.equal(begun, 198, 'the rest')
    t.same([...turns.all()], [])
  },
)
