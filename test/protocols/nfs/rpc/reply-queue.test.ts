import t from 'tap'
import { ChunkPool } from '../../../../protocols/nfs/rpc/chunk-pool.ts'
import { type ReplyBuffer, ReplyQueue } from '../../../../protocols/nfs/rpc/reply-queue.ts'

/** A socket that takes what it is given at once, or when told to. */
class TestSink {
  readonly writes: string[] = []
  writableLength = 0
  slow = false
  #pending: { bytes: Uint8Array; done: () => void }[] = []
  #corked: string[] | undefined

  write(bytes: Uint8Array, done: () => void): boolean {
    if (this.slow) {
      this.writableLength += bytes.length
      this.#pending.push({ bytes, done })
      return false
    }
    this.#take(bytes)
    process.nextTick(done)
    return true
  }

  cork(): void {
    this.#corked = []
  }

  uncork(): void {
    if (this.#corked) this.writes.push(this.#corked.join(''))
    this.#corked = undefined
  }

  /** Takes all that waits, as it is in memory now. */
  drain(): void {
    this.writableLength = 0
    for (const { bytes, done } of this.#pending.splice(0)) {
      this.#take(bytes)
      done()
    }
  }

  #take(bytes: Uint8Array): void {
    const hex = Buffer.from(bytes).toString('hex')
    if (this.#corked) this.#corked.push(hex)
    else this.writes.push(hex)
  }
}

function newQueue(): { queue: ReplyQueue; sink: TestSink } {
  const sink = new TestSink()
  const pool = new ChunkPool({ smallBytes: 256, largeBytes: 1024, keepSmall: 8, keepLarge: 2 })
  return { queue: new ReplyQueue(pool, sink, () => undefined), sink }
}

function reply(queue: ReplyQueue, word: number, maxBytes = 16): void {
  const buffer = queue.begin(maxBytes)
  buffer.out.u32(word)
  queue.commit(buffer)
}

const marked = (word: number): string => `80000004${word.toString(16).padStart(8, '0')}`

t.test('all replies since the last flush leave in one write', async (t) => {
  const { queue, sink } = newQueue()
  for (const word of [1, 2, 3]) reply(queue, word)
  t.same(sink.writes, [])
  queue.flush()
  t.same(sink.writes, [marked(1) + marked(2) + marked(3)])
  queue.flush()
  t.equal(sink.writes.length, 1, 'nothing more to send')
})

t.test('also when they fill several blocks', async (t) => {
  const { queue, sink } = newQueue()
  const words = Array.from({ length: 100 }, (_, i) => i)
  for (const word of words) reply(queue, word)
  queue.flush()
  t.same(sink.writes, [words.map(marked).join('')])
})

t.test('an open reply keeps its block, others go on elsewhere, each comes out whole', async (t) => {
  const { queue, sink } = newQueue()
  reply(queue, 1)
  const open = queue.begin(16)
  open.out.u32(0xaaaa)
  const alsoOpen = queue.begin(16)
  reply(queue, 2)
  queue.flush()
  t.same(sink.writes, [marked(1) + marked(2)])
  t.ok(queue.reservedBytes > 0)
  alsoOpen.out.u32(0xbbbb)
  queue.commit(alsoOpen)
  queue.commit(open)
  reply(queue, 3)
  queue.flush()
  t.same(sink.writes.slice(1), [marked(0xbbbb) + marked(0xaaaa) + marked(3)])
  t.equal(queue.reservedBytes, 0)
})

t.test('a flush while a reply is open sends what stands before it', async (t) => {
  const { queue, sink } = newQueue()
  reply(queue, 1)
  const open = queue.begin(16)
  open.out.u32(2)
  queue.flush()
  queue.commit(open)
  queue.flush()
  t.same(sink.writes, [marked(1), marked(2)])
})

t.test('a reply may start over or be dropped', async (t) => {
  const { queue, sink } = newQueue()
  const again = queue.begin(16)
  again.out.u32(0xdead)
  queue.rewind(again)
  again.out.u32(1)
  queue.commit(again)
  const dropped = queue.begin(16)
  dropped.out.u32(0xdead)
  queue.cancel(dropped)
  reply(queue, 2)
  queue.flush()
  t.same(sink.writes, [marked(1) + marked(2)])
})

t.test('what a slow socket has not taken is never written over', async (t) => {
  const { queue, sink } = newQueue()
  sink.slow = true
  const words = Array.from({ length: 60 }, (_, i) => i)
  for (const word of words) {
    reply(queue, word)
    if (word % 7 === 0) queue.flush()
  }
  queue.flush()
  t.equal(queue.unsentBytes, 60 * 8)
  sink.drain()
  t.equal(sink.writes.join(''), words.map(marked).join(''))
  t.equal(queue.unsentBytes, 0)
})

t.test('a block is used again as soon as the socket has taken it', async (t) => {
  const { queue } = newQueue()
  const blocks = new Set<unknown>()
  for (let i = 0; i < 50; i++) {
    const buffer = queue.begin(16)
    buffer.out.u32(i)
    blocks.add(buffer.chunk)
    queue.commit(buffer)
    queue.flush()
  }
  t.equal(blocks.size, 1)
})

t.test('after close nothing is sent and open replies can be ended', async (t) => {
  const { queue, sink } = newQueue()
  const open: ReplyBuffer = queue.begin(16)
  reply(queue, 1)
  queue.close()
  queue.commit(open)
  reply(queue, 2)
  queue.flush()
  t.same(sink.writes, [])
})
