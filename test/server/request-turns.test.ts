import t from 'tap'
import { RequestTurns } from '../../server/request-turns.ts'

/** A connection that notes whether it is read from. */
class FakeConnection {
  readonly remoteAddress: string
  destroyed = false
  paused = 0

  constructor(remoteAddress: string) {
    this.remoteAddress = remoteAddress
  }

  pause(): void {
    this.paused++
  }

  resume(): void {
    this.paused--
  }
}

/** Turns on a clock that only the requests move, each by so many ms; they are noted as they begin, with the turn of the loop. */
function newTurns(costMs: number) {
  let nowMs = 0
  let turn = 0
  const begun: string[] = []
  const turns = new RequestTurns(() => nowMs)
  const begin = (connection: FakeConnection, name: string) =>
    turns.begin(connection, () => {
      nowMs += costMs
      begun.push(`${turn} ${name}`)
    })
  const nextTurn = async () => {
    await new Promise((resolve) => setImmediate(resolve))
    turn++
  }
  return { begin, begun, nextTurn }
}

t.test('requests begin at once while there is time in the turn, the others in the next turns', async (t) => {
  const { begin, begun, nextTurn } = newTurns(1)
  const connection = new FakeConnection('a')
  for (let i = 1; i <= 5; i++) begin(connection, `a${i}`)
  t.same(begun, ['0 a1', '0 a2'])
  for (let i = 0; i < 3; i++) await nextTurn()
  t.same(begun, ['0 a1', '0 a2', '0 a3', '0 a4', '1 a5'])
})

t.test('a client with nothing in line goes before the many of another', async (t) => {
  const { begin, begun, nextTurn } = newTurns(2)
  const attacker = new FakeConnection('a')
  const victim = new FakeConnection('v')
  for (let i = 1; i <= 100; i++) begin(attacker, `a${i}`)
  await nextTurn()
  await nextTurn()
  begin(victim, 'v1')
  const before = begun.length
  await nextTurn()
  t.match(begun[before], / v1$/)
})

t.test('clients that all have many come one after the other', async (t) => {
  const { begin, begun, nextTurn } = newTurns(2)
  begin(new FakeConnection('x'), 'x')
  for (const address of ['a', 'b', 'c']) {
    const connection = new FakeConnection(address)
    for (let i = 1; i <= 3; i++) begin(connection, `${address}${i}`)
  }
  for (let i = 0; i < 12; i++) await nextTurn()
  const order = begun.map((line) => line.split(' ')[1])
  t.same(order, ['x', 'a1', 'b1', 'c1', 'a2', 'b2', 'c2', 'a3', 'b3', 'c3'])
})

t.test(
  'a connection is not read from while its request waits, and a request whose connection goes is never begun',
  async (t) => {
    const { begin, begun, nextTurn } = newTurns(2)
    const [first, second, third] = ['a', 'b', 'c'].map((address) => new FakeConnection(address))
    begin(first!, 'first')
    begin(second!, 'second')
    begin(third!, 'third')
    t.same([first!.paused, second!.paused, third!.paused], [0, 1, 1])
    second!.destroyed = true
    for (let i = 0; i < 4; i++) await nextTurn()
    t.same(
      begun.map((line) => line.split(' ')[1]),
      ['first', 'third'],
    )
    t.equal(third!.paused, 0)
  },
)
