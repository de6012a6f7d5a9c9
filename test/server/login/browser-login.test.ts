import { randomBytes } from 'node:crypto'
import t from 'tap'
import { pathOf } from '../../../server/login/browser-login.ts'
import { Sealer, Sessions } from '../../../server/login/index.ts'

t.test('after a login a browser is only sent to paths of this server', async (t) => {
  const back = (to: string) => pathOf(`?to=${encodeURIComponent(to)}`)
  for (const to of ['/', '/course/sub/?a=b', '/~x/%20']) t.equal(back(to), to)
  for (const to of ['//evil', '/\\evil', '/a\\b', 'https://evil', 'evil', '', '/a\r\nx: y', '/a b', '/\t/evil'])
    t.equal(back(to), '/', to)
  t.equal(pathOf(''), '/')
})

t.test('what is sealed can be neither read nor changed', async (t) => {
  const sealer = new Sealer(randomBytes(32), randomBytes)
  const sealed = sealer.seal('secret words')
  t.equal(sealer.open(sealed), 'secret words')
  t.notMatch(Buffer.from(sealed, 'base64url').toString('latin1'), /secret/)
  t.not(sealer.seal('secret words'), sealed)
  const bytes = Buffer.from(sealed, 'base64url')
  for (let at = 0; at < bytes.length; at++) {
    const changed = Buffer.from(bytes)
    changed[at]! ^= 1
    t.equal(sealer.open(changed.toString('base64url')), undefined)
  }
  for (const none of ['', 'x', sealed.slice(0, -4)]) t.equal(sealer.open(none), undefined)
  t.equal(new Sealer(randomBytes(32), randomBytes).open(sealed), undefined, 'of another run')
})

t.test('a session ends by itself, by a logout, and if there are too many', async (t) => {
  let nowMs = 0
  const sessions = new Sessions({ lastsMs: 1000, now: () => nowMs, random: randomBytes })
  const [first, second] = [sessions.begin('alice'), sessions.begin('alice')]
  t.equal(sessions.userOf(first), 'alice')
  sessions.end(first)
  t.equal(sessions.userOf(first), undefined)
  t.equal(sessions.userOf(second), 'alice')
  nowMs = 1000
  t.equal(sessions.userOf(second), undefined)
  const oldest = sessions.begin('bob')
  for (let i = 0; i < 10_000; i++) sessions.begin('eve')
  t.equal(sessions.userOf(oldest), undefined)
})
