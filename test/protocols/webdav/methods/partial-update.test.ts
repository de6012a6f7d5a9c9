import { readFileSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { lockInfo, until, withDav } from '../dav-fixture.ts'

const TYPE = 'application/x-sabredav-partialupdate'
const patching = (range: string, body: string, more: Record<string, string> = {}) => ({
  headers: { 'Content-Type': TYPE, 'X-Update-Range': range, ...more },
  body,
})

t.test('PATCH writes a part of a file in place', async (t) => {
  await withDav(t, [{ f: '0123456789' }], async ({ ask, upper }) => {
    const content = async () => (await ask('GET', '/overlay/f')).body
    const first = await ask('PATCH', '/overlay/f', patching('bytes=2-4', 'abc'))
    t.equal(first.status, 204)
    t.equal(await content(), '01abc56789')
    t.equal((await ask('GET', '/overlay/f')).headers.etag, first.headers.etag)
    await ask('PATCH', '/overlay/f', patching('bytes=8-', 'xyz'))
    t.equal(await content(), '01abc567xyz')
    await ask('PATCH', '/overlay/f', patching('bytes=-2', '!'))
    t.equal(await content(), '01abc567x!z')
    await ask('PATCH', '/overlay/f', patching('append', ' more'))
    t.equal(await content(), '01abc567x!z more')
    t.equal(readFileSync(join(upper, 'f'), 'utf8'), '01abc567x!z more')
    t.match((await ask('OPTIONS', '/overlay/f')).headers.dav, /sabredav-partialupdate/)
  })
})

t.test('PUT with Content-Range writes that part, and makes a file of a part that is the whole', async (t) => {
  await withDav(t, [{ f: '0123456789' }], async ({ ask }) => {
    const range = (text: string) => ({ 'Content-Range': text })
    t.equal((await ask('PUT', '/overlay/f', { headers: range('bytes 3-5/10'), body: 'abc' })).status, 204)
    t.equal((await ask('GET', '/overlay/f')).body, '012abc6789')
    t.equal((await ask('PUT', '/overlay/f', { headers: range('bytes 10-11/*'), body: 'zz' })).status, 204)
    t.equal((await ask('GET', '/overlay/f')).body, '012abc6789zz')
    t.equal((await ask('PUT', '/overlay/new', { headers: range('bytes 0-2/3'), body: 'abc' })).status, 201)
    t.equal((await ask('GET', '/overlay/new')).body, 'abc')
    t.equal((await ask('PUT', '/overlay/other', { headers: range('bytes 5-6/7'), body: 'ab' })).status, 416)
    t.equal((await ask('PUT', '/overlay/f', { headers: range('bytes 5-3/10'), body: 'x' })).status, 400)
    t.equal((await ask('PUT', '/overlay/f', { headers: range('bytes 0-4/10'), body: 'x' })).status, 400)
  })
})

t.test('a part that does not fit, or may not be written, changes nothing', async (t) => {
  await withDav(t, [{ f: '0123', 'd/x': '' }], async ({ ask }) => {
    const status = async (path: string, ask_: Parameters<typeof ask>[2]) => (await ask('PATCH', path, ask_)).status
    const beyond = await ask('PATCH', '/overlay/f', patching('bytes=9-', 'x'))
    t.match(beyond, { status: 416, headers: { 'content-range': 'bytes */4' } })
    t.equal(await status('/overlay/f', patching('bytes=-9', 'x')), 416)
    t.equal(await status('/overlay/f', patching('bytes=1-2', 'x')), 400, 'not the length of the range')
    t.equal(await status('/overlay/f', patching('bytes=2-1', 'x')), 400)
    t.equal(await status('/overlay/f', patching('lines=1', 'x')), 400)
    t.equal(await status('/overlay/f', { headers: { 'X-Update-Range': 'append' }, body: 'x' }), 415)
    t.equal(await status('/overlay/none', patching('append', 'x')), 404)
    t.equal(await status('/overlay/d', patching('append', 'x')), 405)
    t.equal(await status('/overlay/f', patching('append', 'x', { 'If-Match': '"other"' })), 412)
    async function* pieces() {
      yield Buffer.from('x')
    }
    t.equal(await status('/overlay/f', { ...patching('append', ''), body: pieces() }), 411)
    await ask('LOCK', '/overlay/f', { body: lockInfo() })
    t.equal(await status('/overlay/f', patching('append', 'x')), 423)
    t.equal((await ask('GET', '/overlay/f')).body, '0123')
  })
})

t.test('a client that goes in the middle leaves no file open', async (t) => {
  await withDav(t, [{ f: '0123' }], async ({ port, handle, held }) => {
    const socket = connect(port, '127.0.0.1')
    const head = `PATCH /overlay/f HTTP/1.1\r\nHost: x\r\nContent-Type: ${TYPE}\r\nX-Update-Range: append\r\n`
    socket.write(`${head}Content-Length: 100\r\n\r\nabc`)
    await until(() => held.open === 1)
    socket.destroy()
    await until(() => held.open === 0 && handle.counters.abortedUploads === 1)
  })
})
