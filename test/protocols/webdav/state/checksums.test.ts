import { createHash } from 'node:crypto'
import { lstatSync, readFileSync, truncateSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { parseOcChecksum } from '../../../../protocols/webdav/state/checksums.ts'
import { onDisk, put as write, xattrOnDisk } from '../../../helpers/overlay.ts'
import { type Dav, element, until, withDav } from '../dav-fixture.ts'
import { refusal } from '../refusal.ts'

const GIB = 2 ** 30

const ASK = '<D:propfind xmlns:D="DAV:" xmlns:oc="http://owncloud.org/ns"><D:prop><oc:checksums/></D:prop></D:propfind>'
/** Asks over a connection that can be cut. */
function asking(port: number, path: string): Socket {
  const head = `PROPFIND ${path} HTTP/1.1\r\nHost: localhost\r\nDepth: 0\r\nContent-Length: ${ASK.length}\r\n\r\n`
  const socket = connect(port, '127.0.0.1', () => socket.write(head + ASK))
  return socket.resume()
}

const sha1 = (text: string) => createHash('sha1').update(text).digest('hex')
const md5 = (text: string) => createHash('md5').update(text).digest('hex')

async function sums(dav: Dav, path: string, depth = '0'): Promise<string | undefined> {
  const { body } = await dav.ask('PROPFIND', path, { headers: { depth }, body: ASK })
  return element(body, 'oc:checksum')
}

t.test('OC-Checksum is an algorithm and a sum in hex', async (t) => {
  t.same(parseOcChecksum('sha1:ABCDEF'), { algorithm: 'SHA1', sum: 'abcdef' })
  t.equal(parseOcChecksum('WHIRLPOOL:00'), undefined, 'one nobody here knows says nothing')
  t.equal(parseOcChecksum(undefined), undefined)
  for (const field of ['', 'SHA1', 'SHA1:', 'SHA1:xyz'])
    t.equal(
      refusal(() => parseOcChecksum(field)),
      400,
      field,
    )
})

t.test('an upload that is not what its checksum says is refused, and nothing is replaced', async (t) => {
  await withDav(t, [{ f: 'old' }], async (dav) => {
    const send = async (sum: string) =>
      (await dav.ask('PUT', '/overlay/f', { body: 'new', headers: { 'oc-checksum': sum } })).status
    t.equal(await send(`SHA1:${sha1('other')}`), 400)
    t.same(onDisk(dav.upper), [])
    t.equal(await send(`SHA1:${sha1('new').toUpperCase()}`), 204)
    t.equal(readFileSync(join(dav.upper, 'f'), 'utf8'), 'new')
    t.equal(await send('WHIRLPOOL:00'), 204)
  })
})

t.test(
  'checksums are computed when asked for, without a copy-up, and are those of the content at any time',
  async (t) => {
    await withDav(t, [{ 'd/f': 'content' }], async (dav) => {
      t.equal(await sums(dav, '/overlay/d/f'), `SHA1:${sha1('content')} MD5:${md5('content')}`)
      t.same(onDisk(dav.upper), [])
      await write(dav.overlay, 'd/f', 'CONTENT')
      t.equal(await sums(dav, '/overlay/d/f'), `SHA1:${sha1('CONTENT')} MD5:${md5('CONTENT')}`)
      await dav.ask('PUT', '/overlay/d/f', { body: 'put' })
      t.equal(await sums(dav, '/overlay/d', '1'), `SHA1:${sha1('put')} MD5:${md5('put')}`, 'members too')
      t.equal(await sums(dav, '/overlay/d'), undefined, 'a collection has none')
    })
  },
)

t.test(
  'a sum that was given or computed is kept with the file while it stays the same, and not shown by a listing of all',
  async (t) => {
    await withDav(t, [{}], async (dav) => {
      await dav.ask('PUT', '/overlay/f', { body: 'new', headers: { 'oc-checksum': `SHA256:${'0'.repeat(64)}` } })
      await dav.ask('PUT', '/overlay/f', {
        body: 'new',
        headers: { 'oc-checksum': `SHA256:${createHash('sha256').update('new').digest('hex')}` },
      })
      t.match(xattrOnDisk(join(dav.upper, 'f'), 'trusted.overlay.overlayd.sum'), /"SHA256"/)
      const before = lstatSync(join(dav.upper, 'f')).mtimeMs
      t.match(await sums(dav, '/overlay/f'), /^SHA256:[0-9a-f]{64} SHA1:[0-9a-f]{40} MD5:[0-9a-f]{32}$/)
      t.match(xattrOnDisk(join(dav.upper, 'f'), 'trusted.overlay.overlayd.sum'), /"SHA1"/)
      t.equal(lstatSync(join(dav.upper, 'f')).mtimeMs, before)
      // What the note says is believed: it speaks of this very entity tag.
      t.notMatch((await dav.ask('PROPFIND', '/overlay/f', { headers: { depth: '0' } })).body, /checksum/)
    })
  },
)

t.test('a large file is read in slices with other requests in between', async (t) => {
  await withDav(t, [{}], async (dav) => {
    writeFileSync(join(dav.upper, 'big'), Buffer.alloc(32 * 1024 * 1024, 'x'))
    const { request } = await import('undici')
    let answered = 0
    let done = false
    const asking = sums(dav, '/overlay/big').then((found) => {
      done = true
      return found
    })
    while (!done) {
      await (await request(`http://127.0.0.1:${dav.port}/overlay/none`, { method: 'HEAD' })).body.dump()
      answered++
    }
    t.match(await asking, /^SHA1:/)
    t.ok(answered > 3, String(answered))
  })
})

t.test('large files hold no other one up, and nobody who has left is worked for', async (t) => {
  await withDav(
    t,
    [{ holes: '', data: '', small: 'small' }],
    async (dav) => {
      const sockets = ['holes', 'holes', 'data'].map((name) => asking(dav.port, `/overlay/${name}`))
      await until(() => dav.held.open > 0)
      t.equal(await sums(dav, '/overlay/small'), `SHA1:${sha1('small')} MD5:${md5('small')}`)
      t.ok(dav.held.open <= 2, `${dav.held.open} are read at a time`)
      for (const socket of sockets) socket.destroy()
      await until(() => dav.held.open === 0)
      // Not only between two pieces: nothing is opened again.
      for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve))
      t.equal(dav.held.open, 0)
    },
    {
      prepare: ([lower]) => {
        truncateSync(join(lower as string, 'holes'), 60 * GIB)
        truncateSync(join(lower as string, 'data'), 60 * GIB)
      },
    },
  )
})

