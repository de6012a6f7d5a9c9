import t from 'tap'
import { Interruption } from '../../../../protocols/nfs/rpc/interruption.ts'
import {
  isReplyMemory,
  KEEP_OF_EARLIER_MS,
  REPLY_MEMORY_BYTES,
  ReplyStore,
} from '../../../../protocols/nfs/rpc/reply-store.ts'

const KEY = Buffer.from('the secret of 16')

const never = (error: unknown) => {
  throw error
}

function memory(bytes = new Uint8Array(REPLY_MEMORY_BYTES)) {
  return { bytes, changed: () => undefined }
}

function owner() {
  return { slot: -1, running: true }
}

function identity(xid: number, argsChecksum = xid) {
  return { address: '192.0.2.7', xid, checksum: -xid, argsChecksum }
}

const REPLY = Buffer.from('the reply')

t.test('a process finds what the one before it has taken on, in order, with the replies that were complete', (t) => {
  const kept = memory()
  let nowMs = 5000
  const store = new ReplyStore(kept, () => nowMs++, never, KEY)
  const [first, second] = [owner(), owner()]
  store.begin(first, identity(1))
  store.begin(second, { ...identity(2), address: 'fe80::1234:5678:9abc:def0%enp0s31f6' })
  store.complete(first, REPLY)
  const [one, two, ...more] = new ReplyStore(kept, () => nowMs, never, KEY).earlier
  t.match(one, { ...identity(1), startedMs: 5001, reply: REPLY })
  t.match(two, { xid: 2, address: 'fe80::1234:5678:9abc:def0%enp0s31f6', startedMs: 5002, reply: undefined })
  t.ok(one!.endedAt > two!.startedAt, 'the first ended after the second had begun')
  t.same(more, [])
  const key = Buffer.alloc(16, 9)
  t.same(new ReplyStore(kept, () => nowMs, never, key).key, KEY, 'the secret is that of the memory')

  // Another call in the place of the first: its reply must not be taken for the answer.
  store.begin(first, identity(3))
  t.match(
    new ReplyStore(kept, () => nowMs, never, KEY).earlier.map(({ xid, reply }) => ({ xid, reply })),
    [
      { xid: 2, reply: undefined },
      { xid: 3, reply: undefined },
    ],
  )
  t.end()
})

t.test('a torn or damaged record is as if it were not there, whichever byte it is', (t) => {
  const kept = memory()
  const store = new ReplyStore(kept, () => 5000, never, KEY)
  const entry = owner()
  store.begin(entry, identity(1))
  const started = kept.bytes.slice()
  store.complete(entry, REPLY)
  const at = started.findIndex((byte, i) => i >= 448 && byte !== 0) & ~3
  for (let i = at; i < at + 33 + '192.0.2.7'.length; i++) {
    const torn = kept.bytes.slice()
    torn[i]! ^= 0x10
    t.same(new ReplyStore(memory(torn), () => 5000, never, KEY).earlier, [], `byte ${i - at} of the call`)
  }
  for (let i = at + 96; i < at + 112 + REPLY.length; i++) {
    const torn = kept.bytes.slice()
    torn[i]! ^= 0x10
    const { earlier } = new ReplyStore(memory(torn), () => 5000, never, KEY)
    t.match(earlier, [{ xid: 1, reply: undefined }], `byte ${i - at} of the reply`)
  }
  for (let i = at + 96; i < at + 112 + REPLY.length; i++) {
    const cut = started.slice()
    cut.set(kept.bytes.subarray(at + 96, i), at + 96)
    const { reply } = new ReplyStore(memory(cut), () => 5000, never, KEY).earlier[0]!
    t.ok(reply === undefined || REPLY.equals(reply), `killed at byte ${i - at}`)
  }
  const noise = Uint8Array.from({ length: REPLY_MEMORY_BYTES }, (_, i) => Math.imul(i, 0x9e3779b1) >>> 24)
  t.notOk(isReplyMemory(noise))
  t.same(new ReplyStore(memory(noise), () => 5000, never, KEY).earlier, [])
  t.notOk(isReplyMemory(new Uint8Array(1000)))
  const old = kept.bytes.slice()
  old.set(Buffer.from('OVLRPL01'))
  t.ok(isReplyMemory(old), 'that of an earlier version is used')
  t.same(new ReplyStore(memory(old), () => 5000, never, KEY).earlier, [], 'without what it holds')
  t.ok(isReplyMemory(kept.bytes))
  t.ok(isReplyMemory(memory().bytes))
  t.end()
})

