import { chmodSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { freePorts, start } from './launch.ts'

t.setTimeout(300_000)
const asRoot = { skip: process.geteuid?.() !== 0 && 'only root can act for others' }

/** Starts a server of a tree in which one file is for root only. */
async function serve(t: Test, flags: readonly string[]) {
  const dir = t.testdir()
  const at = (path: string) => join(dir, path)
  for (const name of ['lower', 'upper', 'work', 'lower/open', 'upper/open']) mkdirSync(at(name))
  chmodSync(at('upper/open'), 0o1777)
  writeFileSync(at('lower/secret'), 'secret', { mode: 0o600 })
  writeFileSync(at('lower/readable'), 'readable')
  const o = `lowerdir=${at('lower')},upperdir=${at('upper')},workdir=${at('work')}`
  const server = await start(t, ['-o', o, ...freePorts(at('state')), ...flags])
  const status = async (method: 'GET' | 'PUT', path: string) => {
    const answer = await request(new URL(path, server.webdavUrl), { method, ...(method === 'PUT' && { body: 'new' }) })
    await answer.body.dump()
    return answer.statusCode
  }
  return { at, server, status }
}

t.test('run by root without --as, WebDAV acts as nobody, and says so', asRoot, async (t) => {
  const { at, server, status } = await serve(t, [])
  t.match(server.stdout(), /WebDAV acts as nobody \(65534:65534\) because there is no login\. Use --as UID:GID/)
  t.equal(await status('GET', 'readable'), 200)
  t.equal(await status('GET', 'secret'), 403)
  t.equal(await status('PUT', 'readable'), 403)
  t.equal(await status('PUT', 'new'), 403)
  t.equal(await status('PUT', 'open/new'), 201)
  t.match(lstatSync(at('upper/open/new')), { uid: 65_534, gid: 65_534 })
  t.equal(await server.stop(), 0)
})

t.test('--as chooses another user, also root', asRoot, async (t) => {
  for (const word of ['root', '0', '0:0']) {
    const { at, server, status } = await serve(t, ['--as', word])
    t.match(server.stdout(), /WebDAV acts as root \(--as\): everyone/)
    t.equal(await status('GET', 'secret'), 200, word)
    t.equal(await status('PUT', 'new'), 201)
    t.equal(lstatSync(at('upper/new')).uid, 0)
    t.equal(await server.stop(), 0)
  }
  const { at, server, status } = await serve(t, ['--as', '1234:5678'])
  t.match(server.stdout(), 'WebDAV acts as 1234:5678 (--as).')
  t.equal(await status('GET', 'secret'), 403)
  t.equal(await status('PUT', 'open/new'), 201)
  t.match(lstatSync(at('upper/open/new')), { uid: 1234, gid: 5678 })
  t.equal(await server.stop(), 0)
})