t.test('those of files with holes are of the zeros in them', async (t) => {
  const content = Buffer.concat([Buffer.from('a'), Buffer.alloc(5_000_000), Buffer.from('b'), Buffer.alloc(3_000_001)])
  await withDav(
    t,
    [{ f: 'a' }],
    async (dav) => {
      const of = (algorithm: string) => createHash(algorithm).update(content).digest('hex')
      t.equal(await sums(dav, '/overlay/f'), `SHA1:${of('sha1')} MD5:${of('md5')}`)
    },
    {
      prepare: ([lower]) => {
        const path = join(lower as string, 'f')
        truncateSync(path, 5_000_001)
        writeFileSync(path, 'b', { flag: 'a' })
        truncateSync(path, content.length)
      },
    },
  )
})

t.test('what is too large or takes too long has no checksum, and that is no error', async (t) => {
  const limits = { checksumBytes: GIB, checksumMs: 1000 }
  await withDav(
    t,
    [{ large: '', slow: '', small: 'small' }],
    async (dav) => {
      const absent = async (name: string) => {
        const { status, body } = await dav.ask('PROPFIND', `/overlay/${name}`, { headers: { depth: '0' }, body: ASK })
        t.equal(status, 207, name)
        t.match(body, /HTTP\/1.1 404 Not Found/, name)
      }
      await absent('large')
      const slow = absent('slow')
      await until(() => dav.held.open > 0)
      dav.clock.nowMs += 2000
      await slow
      t.match(await sums(dav, '/overlay/small'), /^SHA1:/)
    },
    {
      limits,
      prepare: ([lower]) => {
        truncateSync(join(lower as string, 'large'), 16_000 * GIB)
        truncateSync(join(lower as string, 'slow'), GIB)
      },
    },
  )
})