t.test('calls long before the last one are forgotten; the time without a server does not count, up to a day', (t) => {
  const kept = memory()
  let nowMs = 1e12
  const store = new ReplyStore(kept, () => nowMs, never, KEY)
  const begin = (xid: number, afterMs: number) => {
    nowMs = 1e12 + afterMs
    store.begin(owner(), identity(xid))
  }
  begin(1, 0)
  begin(2, 1)
  begin(3, KEEP_OF_EARLIER_MS + 1)
  const found = (afterMs: number) =>
    new ReplyStore(kept, () => nowMs + afterMs, never, KEY).earlier.map(({ xid }) => xid)
  t.same(found(0), [2, 3])
  t.same(found(8 * 3_600_000), [2, 3])
  t.same(found(25 * 3_600_000), [])
  t.end()
})

t.test('when all slots are taken the oldest calls that are over give way, never one that runs', (t) => {
  const kept = memory()
  const store = new ReplyStore(kept, () => 5000, never, KEY)
  const owners = Array.from({ length: 8192 }, owner)
  for (const [i, entry] of owners.entries()) store.begin(entry, identity(i + 1))
  t.equal(new Set(owners.map(({ slot }) => slot)).size, 8192)
  const late = owner()
  store.begin(late, identity(9001))
  t.equal(late.slot, -1, 'none is to be had')
  store.complete(late, REPLY)
  for (const entry of owners.slice(1000, 1100)) entry.running = false
  for (let i = 0; i < 100; i++) store.begin(owner(), identity(10_000 + i))
  t.same(
    owners.filter(({ slot }) => slot < 0),
    owners.slice(1000, 1100),
  )
  store.release(owners[5]!)
  store.begin(late, identity(9001))
  t.ok(late.slot >= 0)
  const xids = new ReplyStore(kept, () => 5000, never, KEY).earlier.map(({ xid }) => xid)
  t.equal(xids.length, 8192)
  t.ok(xids.includes(9001) && !xids.includes(6))
  t.end()
})

t.test('an interrupted call learns which others were answered after it had begun', (t) => {
  const kept = memory()
  const store = new ReplyStore(kept, () => 5000, never, KEY)
  const entries = [owner(), owner(), owner()] as const
  store.begin(entries[0], identity(1, 77))
  store.complete(entries[0], Buffer.from('before'))
  store.begin(entries[1], identity(2, 77))
  store.begin(entries[2], identity(3, 77))
  store.complete(entries[2], Buffer.from('after'))
  const next = new ReplyStore(kept, () => 6000, never, KEY)
  const interruption = new Interruption(next.earlier[1]!, next)
  t.match(interruption, { startedMs: 5000, diedMs: 6000 })
  t.same(
    [...interruption.otherReplies()].map(({ reply, sameWish }) => [Buffer.from(reply).toString(), sameWish]),
    [
      ['before', false],
      ['after', true],
    ],
  )
  t.end()
})

t.test('a memory that cannot be written any more is given up, and that is told once', (t) => {
  const failures: unknown[] = []
  let works = true
  const changed = () => {
    if (!works) throw new Error('full')
  }
  const { bytes } = memory()
  const store = new ReplyStore(
    { bytes, changed },
    () => 5000,
    (error) => failures.push(error),
    KEY,
  )
  works = false
  const entry = owner()
  store.begin(entry, identity(1))
  store.complete(entry, REPLY)
  store.begin(owner(), identity(2))
  t.match(failures, [{ message: 'full' }])
  t.end()
})
