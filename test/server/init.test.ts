import { chmodSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { request } from 'undici'
import { readEnvironment } from '../../config/index.ts'
import { loadConfig } from '../../server/config-file.ts'
import { newHash } from '../../server/login/index.ts'
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

t.test('the example with all that is commented out is right too, and people log in', async (t) => {
  const home = t.testdir({ 'overlayd-example': {} })
  const example = fileURLToPath(new URL('../../deploy/overlayd.toml', import.meta.url))
  const text = readFileSync(example, 'utf8').replace('"sample/lower"', JSON.stringify(join(example, '../sample/lower')))
  const all = text.replace('listen = "127.0.0.1:8080"\n', '').replace(/^#(?=[[a-z])/gm, '')
  const file = join(home, 'o.toml')
  const check = async (content: string) => {
    writeFileSync(file, content)
    return await run(['config', 'check', file], { env: { HOME: home } })
  }
  const sources = (words: string) => all.replace('sources = ["file"]', `sources = [${words}]`)
  for (const content of [
    text,
    all,
    sources('"file", "ldap"'),
    sources('"file", "oidc"'),
    sources('"file", "ldap", "oidc"'),
  ])
    t.match(await check(content), { status: 0, stderr: '', stdout: /is right: it serves course, students, original/ })
  t.match(await check(sources('"file", "ldpa"')), { status: 1 }, 'it is looked at')

  // As its first lines say: the # removed in front of the keys of the login.
  const login = text.replace(/^#\[login\][\s\S]*?(?=^#\[ldap\])/m, (part) => part.replace(/^#(?=[[a-z])/gm, ''))
  t.match(await check(login), { status: 0 })
  writeFileSync(join(home, 'overlayd-example/users'), `anna:${newHash('pw-anna', Buffer.alloc(16, 1))}\n`, {
    mode: 0o600,
  })
  const free = ['--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0', '--state-dir', join(home, 'state')]
  const server = await start(t, ['serve', '--config', file, ...free], { env: { HOME: home } })
  const { origin } = new URL(server.webdavUrl as string)
  const asked = await request(`${origin}/students/README.md`)
  t.equal(asked.statusCode, 401)
  const headers = { authorization: `Basic ${Buffer.from('anna:pw-anna').toString('base64')}` }
  const answer = await request(`${origin}/students/README.md`, { headers })
  t.match(await answer.body.text(), /overlayd/)
  t.equal(await server.stop(), 0)
})
