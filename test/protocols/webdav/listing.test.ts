import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { escapeHtml } from '../../../protocols/webdav/listing.ts'
import { withDav } from './dav-fixture.ts'

t.test('a browser gets a page whose links work with and without the final slash', async (t) => {
  await withDav(t, [{ 'd/sub/x': '', 'd/b.txt': 'hello', 'd/a.txt': '' }], async ({ ask }) => {
    for (const path of ['/overlay/d', '/overlay/d/']) {
      const { status, headers, body } = await ask('GET', path)
      t.equal(status, 200)
      t.equal(headers['content-type'], 'text/html; charset=utf-8')
      t.same(
        [...body.matchAll(/href="([^"]+)"/g)].map((found) => found[1]),
        ['/overlay/', '/overlay/d/sub/', '/overlay/d/a.txt', '/overlay/d/b.txt'],
        'directories first, then by name',
      )
    }
    const head = await ask('HEAD', '/overlay/d/')
    t.same([head.status, head.body], [200, ''])
    t.match((await ask('GET', '/')).body, /href="\/overlay\/"/)
  })
})

t.test('names cannot break out of the page', async (t) => {
  const evil = `<img src=x onerror=alert(1)>"'&`
  await withDav(t, [{ [`d/${evil}`]: '', [`${evil}/x`]: '' }], async ({ ask }) => {
    const { body, headers } = await ask('GET', '/overlay/d/')
    t.notMatch(body, /<img/)
    t.ok(body.includes('&#60;img src=x onerror=alert(1)&#62;&#34;&#39;&#38;'))
    t.match(headers['content-security-policy'], /default-src 'none'/)
    t.notMatch((await ask('GET', `/overlay/${encodeURIComponent(evil).replaceAll("'", '%27')}/`)).body, /<img/)
    t.equal(escapeHtml('a'), 'a')
  })
})

t.test('names that are not UTF-8 are shown with a replacement and linked by their bytes', async (t) => {
  await withDav(t, [{ 'd/': '' }], async ({ ask }) => {
    t.match(await ask('PUT', '/overlay/d/%ff%e9', { body: 'x' }), { status: 201 })
    const { body } = await ask('GET', '/overlay/d/')
    t.ok(body.includes('href="/overlay/d/%FF%E9"'))
    t.ok(Buffer.from(body, 'latin1').toString('utf8').includes('\ufffd'))
    t.match(await ask('GET', '/overlay/d/%FF%E9'), { status: 200, body: 'x' })
  })
})

t.test('a very large directory is streamed', async (t) => {
  await withDav(
    t,
    [{ 'd/': '' }],
    async ({ ask }) => {
      const { status, headers, body } = await ask('GET', '/overlay/d/')
      t.equal(status, 200)
      t.equal(headers['content-length'], undefined)
      t.equal(body.match(/<tr>/g)?.length, 1_500 + 2)
      t.match(body, /<\/html>\n$/)
    },
    {
      limits: { sortedMembers: 1000 },
      prepare: ([lower]) => {
        for (let i = 0; i < 1_500; i++) writeFileSync(join(String(lower), 'd', `f${i}`), '')
      },
    },
  )
})
