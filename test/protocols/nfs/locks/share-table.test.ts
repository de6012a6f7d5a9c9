import t from 'tap'
import { type Share, ShareTable } from '../../../../protocols/nfs/locks/share-table.ts'

const READ = 1
const WRITE = 2

function share(client: string, owner: string, access = READ, deny = 0): Share {
  return { client, owner: `${client} ${owner}`, access, deny }
}

t.test('a reservation denies others its access, and is replaced by the next of its owner', async (t) => {
  const table = new ShareTable()
  t.equal(table.reserve('f', share('1.1.1.1 a', 'x', READ | WRITE, WRITE)), 'granted')
  t.equal(table.reserve('f', share('2.2.2.2 b', 'x', WRITE)), 'denied')
  t.equal(table.reserve('f', share('2.2.2.2 b', 'x', READ, READ)), 'denied', 'the first one reads')
  t.equal(table.reserve('f', share('2.2.2.2 b', 'x', READ)), 'granted')
  t.equal(table.reserve('f', share('1.1.1.1 a', 'x', READ)), 'granted')
  t.equal(table.reserve('f', share('2.2.2.2 b', 'x', WRITE)), 'granted')
  t.equal(table.size, 2)
})

t.test('no client takes what others need, whatever names it uses', async (t) => {
  const table = new ShareTable({ total: 100, perClient: 40, perFile: 30, perFileAndClient: 20 })
  const fill = (file: string) => {
    let given = 0
    while (table.reserve(file, share(`1.1.1.1 made-up-${given}`, `${file}${given}`)) === 'granted') given++
    return given
  }
  t.equal(fill('f'), 20, 'in one file')
  t.equal(fill('g'), 20)
  t.equal(fill('h'), 0, 'in all')
  t.equal(table.reserve('f', share('1.1.1.1 made-up-3', 'f3', WRITE)), 'granted', 'a change of one that it has')
  t.equal(table.reserve('f', share('2.2.2.2 b', 'x')), 'granted')
  table.freeClient('1.1.1.1 made-up-3')
  t.equal(table.size, 39)
  t.notOk(table.hasClient('1.1.1.1 made-up-3'))
  table.release('f', '1.1.1.1 made-up-4 f4')
  t.ok(table.hasClient('1.1.1.1 made-up-4'))
  table.release('g', '1.1.1.1 made-up-4 g4')
  t.notOk(table.hasClient('1.1.1.1 made-up-4'))
  t.equal(fill('h'), 4, 'what it gave back it can have again')
})

t.test('the names of owners have a limit in bytes, for one address and for all', async (t) => {
  const table = new ShareTable({ ownerBytes: 10_000, ownerBytesPerClient: 4000 })
  const fill = (client: string) => {
    let given = 0
    while (table.reserve(`f${given}`, share(client, String(given).padStart(980, '.'))) === 'granted') given++
    return given
  }
  t.equal(fill('1.1.1.1 a'), 4)
  t.equal(fill('1.1.1.1 b'), 0)
  t.equal(fill('2.2.2.2 a'), 4)
  t.equal(fill('3.3.3.3 a'), 2)
  table.freeClient('1.1.1.1 a')
  t.equal(fill('3.3.3.3 c'), 2)
  for (const client of ['2.2.2.2 a', '3.3.3.3 a', '3.3.3.3 c']) table.freeClient(client)
  t.equal(table.size, 0)
  t.equal(fill('4.4.4.4 a'), 4)
})
