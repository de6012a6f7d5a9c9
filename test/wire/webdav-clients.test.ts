import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Answer, type Dav, element, hrefs, tokenOf, withDav } from '../protocols/webdav/dav-fixture.ts'

/** A request of a client and the status it has to get for the client to go on. `{token}` stands for that of the last LOCK. */
type Line = readonly [
  method: string,
  path: string,
  status: number,
  headers?: Record<string, string>,
  body?: string | readonly string[],
]

async function* chunks(pieces: readonly string[]) {
  for (const piece of pieces) yield Buffer.from(piece)
}

/** Sends the requests of a client one after the other, with its name, and returns the last answer. */
async function replay(t: Test, { ask }: Dav, agent: string, lines: readonly Line[]): Promise<Answer> {
  let token = ''
  let last: Answer | undefined
  for (const [method, path, status, headers = {}, body] of lines) {
    const filled = Object.entries(headers).map(([name, value]) => [name, value.replace('{token}', token)])
    const fields = { 'user-agent': agent, ...Object.fromEntries(filled) }
    last = await ask(method, path, { headers: fields, body: typeof body === 'object' ? chunks(body) : (body ?? '') })
    t.equal(last.status, status, `${method} ${path}`)
    if (method === 'LOCK' && last.headers['lock-token'] !== undefined) token = tokenOf(last)
  }
  return last!
}

const DEPTH_0 = { Depth: '0' }
const DEPTH_1 = { Depth: '1' }

t.test('Finder mounts, lists, copies a file and saves it again', async (t) => {
  await withDav(t, [{ 'docs/a.txt': 'old' }], async (dav) => {
    const agent = 'WebDAVFS/3.0.0 (03008000) Darwin/23.1.0 (x86_64)'
    const properties =
      '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:getlastmodified/><D:getcontentlength/><D:creationdate/><D:resourcetype/></D:prop></D:propfind>'
    const quota =
      '<?xml version="1.0" encoding="utf-8"?><D:propfind xmlns:D="DAV:"><D:prop><D:quota-available-bytes/><D:quota-used-bytes/><D:quota/><D:quotaused/></D:prop></D:propfind>'
    const lock =
      '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>http://www.apple.com/webdav_fs/</D:href></D:owner></D:lockinfo>'
    const options = await replay(t, dav, agent, [['OPTIONS', '/overlay/', 200]])
    t.match(options.headers.dav, /\b2\b/, 'without class 2 Finder is read-only')
    await replay(t, dav, agent, [
      ['PROPFIND', '/overlay/', 207, DEPTH_0, properties],
      ['PROPFIND', '/overlay/', 207, DEPTH_0, quota],
      ['PROPFIND', '/overlay/.Spotlight-V100', 404, DEPTH_0, properties],
      ['PROPFIND', '/overlay/._.', 404, DEPTH_0, properties],
      ['PROPFIND', '/overlay/.DS_Store', 404, DEPTH_0, properties],
      ['PROPFIND', '/overlay/docs', 207, DEPTH_1, properties],
      ['PROPFIND', '/overlay/docs/._a.txt', 404, DEPTH_0, properties],
      // A new file: made empty, locked, written in chunks without a length.
      ['PUT', '/overlay/docs/new.txt', 201, {}, ''],
      ['LOCK', '/overlay/docs/new.txt', 200, { ...DEPTH_0, Timeout: 'Second-600' }, lock],
      ['PROPFIND', '/overlay/docs/new.txt', 207, DEPTH_0, properties],
      [
        'PUT',
        '/overlay/docs/new.txt',
        204,
        { If: '(<{token}>)', 'X-Expected-Entity-Length': '11' },
        ['hello ', 'world'],
      ],
      ['LOCK', '/overlay/docs/new.txt', 200, { If: '(<{token}>)', Timeout: 'Second-600' }],
      ['PROPFIND', '/overlay/docs/new.txt', 207, DEPTH_0, properties],
      ['UNLOCK', '/overlay/docs/new.txt', 204, { 'Lock-Token': '<{token}>' }],
      // Beside it what Finder keeps about it.
      ['PUT', '/overlay/docs/._new.txt', 201, {}, ''],
      ['LOCK', '/overlay/docs/._new.txt', 200, { ...DEPTH_0, Timeout: 'Second-600' }, lock],
      ['PUT', '/overlay/docs/._new.txt', 204, { If: '(<{token}>)' }, ['\0\x05\x16\x07']],
      ['UNLOCK', '/overlay/docs/._new.txt', 204, { 'Lock-Token': '<{token}>' }],
      [
        'MOVE',
        '/overlay/docs/new.txt',
        201,
        { Destination: `http://127.0.0.1:${dav.port}/overlay/docs/named.txt`, Overwrite: 'F' },
      ],
      ['DELETE', '/overlay/docs/._new.txt', 204],
    ])
    t.equal(readFileSync(join(dav.upper, 'docs/named.txt'), 'utf8'), 'hello world')
  })
})

