import t from 'tap'
import { Decoder } from '../../../../protocols/nfs/xdr/decoder.ts'

const decoder = (hex: string): Decoder => new Decoder(Buffer.from(hex, 'hex'))
const garbage = { name: 'XdrError' }

t.test('integers, booleans and enums', async (t) => {
  t.equal(decoder('ffffffff').u32(), 0xffff_ffff)
  t.equal(decoder('00000001').bool(), true)
  t.equal(decoder('00000000').bool(), false)
  t.throws(() => decoder('00000002').bool(), garbage)
  t.equal(decoder('00000002').enumUpTo(2), 2)
  t.throws(() => decoder('00000003').enumUpTo(2), garbage)
  t.throws(() => decoder('ffffffff').enumUpTo(2), garbage)
})

t.test('64-bit integers are numbers as far as these hold them', async (t) => {
  t.equal(decoder('001fffffffffffff').safeU64(), Number.MAX_SAFE_INTEGER)
  t.equal(decoder('0020000000000000').safeU64(), undefined)
  const beyond = decoder('ffffffffffffffff00000007')
  t.equal(beyond.safeU64(), undefined)
  t.equal(beyond.u32(), 7, 'the bytes are consumed all the same')
})

t.test('opaques and strings come without their padding', async (t) => {
  const items = decoder('0000000361626300' + '00000001ff000000' + '00000009')
  t.equal(items.string(3), 'abc')
  t.equal(items.opaque(10).toString('hex'), 'ff')
  t.equal(items.remaining, 4)
  t.equal(items.u32(), 9)
})

t.test('an opaque is a view of the message, not a copy', async (t) => {
  const message = Buffer.from('0000000161000000', 'hex')
  const bytes = new Decoder(message).opaque(1)
  message[4] = 0x62
  t.equal(bytes.toString(), 'b')
})

t.test('every cut is noticed', async (t) => {
  const whole = Buffer.from('00000005' + '6162636465000000' + '0000000000000001' + '00000001', 'hex')
  for (let end = 0; end < whole.length; end++) {
    const items = new Decoder(whole.subarray(0, end))
    t.throws(() => {
      items.string(5)
      items.safeU64()
      items.u32()
    }, garbage)
  }
})

t.test('lengths beyond the limit or the message are refused, however large', async (t) => {
  t.throws(() => decoder('0000000461626364').string(3), garbage)
  for (const length of ['7fffffff', '80000000', 'fffffffc', 'fffffffd', 'ffffffff']) {
    t.throws(() => decoder(`${length}61626364`).opaque(100), garbage)
    t.throws(() => decoder(`${length}61626364`).opaque(0x7fff_fff0), garbage)
  }
})

t.test('the decoder keeps to its part of a larger buffer', async (t) => {
  const bytes = Buffer.from('0000000100000002', 'hex')
  const part = new Decoder()
  part.reset(bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, 4)
  t.equal(part.u32(), 1)
  t.throws(() => part.u32(), garbage)
})
