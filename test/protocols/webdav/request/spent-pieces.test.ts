import { setImmediate as turn } from 'node:timers/promises'
import t from 'tap'
import { countPiece } from '../../../../protocols/webdav/request/spent-pieces.ts'

const MIB = 1024 * 1024
const PIECE_BYTES = 64 * 1024

/** Makes 256 MiB of pieces that nothing keeps, and returns the largest growth of memory outside the heap, in bytes. */
async function mostGrowth(afterEach: (bytes: number) => void): Promise<number> {
  const before = process.memoryUsage().arrayBuffers
  let most = 0
  for (let i = 0; i < 256 * 16; i++) {
    afterEach(Buffer.allocUnsafeSlow(PIECE_BYTES).length)
    if (i % 32 > 0) continue
    await turn()
    most = Math.max(most, process.memoryUsage().arrayBuffers - before)
  }
  return most
}

t.test('the memory of pieces of bodies is freed long before V8 would collect its whole heap', async (t) => {
  const counted = await mostGrowth(countPiece)
  const alone = await mostGrowth(() => undefined)
  t.ok(
    counted < alone / 2,
    `${Math.round(counted / MIB)} MiB pile up with the count, ${Math.round(alone / MIB)} without`,
  )
})
