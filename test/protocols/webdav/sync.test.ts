import t from 'tap'
import { type Answer, type Dav, element, hrefs, withDav } from './dav-fixture.ts'

function body(token: string, more = ''): string {
  return (
    `<?xml version="1.0"?><D:sync-collection xmlns:D="DAV:"><D:sync-token>${token}</D:sync-token><D:sync-level>1</D:sync-level>` +
    `${more}<D:prop><D:getetag/></D:prop></D:sync-collection>`
  )
}

async function sync(ask: Dav['ask'], token: string, more = ''): Promise<Answer & { token: string }> {
  const answer = await ask('REPORT', '/overlay/d/', { body: body(token, more), headers: { Depth: '0' } })
  return { ...answer, token: element(answer.body, 'D:sync-token') ?? '' }
}

/** The members told of, with a cross for those that are gone. */
function told({ body: xml }: Answer): string[] {
  return xml
    .split('<D:response>')
    .slice(1)
    .map(
      (part) => `${/<D:href>([^<]*)/.exec(part)?.[1]}${part.includes('</D:href><D:status>HTTP/1.1 404') ? ' ✗' : ''}`,
    )
    .sort()
}

t.test('the first report tells all members, the next ones what came, changed and went', async (t) => {
  await withDav(t, [{ 'd/a': '1', 'd/b': '2', 'd/sub/x': '' }], async ({ ask }) => {
    const first = await sync(ask, '')
    t.equal(first.status, 207)
    t.same(told(first), ['/overlay/d/a', '/overlay/d/b', '/overlay/d/sub/'])
    t.match(first.body, /<D:getetag>/)
    const none = await sync(ask, first.token)
    t.same([told(none), none.token], [[], first.token], 'nothing has happened')
    await ask('PUT', '/overlay/d/a', { body: 'new' })
    await ask('DELETE', '/overlay/d/b')
    await ask('DELETE', '/overlay/d/sub')
    await ask('PUT', '/overlay/d/new', { body: 'x' })
    const second = await sync(ask, first.token)
    t.same(told(second), ['/overlay/d/a', '/overlay/d/b ✗', '/overlay/d/new', '/overlay/d/sub/ ✗'])
    t.same(told(await sync(ask, second.token)), [])
    t.same(told(await sync(ask, first.token)), told(second), 'an old token is still good')
  })
})

t.test('a changed property is a change, and so is another object of the same name', async (t) => {
  await withDav(t, [{ 'd/a': '1', 'd/b': '2' }], async ({ ask }) => {
    const { token } = await sync(ask, '')
    await ask('PROPPATCH', '/overlay/d/a', {
      body: '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">1</x></D:prop></D:set></D:propertyupdate>',
    })
    await ask('DELETE', '/overlay/d/b')
    await ask('MKCOL', '/overlay/d/b/')
    t.same(told(await sync(ask, token)), ['/overlay/d/a', '/overlay/d/b/'])
  })
})

t.test('a limited report tells the rest with the next tokens, and each member once', async (t) => {
  await withDav(t, [Object.fromEntries(Array.from({ length: 7 }, (_, i) => [`d/f${i}`, '']))], async ({ ask }) => {
    const seen: string[] = []
    let token = ''
    for (let round = 0; round < 4; round++) {
      const part = await sync(ask, token, '<D:limit><D:nresults>3</D:nresults></D:limit>')
      t.equal(part.body.includes('507 Insufficient Storage'), round < 2, `round ${round}`)
      seen.push(...hrefs(part.body).filter((href) => href !== '/overlay/d/'))
      token = part.token
    }
    t.same(
      seen.sort(),
      Array.from({ length: 7 }, (_, i) => `/overlay/d/f${i}`),
    )
  })
})

t.test(
  'a token of another collection, of nobody, or long forgotten is refused so that the client starts over',
  async (t) => {
    await withDav(
      t,
      [{ 'd/a': '', 'e/a': '' }],
      async ({ ask }) => {
        const { token } = await sync(ask, '')
        for (const [path, of] of [
          ['/overlay/e/', token],
          ['/overlay/d/', 'urn:x:1'],
        ]) {
          const refused = await ask('REPORT', path!, { body: body(of!) })
          t.equal(refused.status, 403)
          t.match(refused.body, /<D:valid-sync-token\/>/)
        }
        await ask('REPORT', '/overlay/e/', { body: body('') })
        t.equal((await sync(ask, token)).status, 403, 'it had to make room')
      },
      { limits: { syncBytes: 300 } },
    )
  },
)

t.test('what is not a sync-collection of level 1 is refused', async (t) => {
  await withDav(t, [{ 'd/a': '' }], async ({ ask }) => {
    const infinite = body('').replace('level>1<', 'level>infinite<')
    t.match(await ask('REPORT', '/overlay/d/', { body: infinite }), { status: 403, body: /sync-traversal-supported/ })
    const other = '<D:version-tree xmlns:D="DAV:"/>'
    t.match(await ask('REPORT', '/overlay/d/', { body: other }), { status: 403, body: /supported-report/ })
    t.match(await ask('REPORT', '/overlay/d/a', { body: body('') }), { status: 403 })
    t.match(await ask('REPORT', '/overlay/none', { body: body('') }), { status: 404 })
    t.match(await ask('REPORT', '/overlay/d/', { body: '<D:sync-collection xmlns:D="DAV:"/>' }), { status: 400 })
    t.match(await ask('REPORT', '/overlay/d/', { body: body(''), headers: { Depth: '1' } }), { status: 400 })
    const set = '<D:propfind xmlns:D="DAV:"><D:prop><D:supported-report-set/></D:prop></D:propfind>'
    t.match(
      (await ask('PROPFIND', '/overlay/d/', { body: set, headers: { Depth: '0' } })).body,
      /<D:sync-collection\/>/,
    )
  })
})