t.test("Windows' redirector finds the share, copies a file to it and sets its times and attributes", async (t) => {
  await withDav(t, [{ 'docs/a.txt': 'old' }], async (dav) => {
    const agent = 'Microsoft-WebDAV-MiniRedir/10.0.19045'
    const lock =
      '<?xml version="1.0" encoding="utf-8" ?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype><D:owner><D:href>DESKTOP\\me</D:href></D:owner></D:lockinfo>'
    const times =
      '<?xml version="1.0" encoding="utf-8" ?><D:propertyupdate xmlns:D="DAV:" xmlns:Z="urn:schemas-microsoft-com:"><D:set><D:prop>' +
      '<Z:Win32CreationTime>Wed, 01 Jan 2020 10:00:00 GMT</Z:Win32CreationTime><Z:Win32LastAccessTime>Wed, 01 Jan 2020 10:00:00 GMT</Z:Win32LastAccessTime>' +
      '<Z:Win32LastModifiedTime>Wed, 01 Jan 2020 10:00:00 GMT</Z:Win32LastModifiedTime><Z:Win32FileAttributes>00000020</Z:Win32FileAttributes></D:prop></D:set></D:propertyupdate>'
    const root = await replay(t, dav, agent, [['OPTIONS', '/', 200]])
    t.match(root.headers, { dav: /\b2\b/, 'ms-author-via': 'DAV' })
    const listed = await replay(t, dav, agent, [
      ['PROPFIND', '/', 207, DEPTH_0],
      ['OPTIONS', '/overlay', 200],
      ['PROPFIND', '/overlay', 207, DEPTH_0],
      ['PROPFIND', '/overlay/desktop.ini', 404, DEPTH_0],
      ['PROPFIND', '/overlay/docs', 207, DEPTH_1],
    ])
    t.same(hrefs(listed.body), ['/overlay/docs/', '/overlay/docs/a.txt'])
    const patched = await replay(t, dav, agent, [
      ['PROPFIND', '/overlay/docs/new.txt', 404, DEPTH_0],
      ['PUT', '/overlay/docs/new.txt', 201, {}, ''],
      ['LOCK', '/overlay/docs/new.txt', 200, { Timeout: 'Second-3600' }, lock],
      ['PROPPATCH', '/overlay/docs/new.txt', 207, { If: '(<{token}>)' }, times],
      ['HEAD', '/overlay/docs/new.txt', 200],
      ['PUT', '/overlay/docs/new.txt', 204, { If: '(<{token}>)' }, 'content'],
      ['PROPPATCH', '/overlay/docs/new.txt', 207, { If: '(<{token}>)' }, times],
    ])
    t.notMatch(patched.body, /HTTP\/1.1 [45]/, 'every property was set')
    await replay(t, dav, agent, [['LOCK', '/overlay/docs/new.txt', 423, { Timeout: 'Second-3600' }, lock]])
    const token = /<D:locktoken><D:href>([^<]*)/.exec(
      (await dav.ask('PROPFIND', '/overlay/docs/new.txt', { headers: DEPTH_0 })).body,
    )?.[1]
    await replay(t, dav, agent, [['UNLOCK', '/overlay/docs/new.txt', 204, { 'Lock-Token': `<${token}>` }]])
    const seen = await replay(t, dav, agent, [['PROPFIND', '/overlay/docs/new.txt', 207, DEPTH_0]])
    t.equal(element(seen.body, 'D:getlastmodified'), 'Wed, 01 Jan 2020 10:00:00 GMT')
    await replay(t, dav, agent, [
      ['MKCOL', '/overlay/New%20folder', 201],
      [
        'MOVE',
        '/overlay/New%20folder',
        201,
        { Destination: `http://127.0.0.1:${dav.port}/overlay/renamed`, Overwrite: 'F' },
      ],
      [
        'MOVE',
        '/overlay/docs/new.txt',
        201,
        { Destination: `http://127.0.0.1:${dav.port}/overlay/renamed/new.txt`, Overwrite: 'F' },
      ],
      ['DELETE', '/overlay/renamed', 204],
    ])
  })
})

