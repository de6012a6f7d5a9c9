import { linkSync, lstatSync, readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { ALICE, onDisk } from '../../../helpers/overlay.ts'
import { type Dav, until, withDav } from '../dav-fixture.ts'

const onUpper = (dav: Dav, path: string) => readFileSync(join(dav.upper, path), 'latin1')

t.test('PUT makes a file (201), replaces one (204), and tells its validators', async (t) => {
  await withDav(t, [{ 'd/old': 'lower' }], async (dav) => {
    const made = await dav.ask('PUT', '/overlay/d/new', { body: 'content' })
    t.equal(made.status, 201)
    t.match(made.headers, { etag: /^"/, 'last-modified': / GMT$/ })
    t.equal(onUpper(dav, 'd/new'), 'content')
    t.equal(lstatSync(join(dav.upper, 'd/new')).mode & 0o7777, 0o644)
    const replaced = await dav.ask('PUT', '/overlay/d/old', { body: 'upper' })
    t.equal(replaced.status, 204)
    t.equal(onUpper(dav, 'd/old'), 'upper')
    t.equal((await dav.ask('GET', '/overlay/d/old')).body, 'upper')
    t.equal((await dav.ask('PUT', '/overlay/d/empty')).status, 201)
    t.equal(onUpper(dav, 'd/empty'), '')
  })
})

t.test('a replaced file keeps its mode and dead properties', async (t) => {
  await withDav(t, [{ script: { content: 'old', mode: 0o755 } }], async (dav) => {
    const set = `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">v</x></D:prop></D:set></D:propertyupdate>`
    await dav.ask('PROPPATCH', '/overlay/script', { body: set })
    t.equal((await dav.ask('PUT', '/overlay/script', { body: 'new' })).status, 204)
    t.equal(lstatSync(join(dav.upper, 'script')).mode & 0o7777, 0o755)
    t.match((await dav.ask('PROPFIND', '/overlay/script', { headers: { depth: '0' } })).body, />v<\/x>/)
  })
})

t.test('a body without a length is streamed; a large one arrives whole', async (t) => {
  await withDav(t, [{ 'd/': '' }], async (dav) => {
    async function* pieces() {
      for (let i = 0; i < 300; i++) yield Buffer.alloc(10_007, i)
    }
    t.equal((await dav.ask('PUT', '/overlay/d/chunked', { body: pieces() })).status, 201)
    const expected = Buffer.concat(Array.from({ length: 300 }, (_, i) => Buffer.alloc(10_007, i)))
    t.ok(readFileSync(join(dav.upper, 'd/chunked')).equals(expected))
    t.equal((await dav.ask('PUT', '/overlay/d/sized', { body: expected })).status, 201)
    t.ok(readFileSync(join(dav.upper, 'd/sized')).equals(expected))
    t.equal(dav.handle.counters.bytesIn, 2 * expected.length)
  })
})

t.test('an upload cut short leaves the old content and nothing else', async (t) => {
  await withDav(t, [{ 'd/old': 'lower' }], async (dav) => {
    for (const [i, path] of ['/overlay/d/old', '/overlay/d/new'].entries()) {
      const socket = connect(dav.port, '127.0.0.1')
      socket.write(`PUT ${path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n${'x'.repeat(300_000)}`)
      await until(() => dav.held.staged === 1)
      socket.destroy()
      await until(() => dav.handle.counters.abortedUploads === i + 1)
    }
    const socket = connect(dav.port, '127.0.0.1')
    socket.write('PUT /overlay/d/new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n')
    await until(() => dav.held.staged === 1)
    socket.destroy()
    await until(() => dav.handle.counters.abortedUploads === 3)
    t.same(onDisk(dav.upper), [])
    t.equal((await dav.ask('GET', '/overlay/d/old')).body, 'lower')
    t.equal((await dav.ask('GET', '/overlay/d/new')).status, 404)
  })
})

t.test('an upload that stalls is dropped after a while', async (t) => {
  await withDav(
    t,
    [{ 'd/': '' }],
    async (dav) => {
      const text = await dav.raw('PUT /overlay/d/a HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nsome')
      t.equal(text, '')
      await until(() => dav.handle.counters.abortedUploads === 1)
      t.same(onDisk(dav.upper), [])
    },
    { limits: { idleMs: 200 } },
  )
})

t.test('while an upload runs others see the old content, afterwards the new', async (t) => {
  await withDav(t, [{ file: 'old' }], async (dav) => {
    let release = (): void => undefined
    const gate = new Promise<void>((resolve) => {
      release = resolve
    })
    async function* body() {
      yield Buffer.alloc(2_000_000, 'n')
      await gate
      yield Buffer.from('end')
    }
    const { Client } = await import('undici')
    const second = new Client(`http://127.0.0.1:${dav.port}`)
    const put = dav.ask('PUT', '/overlay/file', { body: body() })
    await until(() => dav.held.staged === 1)
    const seen = await second.request({ method: 'GET', path: '/overlay/file' })
    t.equal(await seen.body.text(), 'old')
    release()
    t.equal((await put).status, 204)
    const after = await second.request({ method: 'HEAD', path: '/overlay/file' })
    t.equal(after.headers['content-length'], '2000003')
    await after.body.dump()
    await second.close()
  })
})

t.test('places that take no file: 409 without a parent, 405 for a collection', async (t) => {
  await withDav(t, [{ 'd/file': '' }], async (dav) => {
    const status = async (path: string) => (await dav.ask('PUT', path, { body: 'x' })).status
    t.equal(await status('/overlay/none/file'), 409)
    t.equal(await status('/overlay/d/file/below'), 409)
    t.equal(await status('/overlay/d'), 405)
    t.equal(await status('/overlay/d/'), 405)
    t.equal(await status('/overlay/'), 405)
    t.equal(await status('/overlay/new/'), 409)
    t.equal(await status('/'), 405)
    t.equal(await status(`/overlay/${'n'.repeat(256)}`), 414)
    t.equal(
      (await dav.ask('PUT', '/overlay/x', { body: 'x', headers: { 'content-range': 'bytes 0-5/1' } })).status,
      400,
    )
    t.equal((await dav.ask('PUT', '/overlay/x', { body: 'x', headers: { 'content-encoding': 'gzip' } })).status, 415)
    t.same(onDisk(dav.upper), [])
  })
})

t.test('conditions are held against what is there', async (t) => {
  await withDav(t, [{ a: 'one' }], async (dav) => {
    const put = async (headers: Record<string, string>, path = '/overlay/a') =>
      (await dav.ask('PUT', path, { body: 'two', headers })).status
    const { etag } = (await dav.ask('GET', '/overlay/a')).headers as { etag: string }
    t.equal(await put({ 'if-none-match': '*' }), 412)
    t.equal(await put({ 'if-match': '"x"' }), 412)
    t.equal(await put({ 'if-match': '*' }, '/overlay/new'), 412)
    t.equal(await put({ if: '(["x"])' }), 412)
    t.equal(await put({ 'if-unmodified-since': 'Sat, 01 Jan 2000 00:00:00 GMT' }), 412)
    t.same(onDisk(dav.upper), [])
    t.equal(await put({ 'if-match': etag }), 204)
    t.equal(await put({ 'if-match': etag }), 412, 'it has changed')
    t.equal(await put({ 'if-none-match': '*' }, '/overlay/new'), 201)
    t.equal(onUpper(dav, 'new'), 'two')
  })
})

t.test('of two uploads that both expect the old content one wins', async (t) => {
  await withDav(t, [{ a: 'one' }], async (dav) => {
    const { etag } = (await dav.ask('GET', '/overlay/a')).headers as { etag: string }
    const { request } = await import('undici')
    const answers = await Promise.all(
      ['x', 'y', 'z'].map(async (body) => {
        const url = `http://127.0.0.1:${dav.port}/overlay/a`
        const answer = await request(url, { method: 'PUT', body: body.repeat(100_000), headers: { 'if-match': etag } })
        await answer.body.dump()
        return answer.statusCode
      }),
    )
    t.same(answers.sort(), [204, 412, 412])
  })
})

t.test('Expect: 100-continue is answered when the body is wanted, and not before', async (t) => {
  await withDav(t, [{ a: 'one' }], async (dav) => {
    const head = (path: string, more = '') =>
      `PUT ${path} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 3\r\n${more}\r\n`
    const refused = await dav.raw(head('/overlay/a', 'If-None-Match: *\r\n'))
    t.match(refused, /^HTTP\/1\.1 412 /)
    t.match(refused, /Connection: close/i)
    const socket = connect(dav.port, '127.0.0.1')
    let text = ''
    socket.on('data', (piece) => {
      text += piece.toString()
      if (text === 'HTTP/1.1 100 Continue\r\n\r\n') socket.write('two')
    })
    socket.write(head('/overlay/a'))
    await until(() => / 204 /.test(text))
    socket.destroy()
    t.equal(onUpper(dav, 'a'), 'two')
  })
})

t.test('a refused upload gets its answer although the client has not finished', async (t) => {
  await withDav(t, [{ 'd/': '' }], async (dav) => {
    const answer = await dav.ask('PUT', '/overlay/none/x', { body: Buffer.alloc(2_000_000) })
    t.equal(answer.status, 409)
    t.equal((await dav.ask('GET', '/overlay/d/')).status, 200)
  })
})

t.test(
  'a refused upload gets its answer on a connection that closes after it, as those of many proxies do',
  async (t) => {
    await withDav(t, [{ 'd/': '' }], async (dav) => {
      for (const [version, fields] of [
        ['1.0', ''],
        ['1.1', 'Connection: close\r\n'],
        ['1.1', 'Connection: close\r\nExpect: 100-continue\r\n'],
      ]) {
        const length = 600_000
        const socket = connect({ port: dav.port, host: '127.0.0.1', allowHalfOpen: true })
        let broken: Error | undefined
        let answer = ''
        socket.on('error', (error) => {
          broken = error
        })
        socket.on('data', (piece) => {
          answer += piece.toString('latin1')
        })
        socket.write(`PUT /overlay/none/x HTTP/${version}\r\nHost: x\r\n${fields}Content-Length: ${length}\r\n\r\n`)
        socket.write(Buffer.alloc(length / 2))
        await until(() => socket.readableEnded || broken !== undefined)
        socket.end(Buffer.alloc(length / 2))
        await until(() => socket.closed)
        t.match(answer, /^HTTP\/1\.1 409 [\s\S]*Connection: close[\s\S]*\n$/, `${version} ${fields}`)
        t.equal(broken, undefined, 'nothing that the client sends after the answer resets the connection')
      }
    })
  },
)

t.test('a refused upload that does not end is cut off', async (t) => {
  await withDav(t, [{ 'd/': '' }], async (dav) => {
    for (const fields of ['', 'Connection: close\r\n']) {
      const socket = connect({ port: dav.port, host: '127.0.0.1', allowHalfOpen: true })
      let sent = 0
      const send = () => {
        while (socket.writable && socket.write(Buffer.alloc(65_536))) sent += 65_536
      }
      socket.on('drain', send).on('error', () => undefined)
      socket.resume()
      socket.write(`PUT /overlay/none/x HTTP/1.1\r\nHost: x\r\n${fields}Content-Length: ${2 ** 40}\r\n\r\n`)
      send()
      await until(() => socket.closed)
      t.ok(sent < 32 * 1024 * 1024, `${sent} bytes`)
    }
  })
})

t.test('X-OC-Mtime sets the time', async (t) => {
  await withDav(t, [{ 'd/': '' }], async (dav) => {
    const answer = await dav.ask('PUT', '/overlay/d/a', { body: 'x', headers: { 'x-oc-mtime': '1500000000.5' } })
    t.equal(answer.headers['x-oc-mtime'], 'accepted')
    t.equal(answer.headers['last-modified'], 'Fri, 14 Jul 2017 02:40:00 GMT')
    t.equal(lstatSync(join(dav.upper, 'd/a'), { bigint: true }).mtimeNs, 1_500_000_000_500_000_000n)
    t.match(await dav.ask('PUT', '/overlay/d/b', { body: 'x', headers: { 'x-oc-mtime': 'soon' } }), { status: 400 })
  })
})

t.test('PUT through a symlink writes what it leads to', async (t) => {
  await withDav(t, [{ 'd/file': 'old', link: '-> d/file', hole: '-> d/new' }], async (dav) => {
    t.equal((await dav.ask('PUT', '/overlay/link', { body: 'new' })).status, 204)
    t.equal(onUpper(dav, 'd/file'), 'new')
    t.equal((await dav.ask('PUT', '/overlay/hole', { body: 'made' })).status, 201)
    t.equal(onUpper(dav, 'd/new'), 'made')
    t.same(onDisk(dav.upper), ['d/'])
  })
})

t.test('who may not write gets 403; so does everyone on a read-only overlay', async (t) => {
  const tree = { 'd/file': '', 'd/': { mode: 0o755 } }
  await withDav(
    t,
    [tree],
    async (dav) => {
      t.match(await dav.ask('PUT', '/overlay/d/file', { body: 'x' }), { status: 403 })
      t.match(await dav.ask('PUT', '/overlay/d/new', { body: 'x' }), { status: 403 })
      t.same(onDisk(dav.upper), [])
    },
    { cred: ALICE },
  )
  await withDav(
    t,
    [tree],
    async (dav) => {
      t.match(await dav.ask('PUT', '/overlay/d/file', { body: 'x' }), { status: 403 })
      t.match(await dav.ask('MKCOL', '/overlay/d/new'), { status: 403 })
      t.match(await dav.ask('DELETE', '/overlay/d/file'), { status: 403 })
      t.match(await dav.ask('LOCK', '/overlay/d/file', { body: '<x/>' }), { status: 400 })
      t.match((await dav.ask('OPTIONS', '/overlay/d/file')).headers, {
        dav: '1, 3',
        allow: 'OPTIONS, GET, HEAD, PROPFIND',
      })
    },
    { readOnly: true },
  )
})

t.test('Last-Modified sets the time of an upload; X-OC-Mtime counts before it and is answered', async (t) => {
  await withDav(t, [{}], async (dav) => {
    const date = 'Sun, 09 Sep 2001 01:46:40 GMT'
    const plain = await dav.ask('PUT', '/overlay/a', { body: 'x', headers: { 'last-modified': date } })
    t.same([plain.headers['last-modified'], plain.headers['x-oc-mtime']], [date, undefined])
    t.equal(lstatSync(join(dav.upper, 'a')).mtimeMs, 1e12)
    const both = await dav.ask('PUT', '/overlay/a', {
      body: 'x',
      headers: { 'last-modified': date, 'x-oc-mtime': '1100000000.5' },
    })
    t.equal(both.headers['x-oc-mtime'], 'accepted')
    t.equal(lstatSync(join(dav.upper, 'a')).mtimeMs, 1_100_000_000_500)
    t.equal((await dav.ask('PUT', '/overlay/b', { body: 'x', headers: { 'last-modified': 'soon' } })).status, 201)
  })
})

t.test('a body that comes in drops is cut off, an upload as well as XML, and nothing is left of it', async (t) => {
  await withDav(
    t,
    [{ f: 'old' }],
    async (dav) => {
      const drip = (head: string) =>
        new Promise<number>((resolve) => {
          let drops = 0
          const socket = connect(dav.port, '127.0.0.1', () => socket.write(head))
          const timer = setInterval(() => socket.write('x') && drops++, 20)
          socket.on('error', () => undefined)
          socket.on('close', () => {
            clearInterval(timer)
            resolve(drops)
          })
        })
      const head = (method: string) => `${method} /overlay/f HTTP/1.1\r\nHost: x\r\nContent-Length: 50000\r\n\r\n`
      for (const method of ['PUT', 'PROPPATCH']) t.ok((await drip(head(method))) > 3, `${method} had a while to send`)
      await until(() => dav.handle.counters.slowUploads === 2)
      t.same(onDisk(dav.upper), [])
      const steady = await dav.ask('PUT', '/overlay/f', {
        body: (async function* () {
          for (let i = 0; i < 10; i++) {
            await new Promise((resolve) => setTimeout(resolve, 50))
            yield Buffer.alloc(2000, 'y')
          }
        })(),
      })
      t.equal(steady.status, 204, 'a slow but steady one is taken')
    },
    { limits: { idleMs: 1000, paceBytes: 1000 } },
  )
})

t.test('an upload whose client has gone before it is looked at ends, and keeps nothing', async (t) => {
  await withDav(t, [{}], async (dav) => {
    await Promise.all(
      Array.from({ length: 40 }, (_, i) => {
        const { promise, resolve } = Promise.withResolvers<void>()
        const head = `PUT /overlay/f${i} HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc`
        const socket = connect(dav.port, '127.0.0.1', () => socket.end(head))
        socket.on('error', () => undefined)
        socket.on('close', () => resolve())
        socket.resume()
        return promise
      }),
    )
    await dav.handle.close()
    t.same(dav.held, { open: 0, staged: 0 })
  })
})

t.test('PUT at one of several names of a file reaches all of them, with an entity tag of its own', async (t) => {
  const prepare = ([lower]: readonly string[]) => linkSync(join(String(lower), 'a'), join(String(lower), 'b'))
  await withDav(
    t,
    [{ a: 'lower' }],
    async (dav) => {
      const before = String((await dav.ask('GET', '/overlay/b')).headers.etag)
      const answer = await dav.ask('PUT', '/overlay/a', { body: 'upper', headers: { 'if-match': before } })
      t.equal(answer.status, 204)
      const after = await dav.ask('GET', '/overlay/b')
      t.same([after.body, after.headers.etag], ['upper', answer.headers.etag])
      t.not(after.headers.etag, before)
      const again = await dav.ask('PUT', '/overlay/b', { body: 'uPPer' })
      t.not(again.headers.etag, answer.headers.etag)
      t.equal((await dav.ask('GET', '/overlay/a')).body, 'uPPer')
    },
    { prepare },
  )
})
