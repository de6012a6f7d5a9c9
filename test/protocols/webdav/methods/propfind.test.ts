import { chmodSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ALICE } from '../../../helpers/overlay.ts'
import { type Dav, element, hrefs, lockInfo, withDav } from '../dav-fixture.ts'

const DEPTH0 = { depth: '0' }
const prop = (...names: string[]) =>
  `<?xml version="1.0"?><D:propfind xmlns:D="DAV:" xmlns:A="http://apache.org/dav/props/" xmlns:M="urn:schemas-microsoft-com:"><D:prop>${names.map((name) => `<${name}/>`).join('')}</D:prop></D:propfind>`

/** The response element about `href`. */
function response(body: string, href: string): string {
  return /^.*?<\/D:response>/s.exec(body.slice(body.indexOf(`<D:href>${href}<`)))?.[0] ?? ''
}

async function find(dav: Dav, path: string, body: string, depth = '0'): Promise<string> {
  const answer = await dav.ask('PROPFIND', path, { headers: { depth }, body })
  if (answer.status !== 207) throw new Error(`status ${answer.status}`)
  return answer.body
}

t.test('Depth 0 is the resource, Depth 1 its members too, with a slash after collections', async (t) => {
  await withDav(t, [{ 'd/a': '1', 'd/e/x': '2', 'd/#?%&<é': '3' }], async (dav) => {
    const depth0 = await dav.ask('PROPFIND', '/overlay/d', { headers: DEPTH0 })
    t.equal(depth0.status, 207)
    t.equal(depth0.headers['content-type'], 'text/xml; charset="utf-8"')
    t.same(hrefs(depth0.body), ['/overlay/d/'])
    const depth1 = await dav.ask('PROPFIND', '/overlay/d/', { headers: { depth: '1' } })
    t.same(hrefs(depth1.body).sort(), [
      '/overlay/d/',
      '/overlay/d/%23%3F%25%26%3C%C3%A9',
      '/overlay/d/a',
      '/overlay/d/e/',
    ])
    t.ok(Buffer.from(depth1.body, 'latin1').toString().includes('<D:displayname>#?%&amp;&lt;é</D:displayname>'))
    t.same(hrefs((await dav.ask('PROPFIND', '/overlay/d/a', { headers: { depth: '1' } })).body), ['/overlay/d/a'])
  })
})

t.test('Depth infinity, named or implied, is refused with its precondition', async (t) => {
  await withDav(t, [{ a: '1' }], async (dav) => {
    const headerSets: Record<string, string>[] = [{}, { depth: 'infinity' }]
    for (const headers of headerSets) {
      const answer = await dav.ask('PROPFIND', '/overlay/', { headers })
      t.equal(answer.status, 403)
      t.match(answer.body, /<D:error xmlns:D="DAV:"><D:propfind-finite-depth\/><\/D:error>/)
    }
    t.equal((await dav.ask('PROPFIND', '/overlay/none', { headers: DEPTH0 })).status, 404)
  })
})

t.test('live properties tell what is there', async (t) => {
  await withDav(t, [{ 'd/': '', 'run.html': { content: 'hello', mode: 0o755 } }], async (dav) => {
    const file = await find(dav, '/overlay/run.html', '')
    t.equal(element(file, 'D:resourcetype'), '')
    t.equal(element(file, 'D:getcontentlength'), '5')
    t.equal(element(file, 'D:getcontenttype'), 'text/html; charset=utf-8')
    t.equal(element(file, 'D:getlastmodified'), 'Sun, 09 Sep 2001 01:46:40 GMT')
    t.match(element(file, 'D:creationdate'), /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/)
    t.match(element(file, 'D:getetag'), /^"[^"]+"$/)
    t.match(element(file, 'D:supportedlock'), /exclusive.*shared/)
    t.equal(element(file, 'D:lockdiscovery'), '')
    t.notMatch(file, /404/, 'allprop tells of what there is only')
    const dir = await find(dav, '/overlay/d', '')
    t.equal(element(dir, 'D:resourcetype'), '<D:collection/>')
    t.notMatch(dir, /getcontentlength|getetag|404/)
    const root = await find(dav, '/overlay', '')
    t.equal(element(root, 'D:displayname'), 'overlay')
  })
})