t.test('Office opens a document, keeps it locked, and saves it with the token in its own field', async (t) => {
  await withDav(t, [{ 'docs/letter.docx': 'old' }], async (dav) => {
    const agent = 'Microsoft Office Word 2014'
    const path = '/overlay/docs/letter.docx'
    const lock =
      '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive /></D:lockscope><D:locktype><D:write /></D:locktype><D:owner><D:href>DESKTOP/me</D:href></D:owner></D:lockinfo>'
    await replay(t, dav, agent, [
      ['OPTIONS', '/overlay/docs/', 200, { 'X-Office-Version': '16.0', Authorization: 'Bearer' }],
      ['HEAD', path, 200, { 'X-MSGETWEBURL': 't', Authorization: 'Bearer' }],
      ['LOCK', path, 200, { ...DEPTH_0, Timeout: 'Second-3600', 'Content-Type': 'text/xml' }, lock],
      ['GET', path, 200, { Translate: 'f' }],
      // Beside it the file that tells others who is at work.
      ['PUT', '/overlay/docs/~%24letter.docx', 201, {}, '\x02me'],
      // Saving: the lock is renewed, and the token does not come in If.
      ['LOCK', path, 200, { If: '(<{token}>)', Timeout: 'Second-3600' }],
      ['PUT', path, 204, { 'Lock-Token': '<{token}>' }, 'new'],
      ['PUT', path, 423, {}, 'of somebody else'],
      ['PROPFIND', path, 207, DEPTH_0],
      ['UNLOCK', path, 204, { 'Lock-Token': '<{token}>' }],
      ['DELETE', '/overlay/docs/~%24letter.docx', 204],
    ])
    t.equal(readFileSync(join(dav.upper, 'docs/letter.docx'), 'utf8'), 'new')
  })
})

t.test('Office on a mounted share saves beside the document and changes the names', async (t) => {
  await withDav(t, [{ 'docs/letter.docx': 'old' }], async (dav) => {
    const to = (name: string) => ({ Destination: `http://127.0.0.1:${dav.port}/overlay/docs/${name}`, Overwrite: 'T' })
    await replay(t, dav, 'Microsoft-WebDAV-MiniRedir/10.0.19045', [
      ['PUT', '/overlay/docs/5A2B.tmp', 201, {}, 'new'],
      ['MOVE', '/overlay/docs/letter.docx', 201, to('7C3D.tmp')],
      ['MOVE', '/overlay/docs/5A2B.tmp', 201, to('letter.docx')],
      ['DELETE', '/overlay/docs/7C3D.tmp', 204],
      ['GET', '/overlay/docs/letter.docx', 200],
    ])
    t.equal(readFileSync(join(dav.upper, 'docs/letter.docx'), 'utf8'), 'new')
    t.notOk(existsSync(join(dav.upper, 'docs/7C3D.tmp')))
  })
})
