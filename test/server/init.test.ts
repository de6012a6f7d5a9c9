import { chmodSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { request } from 'undici'
import { readEnvironment } from '../../config/index.ts'
import { loadConfig } from '../../server/config-file.ts'
import { run, start } from './launch.ts'

t.setTimeout(300_000)

/** Users with accounts. A server that root does not run needs none. */
const USERS = ['daemon', 'bin']

async function get(url: string, path: string): Promise<string> {
  const answer = await request(new URL(path, url))
  const text = await answer.body.text()
  return answer.statusCode === 200 ? text : String(answer.statusCode)
}

t.test('what init writes is served by the command that it prints, and is never overwritten', async (t) => {
  const dir = t.testdir({ mine: { material: { 'own.txt': 'own' } } })
  const first = await run(['init', 'mine'], { cwd: dir })
  t.equal(first.stderr, '')
  t.equal(first.status, 0)
  t.same(readdirSync(join(dir, 'mine/material')), ['own.txt'], 'material that is there is left alone')
  chmodSync(join(dir, 'mine/material'), 0o777)
  const words = /^ +overlayd (.*)$/m.exec(first.stdout)?.[1]?.split(' ') ?? []
  t.same(words, ['serve', '--config', 'mine/overlayd.toml'])
  const server = await start(t, words, { cwd: dir })
  const url = server.webdavUrl as string
  t.match(url, /\/course\/~USER\/$/)
  for (const user of USERS) {
    const own = url.replace('USER', user)
    t.equal(await get(own, 'own.txt'), 'own')
    t.equal(await get(own, 'new.txt'), '404', 'nobody sees the changes of others')
    const put = await request(new URL('new.txt', own), { method: 'PUT', body: user })
    t.equal(put.statusCode, 201)
  }
  t.equal(await server.stop(), 0)
  const text = readFileSync(join(dir, 'mine/overlayd.toml'), 'utf8')
  const again = await run(['init', 'mine'], { cwd: dir })
  t.equal(again.status, 2)
  t.match(again.stderr, /^overlayd: init: mine\/overlayd\.toml exists already; /)
  t.equal(readFileSync(join(dir, 'mine/overlayd.toml'), 'utf8'), text)
})

t.test('the example runs as it is', async (t) => {
  const home = t.testdir()
  const example = fileURLToPath(new URL('../../deploy/overlayd.toml', import.meta.url))
  const environment = { ...readEnvironment(), variables: { HOME: home } }
  const config = await loadConfig({ name: 'example', path: example, overrides: new Map(), environment })
  t.same(config.problems.list(), [])
  const free = ['--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0', '--state-dir', join(home, 'state')]
  const server = await start(t, ['serve', '--config', example, ...free], { env: { HOME: home } })
  t.match(await get(server.webdavUrl as string, '/original/README.md'), /./)
  t.match(await get(server.webdavUrl as string, '/course/README.md'), /./)
  t.match(await get(server.webdavUrl as string, '/students/~daemon/README.md'), /overlayd/)
  t.equal(await server.stop(), 0)
})
