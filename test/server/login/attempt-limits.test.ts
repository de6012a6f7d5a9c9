import t from 'tap'
import { AttemptLimits } from '../../../server/login/attempt-limits.ts'

function limitsAt(clock: { nowMs: number }): AttemptLimits {
  return new AttemptLimits(() => clock.nowMs)
}

/** How many wrong tries are made before one is refused. */
function wrongTries(limits: AttemptLimits, address: string, account: string, most = 1000): number {
  for (let i = 0; i < most; i++) {
    if (limits.begin(address, account) !== undefined) return i
    limits.end(address, account, 'wrong')
  }
  return most
}

t.test('an address runs out of tries, whatever accounts it tries, and gets new ones with time', async (t) => {
  const clock = { nowMs: 0 }
  const limits = limitsAt(clock)
  let made = 0
  while (limits.begin('192.0.2.1', `user${made}`) === undefined) limits.end('192.0.2.1', `user${made++}`, 'wrong')
  t.equal(made, 20)
  t.equal(limits.begin('192.0.2.1', 'somebody'), 2, 'it should wait two seconds')
  t.equal(limits.begin('192.0.2.2', 'user0'), undefined, 'another address may try')
  clock.nowMs += 60_000
  t.equal(wrongTries(limits, '192.0.2.1', 'late'), 20)
})

t.test('many addresses cannot lock an account: the first try of another one is always made', async (t) => {
  const limits = limitsAt({ nowMs: 0 })
  for (let i = 0; i < 5000; i++) wrongTries(limits, `10.0.${i >> 8}.${i & 255}`, 'alice', 2)
  t.equal(limits.begin('192.0.2.9', 'alice'), undefined)
  limits.end('192.0.2.9', 'alice', 'right')
  for (let i = 0; i < 100; i++) {
    t.equal(limits.begin('192.0.2.9', 'alice'), undefined, 'and a right password costs no budget')
    limits.end('192.0.2.9', 'alice', 'right')
  }
})

t.test('addresses that were wrong about an account share its budget', async (t) => {
  const limits = limitsAt({ nowMs: 0 })
  let made = 0
  for (let i = 0; i < 100; i++) made += wrongTries(limits, `10.1.0.${i}`, 'alice')
  // One first try of each address, and the budget of the account.
  t.equal(made, 120)
})

t.test('a try that nobody could judge costs nothing', async (t) => {
  const limits = limitsAt({ nowMs: 0 })
  for (let i = 0; i < 100; i++) {
    t.equal(limits.begin('192.0.2.1', 'alice'), undefined)
    limits.end('192.0.2.1', 'alice', 'unsaid')
  }
})

t.test('the addresses of an IPv6 network count as one, and a mapped IPv4 address as itself', async (t) => {
  const limits = limitsAt({ nowMs: 0 })
  let made = 0
  for (let i = 0; i < 100; i++) made += wrongTries(limits, `2001:db8:0:1::${i.toString(16)}`, `user${i}`, 1)
  t.equal(made, 20)
  t.equal(limits.begin('2001:db8:0:2::1', 'x'), undefined)
  made = 0
  for (let i = 0; i < 100; i++) made += wrongTries(limits, `::ffff:192.0.2.${i}`, `user${i}`, 1)
  t.equal(made, 100)
})

t.test('concurrent tries cannot exceed the budget', async (t) => {
  const limits = limitsAt({ nowMs: 0 })
  const begun = Array.from({ length: 500 }, (_, i) => limits.begin('192.0.2.1', `user${i}`))
  t.equal(begun.filter((wait) => wait === undefined).length, 20)
})
