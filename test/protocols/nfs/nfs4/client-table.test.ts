import t from 'tap'
import { ClientTable } from '../../../../protocols/nfs/nfs4/state/client-table.ts'

const CHANNEL = { maxRequestBytes: 4096, maxReplyBytes: 4096, maxCachedBytes: 2048, maxOperations: 8, maxRequests: 64 }
const CHANNELS = { fore: CHANNEL, back: CHANNEL, callbackProgram: 1 }

function setUp() {
  const ended: string[] = []
  const table = new ClientTable(
    7,
    (length) => Buffer.alloc(length, 1),
    ({ owner }) => ended.push(owner),
  )
  const add = (owner: string, address = '10.0.0.1') =>
    table.add({ owner, verifier: 'v', principal: '1:0', certificate: undefined, address, minor: 2 }, 0)
  const confirmed = (owner: string, address?: string) => {
    const client = add(owner, address)
    if (client !== undefined) table.confirm(client)
    return client
  }
  return { table, add, confirmed, ended }
}

t.test('an address that makes clients without end loses its own, and nobody else waits', async (t) => {
  const { table, add, ended } = setUp()
  const mine = add('mine', '10.0.0.2')!
  for (let i = 0; i < 3000; i++) add(`flood ${i}`)
  t.equal(table.byId(7, mine.idLo), mine)
  t.equal(table.size, 65)
  t.equal(ended.length, 3000 - 64)
  t.equal(ended[0], 'flood 0', 'the oldest went first')
})

t.test('an address has a part of all clients; one that ends makes room', async (t) => {
  const { table, confirmed } = setUp()
  const first = confirmed('0')!
  for (let i = 1; i < 2048; i++) if (confirmed(String(i)) === undefined) t.fail(String(i))
  t.equal(confirmed('one more'), undefined)
  t.ok(confirmed('elsewhere', '10.0.0.2'))
  table.drop(first)
  t.ok(confirmed('again'))
})

t.test('sessions get fewer slots when an address has much memory, then none, and all again afterwards', async (t) => {
  const { table, confirmed } = setUp()
  const slots: number[] = []
  for (let i = 0; ; i++) {
    const session = table.addSession(confirmed(String(i))!, CHANNELS)
    if (session === undefined) break
    slots.push(session.fore.maxRequests)
  }
  t.same([...new Set(slots)], [64, 16, 4])
  t.ok(slots.length > 500, `${slots.length} sessions`)
  t.equal(table.addSession(confirmed('other', '10.0.0.2')!, CHANNELS)?.fore.maxRequests, 64, 'others have theirs')
  for (let i = 0; i < slots.length; i++) table.drop(table.byOwner(String(i)).confirmed!)
  t.equal(table.sessions, 1)
  t.equal(table.addSession(confirmed('later')!, CHANNELS)?.fore.maxRequests, 64)
})
