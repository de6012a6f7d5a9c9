import { lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { onDisk } from '../../helpers/overlay.ts'
import { type Dav, element, lockInfo, tokenOf, withDav } from './dav-fixture.ts'

const STAMP = 1_000_000_000
const mtime = (dav: Dav, path: string) => Math.floor(lstatSync(join(dav.upper, path)).mtimeMs / 1000)
const set = (xml: string) =>
  `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>${xml}</D:prop></D:set></D:propertyupdate>`

t.test('X-OC-Mtime counts for all that makes a resource, and the answer says so', async (t) => {
  await withDav(t, [{ a: 'A', 'e/f': 'F', b: 'B' }], async (dav) => {
    const headers = { 'x-oc-mtime': String(STAMP) }
    const to = (path: string) => ({ headers: { ...headers, destination: `/overlay/${path}` } })
    const partial = { 'content-type': 'application/x-sabredav-partialupdate', 'x-update-range': 'append' }
    const requests: [string, string, object, string][] = [
      ['COPY', 'a', to('copy'), 'copy'],
      ['COPY', 'a', to('b'), 'b'],
      ['COPY', 'e', to('copied'), 'copied'],
      ['MOVE', 'copy', to('moved'), 'moved'],
      ['MOVE', 'copied', to('moved-dir'), 'moved-dir'],
      ['MKCOL', 'made', { headers }, 'made'],
      ['PUT', 'put', { headers, body: 'x' }, 'put'],
      ['PATCH', 'a', { headers: { ...headers, ...partial }, body: 'more' }, 'a'],
    ]
    for (const [method, path, ask, made] of requests) {
      const answer = await dav.ask(method, `/overlay/${path}`, ask)
      t.ok(answer.status < 300, `${method} ${path}: ${answer.status}`)
      t.equal(answer.headers['x-oc-mtime'], 'accepted', `${method} ${path}`)
      t.equal(mtime(dav, made), STAMP, `${method} ${made}`)
    }
    const wrong = { headers: { 'x-oc-mtime': 'yesterday', destination: '/overlay/none' } }
    for (const method of ['COPY', 'MOVE']) t.equal((await dav.ask(method, '/overlay/a', wrong)).status, 400)
    t.equal((await dav.ask('GET', '/overlay/none')).status, 404, 'nothing was done')
  })
})

t.test('PROPPATCH of lastmodified and getlastmodified sets the time, or refuses', async (t) => {
  await withDav(t, [{ a: 'A', 'd/': '' }], async (dav) => {
    const date = new Date(STAMP * 1000)
    const values = [String(STAMP), `${STAMP}.5`, date.toUTCString(), date.toISOString(), '2001-09-09T03:46:40+02:00']
    for (const path of ['a', 'd']) {
      for (const name of ['D:lastmodified', 'D:getlastmodified']) {
        for (const value of values) {
          await dav.ask('PROPPATCH', `/overlay/${path}`, { body: set('<D:getlastmodified>5</D:getlastmodified>') })
          t.equal(mtime(dav, path), 5)
          const { status, body } = await dav.ask('PROPPATCH', `/overlay/${path}`, {
            body: set(`<${name}>${value}</${name}>`),
          })
          t.equal(status, 207)
          t.match(body, new RegExp(`<${name}/></D:prop><D:status>HTTP/1.1 200 OK`), `${name} ${value}`)
          t.equal(mtime(dav, path), STAMP, `${path} ${name} ${value}`)
        }
        for (const value of ['', 'tomorrow', '1e9', '0x10', '99999999999999999', '2001-13-09T03:46:40Z']) {
          const { body } = await dav.ask('PROPPATCH', `/overlay/${path}`, { body: set(`<${name}>${value}</${name}>`) })
          t.match(body, /409 Conflict/, value)
          t.equal(mtime(dav, path), STAMP)
        }
      }
    }
    const { body } = await dav.ask('PROPFIND', '/overlay/a', { headers: { depth: '0' } })
    t.equal(element(body, 'D:getlastmodified'), date.toUTCString())
    const removal =
      '<D:propertyupdate xmlns:D="DAV:"><D:remove><D:prop><D:lastmodified/></D:prop></D:remove></D:propertyupdate>'
    t.match((await dav.ask('PROPPATCH', '/overlay/a', { body: removal })).body, /403 Forbidden/)
  })
})

t.test('a token without its angle brackets ends a lock, and opens it for a PUT of Office', async (t) => {
  await withDav(t, [{ a: 'A' }], async (dav) => {
    for (const form of [(token: string) => token, (token: string) => `<${token}>`, (token: string) => `  ${token} `]) {
      const token = tokenOf(await dav.ask('LOCK', '/overlay/a', { body: lockInfo() }))
      t.equal((await dav.ask('PUT', '/overlay/a', { body: 'x', headers: { 'lock-token': form(token) } })).status, 204)
      for (const bad of [`"${token}"`, `(${token})`, `<${token}`, `${token}, ${token}`, '', '<>']) {
        t.equal((await dav.ask('UNLOCK', '/overlay/a', { headers: { 'lock-token': bad } })).status, 400, bad)
      }
      t.equal((await dav.ask('UNLOCK', '/overlay/a', { headers: { 'lock-token': `${token}x` } })).status, 409)
      t.equal((await dav.ask('UNLOCK', '/overlay/a', { headers: { 'lock-token': form(token) } })).status, 204)
    }
  })
})

t.test(
  'PROPFIND without Depth, or with infinity: a file answers, what is missing is 404, a collection is refused',
  async (t) => {
    await withDav(t, [{ 'd/a': 'A' }], async ({ ask }) => {
      for (const headers of [{}, { depth: 'infinity' }] as Record<string, string>[]) {
        const file = await ask('PROPFIND', '/overlay/d/a', { headers })
        t.equal(file.status, 207)
        t.match(file.body, '<D:href>/overlay/d/a</D:href>')
        t.equal((await ask('PROPFIND', '/overlay/none', { headers })).status, 404)
        t.equal((await ask('PROPFIND', '/overlay/none/below', { headers })).status, 404)
        t.equal((await ask('PROPFIND', '/nowhere', { headers })).status, 404)
        for (const path of ['/overlay/d/', '/overlay/d', '/overlay/', '/']) {
          const answer = await ask('PROPFIND', path, { headers })
          t.equal(answer.status, 403, path)
          t.match(answer.body, '<D:propfind-finite-depth/>')
        }
      }
    })
  },
)

t.test('all XML is sent as Apache sends it', async (t) => {
  await withDav(t, [{ a: 'A' }], async ({ ask }) => {
    const type = async (...args: Parameters<typeof ask>) => (await ask(...args)).headers['content-type']
    const wanted = 'text/xml; charset="utf-8"'
    t.equal(await type('PROPFIND', '/overlay/', { headers: { depth: '1' } }), wanted)
    t.equal(await type('PROPFIND', '/overlay/'), wanted, 'an error')
    t.equal(await type('PROPPATCH', '/overlay/a', { body: set('<x xmlns="urn:x"/>') }), wanted)
    t.equal(await type('LOCK', '/overlay/a', { body: lockInfo() }), wanted)
  })
})

t.test('a body that is not what X-Expected-Entity-Length tells is refused, and nothing changes', async (t) => {
  await withDav(t, [{ a: 'A' }], async (dav) => {
    async function* chunks(text: string) {
      if (text !== '') yield Buffer.from(text)
    }
    const put = async (name: string, text: string, length: string) =>
      (
        await dav.ask('PUT', `/overlay/${name}`, {
          body: chunks(text),
          headers: { 'x-expected-entity-length': length },
        })
      ).status
    t.equal(await put('a', '', '5'), 400)
    t.equal((await dav.ask('PUT', '/overlay/a', { headers: { 'x-expected-entity-length': '5' } })).status, 400)
    t.equal(await put('new', 'four', '5'), 400)
    t.equal(await put('new', 'longer', '5'), 400)
    t.same(onDisk(dav.upper), [])
    t.equal(await put('new', 'fives', '5'), 201)
    t.equal(await put('none', '', '0'), 201)
    t.equal(readFileSync(join(dav.upper, 'new'), 'latin1'), 'fives')
  })
})

t.test(
  'what belongs to an ownCloud upload in chunks is refused, and an empty body in place of a file too',
  async (t) => {
    await withDav(t, [{ a: 'A' }], async (dav) => {
      const put = async (path: string, body: string, headers: Record<string, string>) =>
        (await dav.ask('PUT', path, { body, headers })).status
      t.equal(await put('/overlay/a', '', { 'oc-total-length': '5' }), 400)
      t.equal(await put('/overlay/a-chunking-42-2-0', 'half', { 'oc-chunked': '1', 'oc-total-length': '8' }), 501)
      t.same(onDisk(dav.upper), [])
      t.equal(await put('/overlay/b', 'fives', { 'oc-total-length': '5' }), 201)
    })
  },
)

t.test('HEAD and PROPFIND agree about a time in the future, also when it comes nearer', async (t) => {
  await withDav(t, [{ a: 'A' }], async (dav) => {
    const nowSec = () => Math.floor(dav.clock.nowMs / 1000)
    const future = nowSec() + 100
    await dav.ask('PUT', '/overlay/f', { body: 'x', headers: { 'x-oc-mtime': String(future) } })
    for (const step of [0, 50, 100]) {
      dav.clock.nowMs += step * 1000
      const head = await dav.ask('HEAD', '/overlay/f')
      const expected = new Date(Math.min(future, nowSec()) * 1000).toUTCString()
      t.equal(head.headers['last-modified'], expected)
      for (const depth of ['0', '1']) {
        const { body } = await dav.ask('PROPFIND', depth === '0' ? '/overlay/f' : '/overlay/', { headers: { depth } })
        t.match(body, `<D:getlastmodified>${expected}</D:getlastmodified>`)
      }
    }
    t.equal(mtime(dav, 'f'), future)
  })
})
