import { once } from 'node:events'
import { lstatSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { join } from 'node:path'
import t from 'tap'
import { listenInPublic } from '../../../server/admin/http/unix-listener.ts'

t.test('a socket at a path of one’s choice replaces only a socket', async (t) => {
  const dir = t.testdir({ file: 'kept' })
  const http = createServer()
  await t.rejects(listenInPublic(http, join(dir, 'file'), undefined), {
    message: /is no socket/,
  })
  t.equal(readFileSync(join(dir, 'file'), 'utf8'), 'kept')
  await t.rejects(listenInPublic(http, join(dir, 'none/s'), undefined), { message: /ENOENT; make the directory/ })
  await t.rejects(listenInPublic(http, join(dir, 's'), 'no-such-group'), { message: /groupadd/ })
  t.same(readdirSync(dir), ['file'], 'nothing is left')

  const first = createServer()
  await listenInPublic(first, join(dir, 's'), undefined)
  t.equal(lstatSync(join(dir, 's')).mode & 0o777, 0o600)
  const second = createServer()
  const remove = await listenInPublic(second, join(dir, 's'), undefined)
  t.same(readdirSync(dir), ['file', 's'], 'one that was left is replaced')
  for (const server of [first, second]) {
    server.close()
    await once(server, 'close')
  }
  await remove()
  t.same(readdirSync(dir), ['file'])
})
