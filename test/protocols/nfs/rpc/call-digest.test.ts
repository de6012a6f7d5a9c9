import t from 'tap'
import type { RpcCall } from '../../../../protocols/nfs/rpc/call.ts'
import { CallDigest } from '../../../../protocols/nfs/rpc/call-digest.ts'
import { authSys, callMessage } from '../../../helpers/rpc-client.ts'

const digest = new CallDigest(Buffer.from('the secret of 16'))
const STAMP_AT = 32

function ofCall(message: Buffer, { port = 700, by = digest } = {}): number {
  const view = new DataView(message.buffer, message.byteOffset, message.length)
  return by.ofCall({ args: { bytes: message, view, pos: 0, end: message.length }, peer: { port } } as RpcCall, 0)
}

t.test('every byte of a call counts, wherever it is and however long the call is; only the stamp does not', (t) => {
  for (const dataBytes of [0, 3, 60, 1300, 5000, 40_000, 1_048_576]) {
    const message = callMessage(7, [100003, 3, 7], authSys(1000, 1000, [4, 24]), Buffer.alloc(dataBytes, 0xab))
    const whole = ofCall(message)
    t.ok(Number.isSafeInteger(whole) && whole >= 0)
    t.equal(ofCall(Buffer.from(message)), whole, 'the same bytes have the same digest')
    const step = Math.max(1, Math.floor(message.length / 500))
    const places = new Set([...Array(Math.min(200, message.length)).keys(), message.length - 1])
    for (let at = 0; at < message.length; at += step) places.add(at)
    const same = [...places].filter((at) => {
      message[at]! ^= 0x80
      const other = ofCall(message)
      message[at]! ^= 0x80
      return other === whole
    })
    t.same(same, [STAMP_AT, STAMP_AT + 1, STAMP_AT + 2, STAMP_AT + 3], `${dataBytes} bytes of arguments`)
    t.not(ofCall(message.subarray(0, message.length - 1)), whole, 'the length counts')
    t.not(ofCall(message, { port: 40_000 }), whole, 'and whether the port is one that only root sends from')
    t.not(ofCall(message, { by: new CallDigest(Buffer.from('another of 16 b.')) }), whole, 'and the secret')
  }
  t.end()
})

t.test('digests are spread over all of their bits', (t) => {
  const ones = new Array<number>(53).fill(0)
  const seen = new Set<number>()
  for (let xid = 0; xid < 4000; xid++) {
    const value = ofCall(callMessage(xid, [100003, 3, 12], authSys(0, 0)))
    seen.add(value)
    for (let bit = 0; bit < 53; bit++) ones[bit]! += Math.floor(value / 2 ** bit) % 2
  }
  t.equal(seen.size, 4000)
  for (const [bit, count] of ones.entries()) t.ok(count > 1700 && count < 2300, `bit ${bit}: ${count} of 4,000`)
  t.end()
})

t.test('what lies beside the message does not count', (t) => {
  const message = callMessage(7, [100003, 3, 12], authSys(0, 0), Buffer.from('name'))
  const inside = Buffer.concat([Buffer.alloc(5, 1), message, Buffer.alloc(9, 2)]).subarray(5, 5 + message.length)
  t.equal(ofCall(inside), ofCall(message))
  t.end()
})
