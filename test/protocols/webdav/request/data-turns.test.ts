import t from 'tap'
import { hasMovedEnough, nextPiece } from '../../../../protocols/webdav/request/data-turns.ts'

const KIB = 1024

const nextTurn = () => new Promise((resolve) => setImmediate(resolve))

t.test('in one turn of the event loop bodies move 2 MiB, then they wait for the next one', async (t) => {
  await nextTurn()
  let pieces = 0
  while (!hasMovedEnough(64 * KIB)) pieces++
  t.equal(pieces, 32)
  t.ok(hasMovedEnough(1), 'and whoever comes then')
  await nextTurn()
  t.notOk(hasMovedEnough(64 * KIB))
})

t.test('small pieces cost as much as 16 KiB', async (t) => {
  await nextTurn()
  let pieces = 0
  while (!hasMovedEnough(1)) pieces++
  t.equal(pieces, 128)
})

t.test('of those that wait as many go on in each turn as move 2 MiB, the first first', async (t) => {
  await nextTurn()
  const turns: number[][] = [[]]
  for (let i = 0; i < 20; i++) nextPiece(512 * KIB, () => turns.at(-1)!.push(i))
  for (let i = 0; i < 5; i++) {
    await nextTurn()
    turns.push([])
  }
  t.same(
    turns.flat(),
    Array.from({ length: 20 }, (_, i) => i),
  )
  t.ok(
    turns.every((turn) => turn.length <= 4),
    JSON.stringify(turns),
  )
})
