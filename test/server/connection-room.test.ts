import t from 'tap'
import { ConnectionRoom } from '../../server/connection-room.ts'

interface Fake {
  readonly name: string
}

/** A room for 10 connections, of which 7 are usual, on a clock that only the test moves. */
function newRoom() {
  const clock = { nowMs: 0 }
  const room = new ConnectionRoom<Fake>(10, () => clock.nowMs)
  const fill = (address: string, count: number): Fake[] =>
    Array.from({ length: count }, (_, i) => {
      const connection = { name: `${address}${i}` }
      room.add(connection, address)
      return connection
    })
  return { room, clock, fill }
}

t.test('the address with the most connections makes room, by the one that has been idle for longest', async (t) => {
  const { room, clock, fill } = newRoom()
  fill('victim', 2)
  const many = fill('many', 5)
  clock.nowMs = 1
  room.begun(many[0]!)
  room.ended(many[0]!)
  room.begun(many[1]!)
  clock.nowMs = 2000
  t.equal(room.add({ name: 'new' }, 'new'), many[2], 'one with a request stays')
})

t.test('a connection is not closed shortly after it was opened, or shortly after a request', async (t) => {
  const { room, clock, fill } = newRoom()
  const [first, second] = fill('many', 7)
  room.begun(first!)
  room.ended(first!)
  clock.nowMs = 249
  t.equal(room.add({ name: 'new' }, 'new'), undefined)
  t.ok(room.isShort, 'replies announce that their connections are closed')
  clock.nowMs = 250
  t.equal(room.add({ name: 'next' }, 'new'), second)
})

t.test('a request that has just ended counts from its end', async (t) => {
  const { room, clock, fill } = newRoom()
  const many = fill('many', 7)
  for (const connection of many) room.begun(connection)
  clock.nowMs = 5000
  for (const connection of many) room.ended(connection)
  clock.nowMs = 5999
  t.equal(room.add({ name: 'new' }, 'new'), undefined)
  clock.nowMs = 6000
  t.equal(room.add({ name: 'next' }, 'new'), many[0])
})

t.test('where there is no room at all, a connection without a request is closed first', async (t) => {
  const { room, fill } = newRoom()
  const serial = fill('many', 1)[0]!
  room.begun(serial)
  room.ended(serial)
  const many = fill('many', 9)
  t.equal(room.add({ name: 'new' }, 'new'), many[0])
})

t.test('one address cannot hold all connections by requests that do not end', async (t) => {
  const { room, fill } = newRoom()
  const many = fill('many', 10)
  for (const connection of many) room.begun(connection)
  t.equal(room.add({ name: 'new' }, 'new'), many[0])
  const own = { name: 'own' }
  t.equal(room.add(own, 'many'), own, 'its own next one has no room')
})

t.test('connections of many addresses with requests stay', async (t) => {
  const { room, fill } = newRoom()
  for (const connection of [...fill('a', 5), ...fill('b', 5)]) room.begun(connection)
  const newcomer = { name: 'new' }
  t.equal(room.add(newcomer, 'new'), newcomer)
})

t.test('few connections may wait for their first request', async (t) => {
  const clock = { nowMs: 0 }
  const room = new ConnectionRoom<Fake>(160, () => clock.nowMs)
  const first = { name: 'first' }
  room.add(first, 'dripping')
  for (let i = 0; i < 19; i++) room.add({ name: `${i}` }, 'dripping')
  t.equal(room.add({ name: 'quick' }, 'other'), undefined, 'each has a quarter of a second')
  clock.nowMs = 250
  t.equal(room.add({ name: 'next' }, 'other'), first)
})

t.test('so many that come at once have no time to wait', async (t) => {
  const room = new ConnectionRoom<Fake>(160, () => 0)
  const all = Array.from({ length: 40 }, (_, i) => ({ name: `${i}` }))
  for (const connection of all) room.add(connection, 'dripping')
  t.equal(room.add({ name: 'next' }, 'other'), all[0])
})

t.test('closed connections do not count', async (t) => {
  const { room, clock, fill } = newRoom()
  for (const connection of fill('a', 7)) room.remove(connection)
  const [first] = fill('b', 7)
  clock.nowMs = 2000
  t.equal(room.add({ name: 'new' }, 'new'), first)
})
