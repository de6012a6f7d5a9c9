import t from 'tap'
import { ConnectionRoom } from '../../server/connection-room.ts'

interface Fake {
  readonly name: string
  busy?: boolean
}

const isBusy = (connection: Fake) => connection.busy === true

function fill(room: ConnectionRoom<Fake>, address: string, count: number, busy = false): Fake[] {
  return Array.from({ length: count }, (_, i) => {
    const connection = { name: `${address}${i}`, busy }
    t.equal(room.add(connection, address, isBusy), undefined)
    return connection
  })
}

t.test('the address with the most connections makes room, by the one without a request for longest', async (t) => {
  const room = new ConnectionRoom<Fake>(10)
  fill(room, 'victim', 2)
  const many = fill(room, 'many', 8)
  room.touch(many[0]!)
  t.equal(room.add({ name: 'new' }, 'new', isBusy), many[1])
  many[2]!.busy = true
  t.equal(room.add({ name: 'new' }, 'new', isBusy), many[3], 'one with a request stays')
})

t.test('one address cannot hold all connections by requests that do not end', async (t) => {
  const room = new ConnectionRoom<Fake>(10)
  const many = fill(room, 'many', 10, true)
  t.equal(room.add({ name: 'new', busy: true }, 'new', isBusy), many[0])
  t.equal(room.add({ name: 'own', busy: true }, 'many', isBusy), undefined, 'its own next one has no room')
})

t.test('connections of many addresses with requests stay', async (t) => {
  const room = new ConnectionRoom<Fake>(10)
  fill(room, 'a', 5, true)
  fill(room, 'b', 5, true)
  t.equal(room.add({ name: 'new' }, 'new', isBusy), undefined)
})

t.test('closed connections do not count', async (t) => {
  const room = new ConnectionRoom<Fake>(3)
  for (const connection of fill(room, 'a', 3)) room.remove(connection)
  const [first] = fill(room, 'b', 3)
  t.equal(room.add({ name: 'new' }, 'new', isBusy), first)
})
