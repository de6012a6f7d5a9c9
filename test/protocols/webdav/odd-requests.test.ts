import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, lstatSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode } from '../../../overlay-core/index.ts'
import { ROOT, text } from '../../helpers/overlay.ts'
import { type Dav, element, lockInfo, tokenOf, withDav } from './dav-fixture.ts'

const set = (xml: string) =>
  `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop>${xml}</D:prop></D:set></D:propertyupdate>`
const EXECUTABLE = (value: string) =>
  set(`<x:executable xmlns:x="http://apache.org/dav/props/">${value}</x:executable>`)
/** Beyond what most file systems can keep. */
const FAR_FUTURE = '999999999999'

/** Whether the file system of the upper is one of those that can. */
function keepsFarFuture({ upper }: Dav): boolean {
  const probe = join(upper, '..', 'probe')
  execFileSync('touch', ['-d', `@${FAR_FUTURE}`, probe])
  const kept = lstatSync(probe).mtimeMs === Number(FAR_FUTURE) * 1000
  rmSync(probe)
  return kept
}

async function inodeAt({ overlay }: Dav, path: string): Promise<Inode> {
  let inode = overlay.root
  for (const name of path.split('/')) inode = (await overlay.lookup(ROOT, inode, name)) as Inode
  return inode
}

t.test('a URL of this server is one whatever way its host is written', async (t) => {
  await withDav(t, [{ 'd/a': 'A', b: 'B' }], async (dav) => {
    const { port, ask } = dav
    const own: [string, string][] = [
      [`127.0.0.1:${port}`, `http://127.0.0.1:${port}`],
      ['localhost', 'https://LocalHost'],
      ['localhost', 'http://localhost:80'],
      ['localhost', 'https://localhost:443'],
      ['localhost:443', 'https://localhost'],
      ['localhost', 'http://localhost.'],
      ['localhost.', 'http://localhost'],
      ['localhost', 'http://localhost:'],
      ['localhost', 'http://me:secret@localhost'],
      ['localhost', 'http://me%40there@localhost'],
      ['localhost', 'http://local%68ost'],
      ['localhost', '//localhost'],
      ['[::1]:8080', 'http://[::1]:8080'],
      ['[::1]', 'http://[0:0:0:0:0:0:0:1]:80'],
      ['[2001:DB8::1]:8080', 'http://[2001:db8:0::1]:8080'],
    ]
    const token = tokenOf(await ask('LOCK', '/overlay/d/a', { body: lockInfo() }))
    for (const [host, url] of own) {
      for (const path of ['/overlay/d/a', '//overlay//d/a', '/%6Fverlay/%64/%61', '/overlay/d/a?x']) {
        const headers = { host, if: `<${url}${path}> (<${token}>)` }
        t.equal((await ask('PUT', '/overlay/d/a', { headers, body: 'x' })).status, 204, `${host}: ${url}${path}`)
      }
      const headers = { host, destination: `${url}/overlay/b2`, overwrite: 'T' }
      t.ok((await ask('COPY', '/overlay/b', { headers })).status < 300, `${host}: ${url}`)
    }
    const foreign: [string, string][] = [
      ['localhost', 'http://localhost:8080'],
      ['localhost', 'http://localhost@example.org'],
      ['localhost', 'http://localhost.example.org'],
      ['localhost', 'http://'],
      ['[::1]', 'http://[::2]'],
      ['localhost', 'http://localhost\\@example.org'],
    ]
    for (const [host, url] of foreign) {
      const tagged = { host, if: `<${url}/overlay/d/a> (<${token}>)` }
      t.equal((await ask('PUT', '/overlay/d/a', { headers: tagged, body: 'x' })).status, 412, `${host}: ${url}`)
      const headers = { host, destination: `${url}/overlay/b3` }
      t.equal((await ask('COPY', '/overlay/b', { headers })).status, 502, `${host}: ${url}`)
    }
  })
})

t.test('a Host field is one host and nothing else', async (t) => {
  await withDav(t, [{ a: 'A' }], async ({ raw }) => {
    const status = async (hosts: string[], version = '1.1') => {
      const fields = hosts.map((host) => `Host: ${host}\r\n`).join('')
      const answer = await raw(`GET /overlay/a HTTP/${version}\r\n${fields}Connection: close\r\n\r\n`)
      return Number(answer.split(' ')[1])
    }
    const good = [
      'localhost',
      'localhost:8080',
      '[::1]',
      '[::1]:80',
      'a_b.example',
      '',
      'h%C3%A4.example',
      'localhost:',
    ]
    for (const host of good) t.equal(await status([host]), 200, host)
    const bad = [
      'localhost/overlay',
      'localhost, other',
      'me@localhost',
      'local host',
      'localhost:x',
      '::1',
      '[::1',
      'a?b',
    ]
    for (const host of bad) t.equal(await status([host]), 400, host)
    t.equal(await status(['localhost', 'localhost']), 400)
    t.equal(await status([]), 400)
    t.equal(await status([], '1.0'), 200)
  })
})

