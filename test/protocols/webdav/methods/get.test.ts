import { symlinkSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { ALICE, put } from '../../../helpers/overlay.ts'
import { until, withDav } from '../dav-fixture.ts'

const BIG = 5 * 1024 * 1024 + 17
const bigContent = () => Buffer.from(Array.from({ length: BIG }, (_, i) => (i * 7 + (i >> 10)) & 0xff))

t.test('GET gives content, type, length and validators; HEAD the same without content', async (t) => {
  await withDav(t, [{ 'd/a.txt': 'hello', 'd/empty': '' }], async ({ ask }) => {
    const got = await ask('GET', '/overlay/d/a.txt')
    t.equal(got.status, 200)
    t.equal(got.body, 'hello')
    t.match(got.headers, {
      'content-type': 'text/plain; charset=utf-8',
      'content-length': '5',
      'accept-ranges': 'bytes',
      'x-content-type-options': 'nosniff',
      'last-modified': 'Sun, 09 Sep 2001 01:46:40 GMT',
      etag: /^"[0-9a-z.-]+"$/,
    })
    const head = await ask('HEAD', '/overlay/d/a.txt')
    t.same([head.status, head.body], [200, ''])
    for (const name of ['etag', 'content-length', 'content-type']) t.equal(head.headers[name], got.headers[name])
    t.match(await ask('GET', '/overlay/d/empty'), { status: 200, body: '', headers: { 'content-length': '0' } })
    t.match(await ask('GET', '/overlay/d/none'), { status: 404 })
    t.match(await ask('GET', '/overlay/d/a.txt/below'), { status: 404 })
    t.match(await ask('GET', '/nowhere/a.txt'), { status: 404 })
  })
})

t.test('the entity tag changes with the content and is that of PROPFIND', async (t) => {
  await withDav(t, [{ a: 'one' }], async ({ ask }) => {
    const first = await ask('GET', '/overlay/a')
    const propfind = await ask('PROPFIND', '/overlay/a', { headers: { depth: '0' } })
    t.ok(propfind.body.includes(`<D:getetag>${first.headers.etag}</D:getetag>`))
    const put = await ask('PUT', '/overlay/a', { body: 'two' })
    const second = await ask('GET', '/overlay/a')
    t.equal(put.headers.etag, second.headers.etag)
    t.not(first.headers.etag, second.headers.etag)
  })
})

t.test('conditions: 304 for what the client has, 412 for what it does not', async (t) => {
  await withDav(t, [{ a: 'content' }], async ({ ask }) => {
    const { etag } = (await ask('GET', '/overlay/a')).headers as { etag: string }
    const not = await ask('GET', '/overlay/a', { headers: { 'if-none-match': `"x", ${etag}` } })
    t.same([not.status, not.body, not.headers.etag], [304, '', etag])
    t.match(await ask('GET', '/overlay/a', { headers: { 'if-match': '"x"' } }), { status: 412 })
    t.match(await ask('GET', '/overlay/a', { headers: { 'if-match': etag } }), { status: 200, body: 'content' })
    const since = { 'if-modified-since': 'Sun, 09 Sep 2001 01:46:40 GMT' }
    t.match(await ask('GET', '/overlay/a', { headers: since }), { status: 304 })
    t.match(await ask('GET', '/overlay/a', { headers: { if: '(["x"])' } }), { status: 412 })
    t.match(await ask('GET', '/overlay/a', { headers: { if: `([${etag}])` } }), { status: 200 })
  })
})

t.test('single ranges: 206 with exactly those bytes, 416 beyond the end', async (t) => {
  await withDav(t, [{ a: '0123456789' }], async ({ ask }) => {
    const range = async (field: string, more: Record<string, string> = {}) => {
      const { status, headers, body } = await ask('GET', '/overlay/a', { headers: { range: field, ...more } })
      return [status, body, headers['content-range']]
    }
    t.same(await range('bytes=2-4'), [206, '234', 'bytes 2-4/10'])
    t.same(await range('bytes=7-'), [206, '789', 'bytes 7-9/10'])
    t.same(await range('bytes=-2'), [206, '89', 'bytes 8-9/10'])
    t.same((await range('bytes=10-'))[0], 416)
    t.same((await range('bytes=10-'))[2], 'bytes */10')
    t.same(await range('bytes=4-2'), [200, '0123456789', undefined])
    t.same(await range('lines=1-2'), [200, '0123456789', undefined])
    const { etag } = (await ask('GET', '/overlay/a')).headers as { etag: string }
    t.same(await range('bytes=0-0', { 'if-range': etag }), [206, '0', 'bytes 0-0/10'])
    t.same(await range('bytes=0-0', { 'if-range': '"old"' }), [200, '0123456789', undefined])
    const head = await ask('HEAD', '/overlay/a', { headers: { range: 'bytes=0-0' } })
    t.same([head.status, head.headers['content-length']], [200, '10'], 'HEAD knows no ranges')
  })
})

t.test('short ranges that a slow client has not read yet keep their bytes while others are served', async (t) => {
  const content = bigContent()
  const piece = 65_536
  const pieces = Math.floor(BIG / piece)
  const request = (i: number) =>
    `GET /overlay/d/big HTTP/1.1\r\nHost: x\r\nRange: bytes=${i * piece}-${(i + 1) * piece - 1}\r\n\r\n`
  await withDav(
    t,
    [{ 'd/': '' }],
    async ({ port, client }) => {
      const order = Array.from({ length: 3 * pieces }, (_, i) => i % pieces)
      const socket = connect(port, '127.0.0.1').pause()
      for (let i = 0; i < order.length; i += 10) {
        socket.write(
          order
            .slice(i, i + 10)
            .map(request)
            .join(''),
        )
        const headers = { range: `bytes=${i}-${i + piece - 1}` }
        const { body } = await client.request({ method: 'GET', path: '/overlay/d/big', headers })
        t.ok(content.subarray(i, i + piece).equals(Buffer.from(await body.arrayBuffer())))
      }
      const bodies = order.map((i) => content.subarray(i * piece, (i + 1) * piece))
      t.ok(await hasBodies(socket, bodies), 'the slow client gets what it asked for')
      socket.destroy()
    },
    { prepare: ([lower]) => writeFileSync(join(lower as string, 'd/big'), content) },
  )
})

/** Whether a connection delivers responses with exactly these bodies, one after the other. */
async function hasBodies(socket: Socket, bodies: readonly Buffer[]): Promise<boolean> {
  let came = Buffer.alloc(0)
  let next = 0
  for await (const bytes of socket.resume() as AsyncIterable<Buffer>) {
    came = Buffer.concat([came, bytes])
    for (let end = came.indexOf('\r\n\r\n'); end >= 0; end = came.indexOf('\r\n\r\n')) {
      const body = bodies[next] as Buffer
      if (came.length < end + 4 + body.length) break
      if (!came.subarray(end + 4, end + 4 + body.length).equals(body)) return false
      came = came.subarray(end + 4 + body.length)
      if (++next === bodies.length) return came.length === 0
    }
  }
  return false
}

t.test('several ranges come as multipart/byteranges with the right length', async (t) => {
  await withDav(t, [{ 'a.txt': '0123456789' }], async ({ ask }) => {
    const { status, headers, body } = await ask('GET', '/overlay/a.txt', { headers: { range: 'bytes=0-1,5-5,-2,50-' } })
    t.equal(status, 206)
    const boundary = /^multipart\/byteranges; boundary=(.+)$/.exec(String(headers['content-type']))?.[1]
    const part = (range: string, text: string) =>
      `\r\n--${boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ${range}/10\r\n\r\n${text}`
    t.equal(body, `${part('0-1', '01')}${part('5-5', '5')}${part('8-9', '89')}\r\n--${boundary}--\r\n`)
    const many = Array.from({ length: 17 }, (_, i) => `${i % 10}-${i % 10}`).join(',')
    t.match(await ask('GET', '/overlay/a.txt', { headers: { range: `bytes=${many}` } }), { status: 200 })
  })
})

t.test('a large file is streamed whole and in ranges', async (t) => {
  const content = bigContent()
  await withDav(
    t,
    [{ 'd/': '' }],
    async ({ ask }) => {
      const whole = await ask('GET', '/overlay/d/big')
      t.ok(Buffer.from(whole.body, 'latin1').equals(content))
      t.equal(whole.headers['content-length'], String(BIG))
      const range = await ask('GET', '/overlay/d/big', { headers: { range: 'bytes=1048570-4000000' } })
      t.equal(range.status, 206)
      t.ok(Buffer.from(range.body, 'latin1').equals(content.subarray(1_048_570, 4_000_001)))
    },
    { prepare: ([lower]) => writeFileSync(join(String(lower), 'd/big'), content) },
  )
})

t.test('a download that the client leaves closes the file', async (t) => {
  await withDav(
    t,
    [{ 'd/': '' }],
    async ({ raw, held, handle }) => {
      for (let i = 0; i < 5; i++) await raw('GET /overlay/d/big HTTP/1.1\r\nHost: x\r\n\r\n', /\r\n\r\n/)
      await until(() => handle.counters.abortedDownloads === 5)
      t.same(held, { open: 0, staged: 0 })
    },
    { prepare: ([lower]) => writeFileSync(join(String(lower), 'd/big'), Buffer.alloc(64 * 1024 * 1024)) },
  )
})

t.test('a client that stalls in a download is dropped after a while', async (t) => {
  await withDav(
    t,
    [{ 'd/': '' }],
    async ({ port, handle, held }) => {
      const { connect } = await import('node:net')
      const socket = connect(port, '127.0.0.1', () => socket.write('GET /overlay/d/big HTTP/1.1\r\nHost: x\r\n\r\n'))
      socket.on('error', () => undefined)
      await until(() => handle.counters.abortedDownloads === 1)
      socket.destroy()
      t.equal(held.open, 0)
    },
    {
      limits: { idleMs: 200 },
      prepare: ([lower]) => writeFileSync(join(String(lower), 'd/big'), Buffer.alloc(64 * 1024 * 1024)),
    },
  )
})

t.test('a file that is written to over another door is sent as it is then', async (t) => {
  await withDav(t, [{ a: 'short' }], async ({ ask, overlay }) => {
    const before = await ask('GET', '/overlay/a')
    t.equal(before.body, 'short')
    await put(overlay, 'a', 'longer')
    const after = await ask('GET', '/overlay/a', { headers: { 'if-none-match': String(before.headers.etag) } })
    t.same([after.status, after.body, after.headers['content-length']], [200, 'longer', '6'])
  })
})

t.test('who may not read gets 403, for HEAD too', async (t) => {
  await withDav(
    t,
    [{ secret: { content: 'x', mode: 0o600 }, 'closed/': { mode: 0o700 }, 'closed/a': 'x' }],
    async ({ ask }) => {
      t.match(await ask('GET', '/overlay/secret'), { status: 403 })
      t.match(await ask('HEAD', '/overlay/secret'), { status: 403 })
      t.match(await ask('GET', '/overlay/closed/'), { status: 403 })
      t.match(await ask('HEAD', '/overlay/closed/'), { status: 403 })
      t.match(await ask('GET', '/overlay/closed/a'), { status: 403 })
    },
    { cred: ALICE },
  )
})

t.test('symlinks lead inside the view only, and nowhere in circles', async (t) => {
  await withDav(
    t,
    [{ 'd/file': 'found', 'sub/deep/x': 'deep' }],
    async ({ ask }) => {
      const get = async (path: string) => {
        const { status, body } = await ask('GET', path)
        return status === 200 ? body : status
      }
      t.equal(await get('/overlay/rel'), 'found')
      t.equal(await get('/overlay/abs'), 'found', 'an absolute target starts at the root of the view')
      t.equal(await get('/overlay/up'), 'found', '.. stops at the root of the view')
      t.equal(await get('/overlay/dir/x'), 'deep')
      t.equal(await get('/overlay/sub/back'), 'found')
      t.equal(await get('/overlay/passwd'), 404, 'not the /etc/passwd of the machine')
      t.equal(await get('/overlay/dangling'), 404)
      t.equal(await get('/overlay/loop'), 404)
      t.equal(await get('/overlay/loop/x'), 404)
      t.equal(await get('/overlay/chain40'), 'found')
      t.equal(await get('/overlay/chain41'), 404)
    },
    {
      prepare: ([lower]) => {
        const link = (target: string, at: string) => symlinkSync(target, join(String(lower), at))
        link('d/file', 'rel')
        link('/d/file', 'abs')
        link('../../../../d/./file', 'up')
        link('sub//deep/', 'dir')
        link('../d/file', 'sub/back')
        link('/etc/passwd', 'passwd')
        link('nothing', 'dangling')
        link('loop', 'loop')
        link('d/file', 'chain1')
        for (let i = 2; i <= 41; i++) link(`chain${i - 1}`, `chain${i}`)
      },
    },
  )
})

t.test('special files are hidden', async (t) => {
  await withDav(t, [{ a: '' }], async ({ ask, overlay }) => {
    await overlay.mknod(
      { uid: 0, gid: 0, groups: [] },
      overlay.root,
      'pipe',
      0o010000,
      { major: 0, minor: 0 },
      { mode: 0o644 },
    )
    t.match(await ask('GET', '/overlay/pipe'), { status: 404 })
    t.match(await ask('PROPFIND', '/overlay/pipe', { headers: { depth: '0' } }), { status: 404 })
    t.notMatch((await ask('PROPFIND', '/overlay/', { headers: { depth: '1' } })).body, /pipe/)
    t.notMatch((await ask('GET', '/overlay/')).body, /pipe/)
    t.match(await ask('PUT', '/overlay/pipe', { body: 'x' }), { status: 409 })
  })
})

t.test(
  'Last-Modified is never later than now, whatever time a file has; the property tells the true one',
  async (t) => {
    await withDav(t, [{ a: 'x' }], async (dav) => {
      const { sec } = { sec: Math.floor(dav.clock.nowMs / 1000) }
      const later = sec + 86_400
      await dav.ask('PUT', '/overlay/a', { body: 'y', headers: { 'x-oc-mtime': String(later) } })
      const head = await dav.ask('HEAD', '/overlay/a')
      t.equal(head.headers['last-modified'], new Date(sec * 1000).toUTCString())
      dav.clock.nowMs += 2 * 86_400_000
      const now = await dav.ask('GET', '/overlay/a')
      t.equal(now.headers['last-modified'], new Date(later * 1000).toUTCString())
      t.equal(now.headers.etag, head.headers.etag)
      const { body } = await dav.ask('PROPFIND', '/overlay/a', { headers: { depth: '0' } })
      t.match(body, `<D:getlastmodified>${new Date(later * 1000).toUTCString()}<`)
    })
  },
)

t.test('a file that a browser would run is sandboxed, in whole and in parts', async (t) => {
  const names = ['a.html', 'a.HTM', 'a.svg', 'a.xhtml', 'a.xml']
  const page = '<script>fetch("/overlay/", { method: "DELETE" })</script>'
  await withDav(
    t,
    [{ ...Object.fromEntries(names.map((name) => [name, page])), 'a.txt': page, a: page }],
    async (dav) => {
      for (const name of names) {
        for (const [method, headers] of [
          ['GET', {}],
          ['HEAD', {}],
          ['GET', { range: 'bytes=0-5' }],
        ] as const) {
          const answer = await dav.ask(method, `/overlay/${name}`, { headers })
          t.equal(answer.headers['content-security-policy'], 'sandbox', `${method} ${name}`)
          t.equal(answer.headers['x-content-type-options'], 'nosniff')
        }
      }
      for (const name of ['a.txt', 'a']) {
        t.equal((await dav.ask('GET', `/overlay/${name}`)).headers['content-security-policy'], undefined)
      }
    },
  )
})
