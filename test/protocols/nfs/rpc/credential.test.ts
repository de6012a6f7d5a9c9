import t from 'tap'
import { type Credential, CredentialCache, parseAuthSys } from '../../../../protocols/nfs/rpc/credential.ts'
import { authSys, XdrWriter } from '../../../helpers/rpc-client.ts'

function lookup(cache: CredentialCache, body: Buffer): Credential {
  const padded = Buffer.concat([Buffer.alloc(4, 9), body, Buffer.alloc(4, 9)])
  return cache.authSys(padded, new DataView(padded.buffer, padded.byteOffset, padded.length), 4, 4 + body.length)
}

t.test('a credential holds uid, gid and groups', async (t) => {
  t.match(parseAuthSys(authSys(1, 2, [3, 4]).body), { flavor: 1, uid: 1, gid: 2, groups: [3, 4] })
  t.match(parseAuthSys(authSys(0xffff_ffff, 0, [], 'm'.repeat(255)).body), { uid: 0xffff_ffff, groups: [] })
  t.equal(parseAuthSys(authSys(1, 2, Array(16).fill(5)).body).groups.length, 16)
})

t.test('what breaks a limit or is cut is refused', async (t) => {
  const garbage = { name: 'XdrError' }
  t.throws(() => parseAuthSys(authSys(1, 2, Array(17).fill(5)).body), garbage, '17 groups')
  t.throws(() => parseAuthSys(authSys(1, 2, [], 'm'.repeat(256)).body), garbage, 'a long machine name')
  const body = authSys(1, 2, [3]).body
  for (let end = 0; end < body.length; end++) t.throws(() => parseAuthSys(body.subarray(0, end)), garbage)
  t.throws(() => parseAuthSys(Buffer.concat([body, Buffer.alloc(4)])), garbage, 'bytes left over')
  const huge = new XdrWriter().u32(0).string('m').u32(1).u32(2).u32(0xffff_ffff).bytes()
  t.throws(() => parseAuthSys(huge), garbage, 'a huge count')
})

t.test('the same body gives the same object, whatever its stamp', async (t) => {
  const cache = new CredentialCache()
  const first = lookup(cache, authSys(1, 2, [3]).body)
  const stamped = Buffer.from(authSys(1, 2, [3]).body)
  stamped.writeUInt32BE(12345)
  t.equal(lookup(cache, stamped), first)
  t.not(lookup(cache, authSys(1, 2, [4]).body), first)
  t.not(lookup(cache, authSys(1, 2, []).body), first)
  t.equal(lookup(cache, authSys(1, 2, [3]).body), first, 'and is still known')
})

t.test('more users than are remembered are still told apart', async (t) => {
  const cache = new CredentialCache()
  for (let round = 0; round < 3; round++) {
    for (let uid = 0; uid < 50; uid++) t.equal(lookup(cache, authSys(uid, uid).body).uid, uid)
  }
})