t.test('request targets in all their forms mean the same', async (t) => {
  await withDav(t, [{ 'd/a': 'A' }], async ({ raw, port }) => {
    const get = async (target: string) => {
      const answer = await raw(`GET ${target} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      return `${answer.split(' ')[1]} ${answer.slice(answer.indexOf('\r\n\r\n') + 4)}`
    }
    const same = ['/overlay/d/a', '//overlay/d/a', '///overlay//d///a', '/%6fverlay/d/%61', '/overlay/d/a?x=//y']
    for (const target of same) {
      t.equal(await get(target), '200 A', target)
      t.equal(await get(`http://127.0.0.1:${port}${target}`), '200 A', target)
      t.equal(await get(`HTTP://other.example${target}`), '200 A', target)
    }
    for (const target of [
      '/overlay/./d/a',
      '/./overlay/d/a',
      '/overlay/x/../d/a',
      '/overlay/%2e%2e/overlay/d/a',
      '//../a',
    ]) {
      t.match(await get(target), /^40[04] /, target)
    }
    t.match(await get('///'), /^200 /)
    t.match(
      await raw('OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n'),
      /^HTTP\/1\.1 200 .*\r\nDAV:/is,
    )
  })
})

t.test('X-OC-Mtime is taken as it is, refused, or not said to be accepted', async (t) => {
  await withDav(t, [{ a: 'A' }], async (dav) => {
    const mtime = async (path: string) => (await dav.overlay.getattr(await inodeAt(dav, path))).mtime
    const put = (name: string, time: string) =>
      dav.ask('PUT', `/overlay/${name}`, { headers: { 'x-oc-mtime': time }, body: 'x' })
    const good: [string, object][] = [
      ['0', { sec: 0, nsec: 0 }],
      ['-5', { sec: -5, nsec: 0 }],
      ['-1.5', { sec: -2, nsec: 500_000_000 }],
      ['-0.25', { sec: -1, nsec: 750_000_000 }],
      ['1.5', { sec: 1, nsec: 500_000_000 }],
    ]
    for (const [time, wanted] of good) {
      const { status, headers } = await put('f', time)
      t.ok(status < 300, time)
      t.equal(headers['x-oc-mtime'], 'accepted', time)
      t.same(await mtime('f'), wanted, time)
    }
    for (const time of ['', 'now', '1e9', '0x10', '1,5', '--1', '+1', '1 2', 'NaN', '99999999999999999999', '1.']) {
      t.equal((await put('none', time)).status, 400, time)
    }
    const keeps = keepsFarFuture(dav)
    const headers = { 'x-oc-mtime': FAR_FUTURE, destination: '/overlay/copy' }
    const partial = { 'content-type': 'application/x-sabredav-partialupdate', 'x-update-range': 'append' }
    for (const [method, path, more] of [
      ['PUT', 'far', {}],
      ['COPY', 'a', {}],
      ['MOVE', 'copy', { destination: '/overlay/moved' }],
      ['MKCOL', 'dir', {}],
      ['PATCH', 'a', partial],
    ] as const) {
      const body = method === 'PUT' || method === 'PATCH' ? 'x' : undefined
      const ask = { headers: { ...headers, ...more }, ...(body === undefined ? {} : { body }) }
      const answer = await dav.ask(method, `/overlay/${path}`, ask)
      t.ok(answer.status < 300, `${method} ${answer.status}`)
      t.equal(answer.headers['x-oc-mtime'], keeps ? 'accepted' : undefined, `${method}: said only where it is so`)
    }
  })
})

t.test('PROPPATCH does all or nothing, also of what the file system cannot keep', async (t) => {
  await withDav(t, [{ a: 'A' }], async (dav) => {
    await dav.ask('PROPPATCH', '/overlay/a', { body: set('<D:getlastmodified>1000</D:getlastmodified>') })
    const kept = lstatSync(join(dav.upper, 'a'))
    const dead = '<p xmlns="urn:x">1</p>'
    const time = (value: string) => `<D:getlastmodified>${value}</D:getlastmodified>`
    const executable = '<x:executable xmlns:x="http://apache.org/dav/props/">T</x:executable>'
    const cases: [string, RegExp, string][] = [
      [`${time('5')}<D:getetag>x</D:getetag>${dead}`, /<D:getetag\/><\/D:prop><D:status>HTTP\/1.1 403/, 'protected'],
      [`${dead}${time('yesterday')}`, /<D:getlastmodified\/><\/D:prop><D:status>HTTP\/1.1 409/, 'no time'],
    ]
    if (!keepsFarFuture(dav)) cases.push([`${executable}${dead}${time(FAR_FUTURE)}`, /HTTP\/1.1 409/, 'too far'])
    for (const [xml, wanted, what] of cases) {
      const { status, body } = await dav.ask('PROPPATCH', '/overlay/a', { body: set(xml) })
      t.equal(status, 207)
      t.match(body, wanted, what)
      t.match(body, /HTTP\/1.1 424/, what)
      t.notMatch(body, /HTTP\/1.1 200/, what)
      const now = lstatSync(join(dav.upper, 'a'))
      t.same([now.mtimeMs, now.mode], [kept.mtimeMs, kept.mode], what)
      t.notMatch((await dav.ask('PROPFIND', '/overlay/a', { headers: { depth: '0' } })).body, 'urn:x', what)
    }
  })
})

t.test('times before 1970 are the same for HEAD and PROPFIND', async (t) => {
  await withDav(t, [{}], async ({ ask }) => {
    for (const sec of [-86_400, -1, -0.5]) {
      await ask('PUT', '/overlay/a', { headers: { 'x-oc-mtime': String(sec) }, body: 'x' })
      const wanted = new Date(Math.floor(sec) * 1000).toUTCString()
      t.equal((await ask('HEAD', '/overlay/a')).headers['last-modified'], wanted)
      const { body } = await ask('PROPFIND', '/overlay/a', { headers: { depth: '0' } })
      t.equal(element(body, 'D:getlastmodified'), wanted)
      t.equal((await ask('GET', '/overlay/a', { headers: { 'if-modified-since': wanted } })).status, 304)
    }
  })
})

t.test('executable never brings setuid and setgid back to a file', async (t) => {
  await withDav(
    t,
    [{ a: 'A', b: 'B' }],
    async (dav) => {
      t.match((await dav.ask('PROPPATCH', '/overlay/a', { body: EXECUTABLE('T') })).body, /200 OK/)
      t.equal(lstatSync(join(dav.upper, 'a')).mode & 0o7777, 0o755)
      t.match((await dav.ask('PROPPATCH', '/overlay/b', { body: EXECUTABLE('F') })).body, /200 OK/)
      t.equal(lstatSync(join(dav.upper, 'b')).mode & 0o7777, 0o644)
    },
    {
      prepare: ([lower]) => {
        chmodSync(join(lower as string, 'a'), 0o4644)
        chmodSync(join(lower as string, 'b'), 0o6755)
      },
    },
  )
})

t.test('a deep lock above another name of a locked file does not open it', async (t) => {
  await withDav(
    t,
    [{ a: 'old', 'd/c': 'c' }],
    async (dav) => {
      const mine = tokenOf(await dav.ask('LOCK', '/overlay/a', { body: lockInfo() }))
      // Its lock holds the names in the folder, where the file has come by another way.
      const answer = await dav.ask('LOCK', '/overlay/d/', { body: lockInfo() })
      t.equal(answer.status, 200)
      const theirs = tokenOf(answer)
      const put = async (path: string, tokens: string) =>
        (await dav.ask('PUT', `/overlay/${path}`, { body: 'new', headers: { if: tokens } })).status
      t.equal(await put('d/b', `(<${theirs}>)`), 423)
      t.equal(await put('a', `(<${mine}>)`), 423, 'nor is what lies in the folder open to the other one')
      t.equal(await text(dav.overlay, 'a'), 'old')
      t.equal(await put('d/b', `(<${theirs}>) (<${mine}>)`), 204)
      t.equal(await put('d/c', `(<${theirs}>)`), 204)
    },
    { prepare: ([lower]) => linkSync(join(lower as string, 'a'), join(lower as string, 'd/b')) },
  )
})

t.test('folders that hold other names of a locked file come and go, the file stays locked', async (t) => {
  await withDav(t, [{ a: 'old', 'd/c': 'c', 'e/f': 'f' }], async (dav) => {
    const token = tokenOf(await dav.ask('LOCK', '/overlay/a', { body: lockInfo() }))
    const link = async (dir: string) =>
      dav.overlay.link(ROOT, await inodeAt(dav, 'a'), await inodeAt(dav, dir), 'made-after')
    const locked = async (path: string) =>
      t.equal((await dav.ask('PUT', `/overlay/${path}`, { body: 'x' })).status, 423, path)
    const to = (path: string, more = {}) => ({ headers: { destination: `/overlay/${path}`, ...more } })
    await link('d')
    await locked('d/made-after')
    t.equal((await dav.ask('COPY', '/overlay/d', to('copied'))).status, 201)
    t.equal((await dav.ask('PUT', '/overlay/copied/made-after', { body: 'x' })).status, 204, 'a copy is another file')
    t.equal((await dav.ask('MOVE', '/overlay/d', to('moved'))).status, 201)
    await locked('moved/made-after')
    for (const method of ['PATCH', 'PROPPATCH']) {
      const headers: Record<string, string> =
        method === 'PATCH' ? { 'content-type': 'application/x-sabredav-partialupdate', 'x-update-range': 'append' } : {}
      const body = method === 'PATCH' ? 'x' : set('<p xmlns="urn:x"/>')
      t.equal((await dav.ask(method, '/overlay/moved/made-after', { headers, body })).status, 423, method)
    }
    for (const method of ['COPY', 'MOVE']) {
      t.equal((await dav.ask(method, '/overlay/e/f', to('moved/made-after'))).status, 423, method)
    }
    t.equal((await dav.ask('COPY', '/overlay/e', to('moved'))).status, 204, 'over the folder')
    t.equal(await text(dav.overlay, 'a'), 'old')
    await locked('a')
    await link('e')
    t.equal((await dav.ask('DELETE', '/overlay/e')).status, 204)
    await locked('a')
    t.equal((await dav.ask('DELETE', '/overlay/a')).status, 423)
    t.equal((await dav.ask('DELETE', '/overlay/a', { headers: { if: `(<${token}>)` } })).status, 204)
  })
})

t.test('a copy that is moved into its source ends and says so', async (t) => {
  await withDav(t, [{ 'a/f': 'f', 'a/g/h': 'h', 'b/k': 'k' }], async (dav) => {
    const { overlay } = dav
    const { readdir } = overlay
    const source = await inodeAt(dav, 'a')
    let moves = 0
    // Once the copy is there and before the source is listed.
    overlay.readdir = async (...args) => {
      if (args[1].key === source.key && moves++ === 0) {
        const status = (await overlay.lookup(ROOT, overlay.root, 'b')) as Inode
        t.ok(await overlay.lookup(ROOT, status, 'x'), 'the copy has begun')
        await overlay.rename(ROOT, overlay.root, 'b', source, 'z', { noReplace: true })
      }
      return readdir.apply(overlay, args)
    }
    const { status, body } = await dav.ask('COPY', '/overlay/a', { headers: { destination: '/overlay/b/x' } })
    t.equal(moves > 0, true)
    t.equal(status, 207)
    t.match(body, 'HTTP/1.1 508')
    t.equal(await text(overlay, 'a/z/x/f'), 'f', 'the rest is copied')
    t.equal(await text(overlay, 'a/z/x/z/k'), 'k')
    t.equal((await dav.ask('HEAD', '/overlay/a/z/x/z/x/f')).status, 404)
  })
})

t.test('UNLOCK takes one token, of a lock on this resource', async (t) => {
  await withDav(t, [{ a: 'A', b: 'B', 'd/c': 'C' }], async ({ ask }) => {
    const a = tokenOf(await ask('LOCK', '/overlay/a', { body: lockInfo() }))
    const d = tokenOf(await ask('LOCK', '/overlay/d/', { body: lockInfo() }))
    const unlock = async (path: string, field: string) =>
      (await ask('UNLOCK', `/overlay/${path}`, { headers: { 'lock-token': field } })).status
    for (const path of ['b', 'd/c', 'none', '']) t.equal(await unlock(path, `<${a}>`), 409, path)
    for (const field of [`<${a}>, <${d}>`, `<${a}> <${d}>`, `${a} ${d}`, `<${a}>,`])
      t.equal(await unlock('a', field), 400)
    t.equal((await ask('UNLOCK', '/overlay/a')).status, 400)
    t.equal(await unlock('a', a), 204)
    t.equal(await unlock('a', a), 409, 'it is gone')
    t.equal(await unlock('d/c', d), 204, 'below a deep one')
  })
})