t.test('named properties come as found and as missing', async (t) => {
  await withDav(t, [{ 'd/': '', run: { content: 'x', mode: 0o744 }, plain: '' }], async (dav) => {
    const body = prop('D:getcontentlength', 'A:executable', 'D:quota-available-bytes', 'x xmlns="urn:x"')
    const run = await find(dav, '/overlay/run', body)
    const [found, missing] = run.split('HTTP/1.1 200 OK')
    t.match(found, /<D:getcontentlength>1</)
    t.match(found, /<x:executable xmlns:x="http:\/\/apache.org\/dav\/props\/">T</)
    t.match(missing, /<D:quota-available-bytes\/><x:x xmlns:x="urn:x"\/>.*404 Not Found/)
    t.match(await find(dav, '/overlay/plain', body), />F<\/x:executable>/)
    const space = await find(dav, '/overlay/d', prop('D:quota-available-bytes', 'D:quota-used-bytes'))
    t.match(element(space, 'D:quota-available-bytes'), /^\d+$/)
    t.match(element(space, 'D:quota-used-bytes'), /^\d+$/)
    const none = await find(dav, '/overlay/d', prop('D:getetag'))
    t.equal(none.match(/<D:propstat>/g)?.length, 1)
    t.match(none, /404/)
    const twice = await find(dav, '/overlay/run', prop('D:getetag', 'D:getetag'))
    t.equal(twice.match(/<D:getetag>/g)?.length, 1)
    t.match(await find(dav, '/overlay/run', prop('M:Win32LastModifiedTime')), />Sun, 09 Sep 2001 01:46:40 GMT</)
  })
})

t.test('propname gives names alone; include adds to allprop', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    const names = await find(dav, '/overlay/a', '<propfind xmlns="DAV:"><propname/></propfind>')
    t.match(names, /<D:getetag\/>/)
    t.match(names, /executable/)
    t.notMatch(names, /<D:getetag>/)
    const all =
      '<propfind xmlns="DAV:"><allprop/><include><supportedlock/><x xmlns="urn:x"/><quota-used-bytes/></include></propfind>'
    const body = await find(dav, '/overlay/', all)
    t.match(element(body, 'D:quota-used-bytes'), /^\d+$/)
    t.match(body, /<x:x xmlns:x="urn:x"\/>.*404/)
    t.equal(body.match(/<D:supportedlock>/g)?.length, 1)
  })
})

for (const body of [
  'hello',
  '<a/>',
  '<D:propfind xmlns:D="DAV:"/>',
  '<D:propfind xmlns:D="DAV:"><D:prop/><D:allprop/></D:propfind>',
  '<D:propfind xmlns:D="DAV:"><D:prop/><D:prop/></D:propfind>',
  '<D:propfind xmlns:D="DAV:"><D:prop><D:a></D:prop></D:propfind>',
  '<D:propfind xmlns:D="DAV:"><D:prop><x:a/></D:prop></D:propfind>',
  '<!DOCTYPE a [<!ENTITY e "x">]><D:propfind xmlns:D="DAV:"><D:prop>&e;</D:prop></D:propfind>',
]) {
  t.test(`the body ${body.slice(0, 60)} is refused with 400`, async (t) => {
    await withDav(t, [{ a: 'x' }], async (dav) => {
      const answer = await dav.ask('PROPFIND', '/overlay/a', { headers: DEPTH0, body })
      t.equal(answer.status, 400)
      t.notMatch(answer.body, /root:/)
      t.equal(dav.handle.counters.badRequests, 1)
    })
  })
}

t.test('a body that is too large is refused, announced or not', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    const big = Buffer.alloc(65 * 1024, ' ')
    t.equal((await dav.ask('PROPFIND', '/overlay/a', { headers: DEPTH0, body: big })).status, 413)
    async function* pieces() {
      for (let i = 0; i < 65; i++) yield big.subarray(0, 1024)
    }
    t.equal((await dav.ask('PROPFIND', '/overlay/a', { headers: DEPTH0, body: pieces() })).status, 413)
  })
})

t.test('a thousand members come each once, and the same again from what was remembered', async (t) => {
  await withDav(
    t,
    [{ 'd/': '' }],
    async (dav) => {
      const body = prop('D:getcontentlength', 'D:resourcetype', 'D:getetag', 'D:getlastmodified')
      const first = await find(dav, '/overlay/d', body, '1')
      t.equal(new Set(hrefs(first)).size, 1001)
      t.equal(await find(dav, '/overlay/d', body, '1'), first)
      await dav.ask('PUT', '/overlay/d/f7', { body: 'changed' })
      const second = await find(dav, '/overlay/d', body, '1')
      t.match(response(first, '/overlay/d/f7'), /<D:getcontentlength>1</)
      t.match(response(second, '/overlay/d/f7'), /<D:getcontentlength>7</)
      t.equal(response(second, '/overlay/d/f8'), response(first, '/overlay/d/f8'))
    },
    {
      prepare: ([lower]) => {
        for (let i = 0; i < 1000; i++) writeFileSync(join(String(lower), 'd', `f${i}`), 'x')
      },
    },
  )
})

