import t from 'tap'
import { Credential, DerivedRights } from '../../../../protocols/nfs/rpc/credential.ts'
import { GroupCache } from '../../../../protocols/nfs/rpc/group-cache.ts'
import { recordingLog } from '../recording-log.ts'

t.test(
  'groups are looked up once for all who ask, kept for five minutes, and kept on when the look-up fails',
  async (t) => {
    const { log, complaints } = recordingLog()
    let nowMs = 0
    let lookUps = 0
    let answer: () => Promise<number[] | undefined> = async () => [7, 8]
    const cache = new GroupCache(
      () => {
        lookUps++
        return answer()
      },
      () => nowMs,
      log,
      (address) => address === '10.0.0.1',
    )
    const alice = () => new Credential(1, 1000, 100, [1, 2, 3])
    t.equal(cache.apply(alice(), '10.9.9.9'), undefined, 'nobody is looked up for an address without an export')
    t.equal(lookUps, 0)
    const first = alice()
    const second = alice()
    first.derived = new (class extends DerivedRights {})()
    await Promise.all([cache.apply(first, '10.0.0.1'), cache.apply(second, '10.0.0.1')])
    t.equal(lookUps, 1)
    t.match([first, second], [{ groups: [7, 8], derived: undefined }, { groups: [7, 8] }])
    t.equal(cache.apply(first, '10.0.0.1'), undefined, 'at once from then on')
    t.equal(cache.apply(alice(), '10.0.0.1'), undefined, 'for every connection')
    t.equal(cache.apply(new Credential(0, 0, 0, []), '10.0.0.1'), undefined, 'AUTH_NONE has no groups')
    nowMs = 5 * 60_000 + 1
    answer = async () => {
      throw new Error('LDAP is away')
    }
    await cache.apply(first, '10.0.0.1')
    t.same(first.groups, [7, 8])
    t.equal(lookUps, 2)
    t.equal(complaints.length, 1)
    nowMs += 10_001
    answer = async () => undefined
    await cache.apply(first, '10.0.0.1')
    t.same(first.groups, [], 'a user who is gone')
    t.equal(lookUps, 3)
  },
)
