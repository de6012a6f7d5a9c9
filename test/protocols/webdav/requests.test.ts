import t from 'tap'
import { ERRNO } from '../../../overlay-core/index.ts'
import { STATUS_OF_ERRNO, statusOf } from '../../../protocols/webdav/http/status.ts'
import { onDisk } from '../../helpers/overlay.ts'
import { until, withDav } from './dav-fixture.ts'

t.test('every error of the core has a status of its own class', async (t) => {
  for (const code of Object.keys(ERRNO) as (keyof typeof ERRNO)[]) {
    t.ok(STATUS_OF_ERRNO[code] >= 400 && STATUS_OF_ERRNO[code] < 600, code)
  }
  t.equal(statusOf(new TypeError('a fault of ours')), 500)
})

t.test('OPTIONS tells the classes and the methods, on *, on / and inside, without moving the client on', async (t) => {
  await withDav(t, [{ 'd/file': '' }], async ({ ask, raw }) => {
    const allow = async (path: string) => {
      const { status, headers } = await ask('OPTIONS', path)
      t.match(headers, { dav: '1, 2, 3', 'ms-author-via': 'DAV', 'content-length': '0' })
      return [status, headers.allow]
    }
    t.same(await allow('/'), [200, 'OPTIONS, GET, HEAD, PROPFIND'])
    const dir = 'OPTIONS, GET, HEAD, PROPFIND, PROPPATCH, DELETE, COPY, MOVE, LOCK, UNLOCK'.split(', ')
    const holds = async (path: string, methods: readonly string[], lacks: RegExp) => {
      const [, allowed] = await allow(path)
      const given = String(allowed).split(', ')
      t.same(
        methods.filter((method) => !given.includes(method)),
        [],
        path,
      )
      t.notMatch(allowed, lacks, path)
    }
    await holds('/overlay', dir, /PUT|MKCOL/)
    await holds('/overlay/d', dir, /PUT|MKCOL/)
    await holds('/overlay/d/file', [...dir, 'PUT'], /MKCOL/)
    await holds('/overlay/d/none', ['OPTIONS', 'PUT', 'MKCOL', 'LOCK'], /GET|PROPFIND|DELETE/)
    t.match(
      await raw('OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1.1 200 OK\r\nDAV: 1, 2, 3\r\n/,
    )
  })
})

t.test('methods nobody knows are 405 with those that work', async (t) => {
  await withDav(t, [{ a: '' }], async ({ ask, raw }) => {
    for (const method of ['MKCALENDAR', 'BIND', 'ACL', 'LINK', 'TRACE', 'QUERY']) {
      const answer = await ask(method, '/overlay/a')
      t.equal(answer.status, 405, method)
      t.match(answer.headers.allow, /PROPFIND/)
    }
    for (const method of ['PUT', 'DELETE', 'MKCOL', 'PROPPATCH', 'COPY', 'LOCK']) {
      t.equal((await ask(method, '/')).status, 405, method)
    }
    t.match(await raw('CONSTRUCTOR /overlay/a HTTP/1.1\r\nHost: x\r\n\r\n'), /^HTTP\/1.1 400 /)
  })
})

t.test('a collection named without its slash is never redirected', async (t) => {
  await withDav(t, [{ 'd/a': '' }], async ({ ask }) => {
    for (const method of ['GET', 'HEAD', 'OPTIONS', 'PROPFIND', 'COPY', 'MOVE', 'DELETE']) {
      const { status } = await ask(method, '/overlay/d', {
        headers: { depth: method === 'PROPFIND' ? '1' : 'infinity', destination: '/overlay/e' },
      })
      t.ok(status < 300 || status >= 400, `${method} ${status}`)
    }
  })
})

/** Requests each of which ended the process of another server, or could. The server must answer each and go on. */
const hostile: Record<string, [request: string, status: RegExp]> = {
  'a broken escape': ['GET /%zz HTTP/1.1\r\n', /^4\d\d/],
  'a broken escape in a view': ['GET /overlay/%zz HTTP/1.1\r\n', /^400/],
  'a broken UTF-8 escape': ['GET /overlay/%c3%28 HTTP/1.1\r\n', /^404/],
  'a NUL': ['GET /overlay/a%00.txt HTTP/1.1\r\n', /^400/],
  dots: ['GET /overlay/../../etc/passwd HTTP/1.1\r\n', /^40[04]/],
  'encoded dots': ['GET /overlay/%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\n', /^400/],
  'dots encoded twice': ['GET /overlay/%252e%252e/etc/passwd HTTP/1.1\r\n', /^400/],
  'a slash encoded twice': ['GET /overlay/..%252f..%252fetc%252fpasswd HTTP/1.1\r\n', /^404/],
  'an encoded slash': ['GET /overlay/..%2f..%2fetc%2fpasswd HTTP/1.1\r\n', /^400/],
  'a backslash': ['GET /overlay/..\\..\\etc\\passwd HTTP/1.1\r\n', /^40[04]/],
  'overlong dots': ['GET /overlay/%c0%ae%c0%ae/ HTTP/1.1\r\n', /^404/],
  'a raw fragment': ['DELETE /overlay/a#b HTTP/1.1\r\n', /^400/],
  'an untagged If without a list': ['PUT /overlay/a HTTP/1.1\r\nIf: <urn:x>\r\nContent-Length: 0\r\n', /^400/],
  'garbage in If': ['PUT /overlay/a HTTP/1.1\r\nIf: ((((\r\nContent-Length: 0\r\n', /^400/],
  'a huge Content-Length': ['PUT /overlay/a HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n', /^4\d\d/],
  'a large Content-Length for XML': [
    'PROPFIND /overlay/ HTTP/1.1\r\nDepth: 0\r\nContent-Length: 9007199254740991\r\n',
    /^413/,
  ],
  'a negative Content-Length': ['PUT /overlay/a HTTP/1.1\r\nContent-Length: -1\r\n', /^400/],
  'two lengths': ['PUT /overlay/a HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n', /^400/],
  'a bad Destination': ['COPY /overlay/a HTTP/1.1\r\nDestination: http://[::\r\n', /^(400|502)/],
  'an empty Destination': ['MOVE /overlay/a HTTP/1.1\r\nDestination:\r\n', /^400/],
  'a transfer coding that is not known': ['PUT /overlay/new HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n', /^501/],
  'an expectation that is not known': [
    'PUT /overlay/new HTTP/1.1\r\nExpect: miracles\r\nContent-Length: 0\r\n',
    /^417/,
  ],
  'a bad Depth': ['PROPFIND /overlay/ HTTP/1.1\r\nDepth: 7\r\n', /^400/],
  'Depth infinity': ['PROPFIND /overlay/ HTTP/1.1\r\nDepth: infinity\r\n', /^403/],
  'a malformed Content-Type': ['PUT /overlay/new HTTP/1.1\r\nContent-Type: ;;;\r\nContent-Length: 0\r\n', /^201/],
  'a range out of all bounds': ['GET /overlay/a HTTP/1.1\r\nRange: bytes=99999999999-\r\n', /^416/],
  'a body where none belongs': ['GET /overlay/a HTTP/1.1\r\nContent-Length: 5\r\n', /^200/],
  'a name of 300 bytes': [`GET /overlay/${'n'.repeat(300)} HTTP/1.1\r\n`, /^414/],
  'four thousand levels': [`GET /overlay/${'a/'.repeat(4000)} HTTP/1.1\r\n`, /^404/],
  'prototype names': ['GET /overlay/__proto__/constructor HTTP/1.1\r\n', /^404/],
  'a prototype as view': ['GET /constructor/ HTTP/1.1\r\n', /^404/],
}
for (const [what, [request, status]] of Object.entries(hostile)) {
  t.test(`${what} costs one answer`, async (t) => {
    await withDav(t, [{ a: 'content' }], async ({ ask, raw, upper }) => {
      const text = await raw(`${request}Host: x\r\nConnection: close\r\n\r\n`, /\r\n\r\n/)
      t.match(text.slice('HTTP/1.1 '.length), status)
      t.notMatch(text, /root:/)
      t.match(await ask('GET', '/overlay/a'), { status: 200, body: 'content' })
      t.same(onDisk(upper), what === 'a malformed Content-Type' ? ['new'] : [])
    })
  })
}

t.test('a deep nest of XML is refused quickly', async (t) => {
  await withDav(t, [{ a: '' }], async ({ ask }) => {
    const started = performance.now()
    const answer = await ask('PROPPATCH', '/overlay/a', { body: '<a>'.repeat(300_000) })
    t.equal(answer.status, 400)
    t.ok(performance.now() - started < 10_000)
  })
})

t.test('answers to pipelined requests come in order', async (t) => {
  await withDav(t, [{ a: 'A', b: 'B' }], async ({ raw }) => {
    const get = (path: string, more = '') => `GET ${path} HTTP/1.1\r\nHost: x\r\n${more}\r\n`
    const text = await raw(get('/overlay/a') + get('/overlay/none') + get('/overlay/b', 'Connection: close\r\n'))
    t.same(text.match(/HTTP\/1.1 \d+/g), ['HTTP/1.1 200', 'HTTP/1.1 404', 'HTTP/1.1 200'])
    t.match(text, /A.*no such resource.*B$/s)
  })
})

t.test('a target in absolute form is that of its path', async (t) => {
  await withDav(t, [{ a: 'A' }], async ({ raw, port, ask }) => {
    const get = (target: string) => raw(`GET ${target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`)
    t.match(await get(`http://127.0.0.1:${port}/overlay/a`), /^HTTP\/1.1 200 .*A$/s)
    t.match(await get(`http://127.0.0.1:${port}/overlay/%ff`), /^HTTP\/1.1 404 /)
    t.match(await get(`http://127.0.0.1:${port}`), /^HTTP\/1.1 200 /)
    t.match(await get('ftp://x/overlay/a'), /^HTTP\/1.1 400 /)
    t.match(await ask('HEAD', '/overlay/'), { status: 200 })
  })
})

t.test('requests are counted by outcome; after close they are turned away', async (t) => {
  await withDav(t, [{ a: 'A' }], async ({ ask, handle }) => {
    await ask('GET', '/overlay/a')
    await ask('GET', '/overlay/none')
    await ask('GET', '/overlay/a', { headers: { 'if-none-match': '*' } })
    await until(() => handle.counters.requests === 3)
    t.match(handle.counters, {
      requests: 3,
      status2xx: 1,
      status3xx: 1,
      status4xx: 1,
      status5xx: 0,
      bytesOut: 1,
      faults: 0,
    })
    await handle.close()
    const late = await ask('GET', '/overlay/a')
    t.equal(late.status, 503)
  })
})

t.test('a target, or the URL of a field, that starts with several slashes means the same as with one', async (t) => {
  await withDav(t, [{ a: 'A', 'd/b': 'B' }], async ({ ask, raw, port }) => {
    for (const path of ['//overlay/a', '///overlay/a', '//overlay//a'])
      t.equal((await ask('GET', path)).body, 'A', path)
    t.match((await ask('PROPFIND', '//overlay/d/', { headers: { depth: '1' } })).body, '<D:href>/overlay/d/b</D:href>')
    t.equal((await ask('OPTIONS', '//')).status, 200)
    t.equal((await ask('PUT', '//overlay/new', { body: 'N' })).status, 201)
    t.equal((await ask('GET', '//overlay/%ff')).status, 404, 'a name that is not UTF-8')
    t.match(
      await raw(`GET http://127.0.0.1//overlay/a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`),
      /^HTTP\/1.1 200 /,
    )
    const waiting = await raw(
      'PUT //overlay/a HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nIf-None-Match: *\r\nContent-Length: 3\r\n\r\n',
      / 412 /,
    )
    t.match(waiting, /^HTTP\/1.1 412 /, 'the body is not asked for')
    for (const destination of [
      '//overlay/copy',
      '///overlay/copy',
      `//127.0.0.1:${port}/overlay/copy`,
      `http://127.0.0.1:${port}//overlay/copy`,
    ]) {
      t.equal((await ask('COPY', '/overlay/a', { headers: { destination } })).status < 300, true, destination)
    }
    t.equal((await ask('GET', '/overlay/copy')).body, 'A')
  })
})

t.test('a second Host field is refused', async (t) => {
  await withDav(t, [{ a: 'A' }], async ({ raw }) => {
    for (const path of ['/overlay/a', '/', '/-/page.css', '/none', '//overlay/a']) {
      for (const second of ['host: y', 'Host: x', 'HOST:']) {
        const answer = await raw(`GET ${path} HTTP/1.1\r\nHost: x\r\n${second}\r\n\r\n`)
        t.match(answer, /^HTTP\/1.1 400 /, `${path} ${second}`)
        t.equal(answer.match(/HTTP\/1.1/g)?.length, 1)
      }
    }
    t.match(await raw('GET /overlay/a HTTP/1.1\r\nHost: x\r\nHosts: y\r\nConnection: close\r\n\r\n'), /^HTTP\/1.1 200 /)
  })
})
