import t from 'tap'
import { ChunkPool } from '../../../../protocols/nfs/rpc/chunk-pool.ts'
import { RecordReader } from '../../../../protocols/nfs/rpc/record-reader.ts'
import { fragments, record } from '../../../helpers/rpc-client.ts'

const SMALL = 64 * 1024
const LIMITS = { maxRecordBytes: 200_000, maxFragments: 8 }

function newReader(): { reader: RecordReader; pool: ChunkPool } {
  const pool = new ChunkPool({ smallBytes: SMALL, largeBytes: 264 * 1024, keepSmall: 4, keepLarge: 4 })
  return { reader: new RecordReader(pool, LIMITS), pool }
}

/** Lets `bytes` arrive in reads of at most `step` and returns the records found, as copies. */
function feed(
  reader: RecordReader,
  bytes: Buffer,
  step: number,
  keep: (reader: RecordReader) => void = () => undefined,
): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at < bytes.length; ) {
    const target = reader.target()
    const count = bytes.copy(target, 0, at, at + Math.min(step, target.length))
    reader.filled(count)
    at += count
    while (reader.next()) {
      found.push(Buffer.from(reader.record.bytes.subarray(reader.recordStart, reader.recordEnd)))
      keep(reader)
    }
  }
  return found
}

function message(length: number, seed = 0): Buffer {
  return Buffer.from(Array.from({ length }, (_, i) => (i * 7 + seed) & 0xff))
}

t.test('records come out whole, however the bytes arrive', async (t) => {
  const messages = [
    message(40),
    message(1),
    message(0),
    message(5000, 3),
    message(40, 9),
    message(70_000, 5),
    message(44),
  ]
  const stream = Buffer.concat(messages.map(record))
  for (const step of [1, 3, 4, 5, 1000, 65536, 1 << 20]) {
    const { reader } = newReader()
    t.same(feed(reader, stream, step), messages, `${step} bytes at a time`)
    t.notOk(reader.partial)
  }
})

t.test('fragments are put together, also among whole records', async (t) => {
  const whole = message(1000)
  const cut = fragments([whole.subarray(0, 1), whole.subarray(1, 500), Buffer.alloc(0), whole.subarray(500)])
  const stream = Buffer.concat([record(message(8)), cut, record(message(12)), cut, cut])
  for (const step of [1, 7, 4096]) {
    const { reader } = newReader()
    t.same(feed(reader, stream, step), [message(8), whole, message(12), whole, whole])
  }
})

t.test('a fragment without its mark complete is partial', async (t) => {
  const { reader } = newReader()
  feed(reader, fragments([message(8), message(8)]).subarray(0, 12), 100)
  t.ok(reader.partial)
})

t.test('records longer than allowed, in one or many fragments, are an error before they arrive', async (t) => {
  const tooLong = record(Buffer.alloc(LIMITS.maxRecordBytes + 1))
  t.throws(() => feed(newReader().reader, tooLong.subarray(0, 4), 4), { name: 'RecordError' })
  t.throws(() => feed(newReader().reader, Buffer.from('ffffffff', 'hex'), 4), { name: 'RecordError' })
  t.throws(() => feed(newReader().reader, Buffer.from('7fffffff', 'hex'), 4), { name: 'RecordError' })
  const parts = fragments([Buffer.alloc(150_000), Buffer.alloc(50_001)])
  t.throws(() => feed(newReader().reader, parts, 4096), { name: 'RecordError' })
  t.equal(feed(newReader().reader, record(Buffer.alloc(LIMITS.maxRecordBytes)), 4096).length, 1, 'the longest one')
})

t.test('more fragments than allowed are an error, empty ones count', async (t) => {
  const many = fragments(Array.from({ length: 9 }, () => Buffer.alloc(0)))
  t.throws(() => feed(newReader().reader, many, 100), { name: 'RecordError' })
})

t.test('a record that somebody retains is never written over', async (t) => {
  const kept: { bytes: Buffer; copy: Buffer; release: () => void }[] = []
  const { reader } = newReader()
  const messages = Array.from({ length: 300 }, (_, i) => message(1 + ((i * 977) % 9000), i))
  messages.push(message(150_000, 1), message(100, 2), message(150_000, 3))
  const found = feed(
    reader,
    Buffer.concat(messages.map(record)),
    20_000,
    ({ record: chunk, recordStart, recordEnd }) => {
      chunk.retain()
      const bytes = chunk.bytes.subarray(recordStart, recordEnd)
      kept.push({ bytes, copy: Buffer.from(bytes), release: () => chunk.release() })
    },
  )
  t.same(found, messages)
  t.ok(kept.every(({ bytes, copy }) => bytes.equals(copy)))
  for (const { release } of kept) release()
})

t.test('bytes left unread while reading is paused stay, and the offered region stays reserved', async (t) => {
  const { reader } = newReader()
  const messages = Array.from({ length: 100 }, (_, i) => message(600, i))
  const stream = Buffer.concat(messages.map(record))
  const first = reader.target()
  reader.filled(stream.copy(first, 0, 0, 60_000))
  const found: Buffer[] = []
  const take = (): void =>
    void found.push(Buffer.from(reader.record.bytes.subarray(reader.recordStart, reader.recordEnd)))
  t.ok(reader.next())
  take()
  const reserved = reader.target()
  while (reader.next()) take()
  reader.filled(stream.copy(reserved, 0, 60_000))
  while (reader.next()) take()
  t.same(found, messages)
})

t.test('blocks go back to the pool', async (t) => {
  const { reader, pool } = newReader()
  feed(reader, Buffer.concat([record(message(150_000)), record(message(10))]), 4096)
  reader.target()
  const large = pool.take(100_000)
  t.equal(pool.take(100_000) === large, false)
  large.release()
  t.equal(pool.take(100_000), large)
  reader.close()
})

t.test(
  'large records that follow each other need no copies and no blocks but those of the pool, also while reading pauses',
  async (t) => {
    const { reader, pool } = newReader()
    const sizes: number[] = []
    const take = pool.take.bind(pool)
    pool.take = (size) => {
      const chunk = take(size)
      sizes.push(chunk.bytes.length)
      return chunk
    }
    const messages = Array.from({ length: 6 }, (_, i) => message(150_000, i))
    const stream = Buffer.concat(messages.map(record))
    // As the socket does: the next region is asked for right after the bytes came, whether the record is taken on now or later.
    let target = reader.target()
    let at = 0
    const found: Buffer[] = []
    while (at < stream.length) {
      const count = stream.copy(target, 0, at, Math.min(at + 64 * 1024, at + target.length))
      at += count
      reader.filled(count)
      if (found.length % 2 === 0) target = reader.target()
      while (reader.next()) {
        reader.record.retain()
        found.push(Buffer.from(reader.record.bytes.subarray(reader.recordStart, reader.recordEnd)))
      }
      target = reader.target()
    }
    t.same(found, messages)
    t.ok(
      sizes.every((size) => size <= pool.largeBytes),
      `blocks of ${[...new Set(sizes)]} bytes`,
    )
    t.ok(sizes.length <= messages.length + 1, `${sizes.length} blocks`)
  },
)