t.test('two names of one file have each their own displayname and type', async (t) => {
  await withDav(t, [{ 'd/a.html': 'x', 'd/b.png': '= d/a.html' }], async (dav) => {
    const body = await find(dav, '/overlay/d', prop('D:displayname', 'D:getcontenttype'), '1')
    for (let i = 0; i < 2; i++) {
      t.match(body, /<D:displayname>a.html<\/D:displayname><D:getcontenttype>text\/html/)
      t.match(body, /<D:displayname>b.png<\/D:displayname><D:getcontenttype>image\/png/)
    }
  })
})

t.test('symlinks show as what they lead to; dangling ones and circles are left out', async (t) => {
  await withDav(
    t,
    [{ 'd/file': 'hello', 'sub/x': '' }],
    async (dav) => {
      const body = await find(dav, '/overlay/d', prop('D:getcontentlength', 'D:resourcetype', 'D:displayname'), '1')
      t.same(hrefs(body).sort(), ['/overlay/d/', '/overlay/d/dir/', '/overlay/d/file', '/overlay/d/link'])
      t.match(response(body, '/overlay/d/link'), /<D:getcontentlength>5<.*<D:displayname>link</)
      t.match(await find(dav, '/overlay/d/dir', '', '1'), /<D:href>\/overlay\/d\/dir\/x</)
    },
    {
      prepare: ([lower]) => {
        for (const [target, name] of [
          ['file', 'link'],
          ['../sub', 'dir'],
          ['none', 'dangling'],
          ['circle', 'circle'],
          ['/etc/passwd', 'out'],
        ] as const) {
          symlinkSync(target, join(String(lower), 'd', name))
        }
      },
    },
  )
})

t.test('locks show in lockdiscovery, on members too', async (t) => {
  await withDav(t, [{ 'd/a': '', 'd/b': '' }], async (dav) => {
    await dav.ask('LOCK', '/overlay/d/a', { body: lockInfo(), headers: { timeout: 'Second-60' } })
    dav.clock.nowMs += 10_000
    const body = await find(dav, '/overlay/d', prop('D:lockdiscovery'), '1')
    const a = body.slice(body.indexOf('<D:href>/overlay/d/a<'))
    t.match(
      element(a, 'D:lockdiscovery'),
      /<D:timeout>Second-50<.*opaquelocktoken:.*<D:lockroot><D:href>\/overlay\/d\/a</,
    )
    t.match(element(a, 'D:owner'), /<D:href xmlns:D="DAV:">http:\/\/example.org\/~me</)
    t.equal(body.match(/<D:activelock>/g)?.length, 1)
    dav.clock.nowMs += 60_000
    t.notMatch(await find(dav, '/overlay/d', prop('D:lockdiscovery'), '1'), /activelock/)
  })
})

t.test('what the caller may not list or search is 403', async (t) => {
  await withDav(
    t,
    [{ 'closed/a': '', 'list/a': '' }],
    async (dav) => {
      t.equal((await dav.ask('PROPFIND', '/overlay/closed', { headers: { depth: '1' } })).status, 403)
      t.equal((await dav.ask('PROPFIND', '/overlay/closed', { headers: DEPTH0 })).status, 207)
      t.equal((await dav.ask('PROPFIND', '/overlay/closed/a', { headers: DEPTH0 })).status, 403)
      const names = await dav.ask('PROPFIND', '/overlay/list', { headers: { depth: '1' } })
      t.match(names.body, /<D:href>\/overlay\/list\/a<\/D:href><D:status>HTTP\/1.1 403 Forbidden</)
    },
    {
      cred: ALICE,
      prepare: ([lower]) => {
        chmodSync(join(String(lower), 'closed'), 0o700)
        chmodSync(join(String(lower), 'list'), 0o744)
      },
    },
  )
})

t.test('the root lists the views', async (t) => {
  await withDav(
    t,
    [{ a: '' }],
    async (dav) => {
      t.same(hrefs(await find(dav, '/', '', '1')), ['/', '/overlay/', '/B%C3%BCcher/'])
      t.same(hrefs(await find(dav, '/', '', '0')), ['/'])
      t.same(hrefs(await find(dav, '/B%C3%BCcher/', '', '1')), ['/B%C3%BCcher/', '/B%C3%BCcher/a'])
    },
    { moreViews: ['Bücher'] },
  )
})
