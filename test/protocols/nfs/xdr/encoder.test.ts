import t from 'tap'
import { Encoder } from '../../../../protocols/nfs/xdr/encoder.ts'

/** The bytes that `write` makes, in a buffer full of old ones. */
function encoded(write: (out: Encoder) => void, size = 64): string {
  const out = new Encoder(Buffer.alloc(size, 0xee))
  write(out)
  return out.bytes.toString('hex', 0, out.pos)
}

t.test('integers and booleans are big-endian words', async (t) => {
  t.equal(
    encoded((out) => out.u32(0x0102_0304)),
    '01020304',
  )
  t.equal(
    encoded((out) => out.u32(-1)),
    'ffffffff',
  )
  t.equal(
    encoded((out) => out.bool(true)),
    '00000001',
  )
  t.equal(
    encoded((out) => out.bool(false)),
    '00000000',
  )
  t.equal(
    encoded((out) => out.u64(0xffff_fffe, 3)),
    'fffffffe00000003',
  )
})

t.test('safe integers become 64 bits without loss', async (t) => {
  t.equal(
    encoded((out) => out.safeU64(0)),
    '0000000000000000',
  )
  t.equal(
    encoded((out) => out.safeU64(0xffff_ffff)),
    '00000000ffffffff',
  )
  t.equal(
    encoded((out) => out.safeU64(0x1_0000_0000)),
    '0000000100000000',
  )
  t.equal(
    encoded((out) => out.safeU64(Number.MAX_SAFE_INTEGER)),
    '001fffffffffffff',
  )
})

t.test('opaques and strings are padded with zeros to whole words', async (t) => {
  const golden: [text: string, bytes: string][] = [
    ['', '00000000'],
    ['a', '0000000161000000'],
    ['ab', '0000000261620000'],
    ['abc', '0000000361626300'],
    ['abcd', '0000000461626364'],
    ['\xff\x00\x80', '00000003ff008000'],
  ]
  for (const [text, bytes] of golden) {
    t.equal(
      encoded((out) => out.string(text)),
      bytes,
    )
    t.equal(
      encoded((out) => out.opaque(Buffer.from(text, 'latin1'))),
      bytes,
    )
    t.equal(
      encoded((out) => out.fixedOpaque(Buffer.from(text, 'latin1'))),
      bytes.slice(8),
    )
  }
})

t.test('what does not fit throws and says nothing wrong', async (t) => {
  for (const write of [
    (out: Encoder) => out.u32(1),
    (out: Encoder) => out.u64(1, 1),
    (out: Encoder) => out.string('abc'),
    (out: Encoder) => out.fixedOpaque(Buffer.alloc(1)),
    (out: Encoder) => void out.reserve(4),
  ]) {
    t.throws(() => encoded(write, 3), RangeError)
  }
})

t.test('reserved room is left as it is, to be filled later', async (t) => {
  const out = new Encoder(Buffer.alloc(12))
  const at = out.reserve(4)
  out.u32(2)
  t.equal(out.room, 4)
  out.view.setUint32(at, 1)
  t.equal(out.bytes.toString('hex'), '000000010000000200000000')
})
