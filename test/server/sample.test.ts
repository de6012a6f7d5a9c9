import { existsSync, lstatSync, readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { type Dispatcher, request } from 'undici'
import { freePorts, start } from './launch.ts'

const lower = fileURLToPath(new URL('../../deploy/sample/lower', import.meta.url))

async function send(
  method: string,
  url: URL | string,
  options: { body?: string; headers?: Record<string, string> } = {},
) {
  // undici knows HTTP's own methods by type; WebDAV's go over the wire as well.
  const answer = await request(url, { method: method as Dispatcher.HttpMethod, ...options })
  await answer.body.dump()
  return answer.statusCode
}

t.setTimeout(300_000)

t.test('what the sample invites to do works, and lands in its upper only', async (t) => {
  const state = join(t.testdir(), 'state')
  const server = await start(t, ['--sample', ...freePorts(state)])
  const at = (path: string) => new URL(path, server.webdavUrl)
  const before = readFileSync(join(lower, 'README.md'), 'utf8')
  t.match(server.stdout(), `ls -lR ${state}/sample/upper`)
  t.match(server.stdout(), `curl ${server.webdavUrl}README.md`)
  t.equal(await (await request(at('README.md'))).body.text(), before)
  t.equal(await send('PUT', at('hello.txt'), { body: 'hello\n' }), 201)
  t.equal(await send('PUT', at('README.md'), { body: 'mine now\n' }), 204)
  t.equal(await send('DELETE', at('docs/draft.txt')), 204)
  t.equal(await send('MOVE', at('docs/'), { headers: { destination: at('handbook/').href } }), 201)
  t.equal(
    await (await request(at('handbook/guide.md'))).body.text(),
    readFileSync(join(lower, 'docs/guide.md'), 'utf8'),
  )
  t.equal(await send('GET', at('docs/guide.md')), 404)
  t.equal(await server.stop(), 0)
  t.same(readdirSync(join(state, 'sample/upper')).sort(), ['README.md', 'docs', 'handbook', 'hello.txt'])
  t.ok(lstatSync(join(state, 'sample/upper/docs')).isCharacterDevice(), 'the old name is a whiteout')
  t.equal(readFileSync(join(lower, 'README.md'), 'utf8'), before)
  t.ok(existsSync(join(lower, 'docs/draft.txt')))
  const again = await start(t, ['--sample', ...freePorts(state)])
  t.equal(
    await (await request(new URL('README.md', again.webdavUrl))).body.text(),
    'mine now\n',
    'the next run goes on with it',
  )
  t.equal(await again.stop(), 0)
})

t.test('the sample takes a free port when a usual one is busy, unless it was asked for', async (t) => {
  const busy = createServer()
  const mine = await new Promise<boolean>((resolve) => {
    busy.once('error', () => resolve(false))
    busy.listen(8080, '127.0.0.1', () => resolve(true))
  })
  t.teardown(() => mine && busy.close())
  const server = await start(t, ['--sample', '--state-dir', join(t.testdir(), 'state'), '--nfs', 'off'])
  t.not(new URL(server.webdavUrl!).port, '8080')
  t.equal(await server.stop(), 0)
})
