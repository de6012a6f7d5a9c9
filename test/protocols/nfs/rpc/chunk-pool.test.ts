import t from 'tap'
import { type Chunk, ChunkPool } from '../../../../protocols/nfs/rpc/chunk-pool.ts'

const SMALL = 64
const LARGE = 1024

function take(pool: ChunkPool, count: number, size: number): Chunk[] {
  return Array.from({ length: count }, () => pool.take(size))
}

function releaseAll(chunks: readonly Chunk[]): void {
  for (const chunk of chunks) chunk.release()
}

for (const [kind, size] of [
  ['small', SMALL],
  ['large', LARGE],
] as const) {
  t.test(
    `free ${kind} blocks that nobody needed between two trims are let go, though others are in use all the time`,
    async (t) => {
      const pool = new ChunkPool({ smallBytes: SMALL, largeBytes: LARGE, keepSmall: 100, keepLarge: 100 })
      const many = take(pool, 50, size)
      const known = new Set(many)
      releaseAll(many)
      const reused = () => {
        const chunks = take(pool, 50, size)
        const count = chunks.filter((chunk) => known.has(chunk)).length
        releaseAll(chunks)
        return count
      }
      pool.trim()
      t.equal(reused(), 50, 'what was in use since the last trim is kept')
      pool.trim()
      for (let i = 0; i < 20; i++) releaseAll(take(pool, 3, size))
      pool.trim()
      t.equal(reused(), 3, 'only what was needed stays')
    },
  )
}
