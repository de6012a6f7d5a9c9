import { readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import t from 'tap'
import { onDisk } from '../../../helpers/overlay.ts'
import { type Answer, type Ask, type Dav, lockInfo, tokenOf, until, withDav } from '../dav-fixture.ts'

const TUS = { 'Tus-Resumable': '1.0.0' }

function create(
  ask: Dav['ask'],
  name: string,
  length: number,
  more: Record<string, string> = {},
  at = '/overlay/d/',
): Promise<Answer> {
  const metadata = `filetype dGV4dA==,filename ${Buffer.from(name).toString('base64')}`
  return ask('POST', at, { headers: { ...TUS, 'Upload-Length': String(length), 'Upload-Metadata': metadata, ...more } })
}

function piece(offset: number, body: Ask['body'], more: Record<string, string> = {}): Ask {
  const headers = {
    ...TUS,
    'Content-Type': 'application/offset+octet-stream',
    'Upload-Offset': String(offset),
    ...more,
  }
  return { headers, body: body! }
}

t.test('an upload in pieces appears when its last byte has come', async (t) => {
  await withDav(t, [{ 'd/x': '' }], async ({ ask, upper, work }) => {
    const created = await create(ask, 'ü.bin', 10)
    t.equal(created.status, 201)
    const location = String(created.headers.location)
    t.match(location, /^\/overlay\/d\/%C3%BC\.bin\?upload=[0-9a-f-]+$/)
    t.match(created.headers['upload-expires'], /GMT$/)
    t.match(await ask('PATCH', location, piece(0, 'hello')), { status: 204, headers: { 'upload-offset': '5' } })
    t.equal((await ask('GET', '/overlay/d/%C3%BC.bin')).status, 404)
    const state = await ask('HEAD', location, { headers: TUS })
    t.match(state, {
      status: 200,
      headers: { 'upload-offset': '5', 'upload-length': '10', 'cache-control': 'no-store' },
    })
    const last = await ask('PATCH', location, piece(5, 'world'))
    t.match(last, { status: 204, headers: { 'upload-offset': '10' } })
    t.match(await ask('GET', '/overlay/d/%C3%BC.bin'), {
      body: 'helloworld',
      headers: { etag: last.headers.etag as string },
    })
    t.equal((await ask('HEAD', location, { headers: TUS })).status, 404, 'the upload is done with')
    t.equal(readFileSync(join(upper, 'd/ü.bin'), 'utf8'), 'helloworld')
    t.same(onDisk(join(work, 'work')), [])
  })
})

t.test('a finished upload has the time that its start or its last request asked for', async (t) => {
  await withDav(t, [{ 'd/x': '' }], async ({ ask, upper }) => {
    const mtimeOf = (name: string) => statSync(join(upper, 'd', name)).mtimeMs
    const metadata = (name: string, mtime: string) => ({
      'Upload-Metadata': `filename ${Buffer.from(name).toString('base64')},mtime ${Buffer.from(mtime).toString('base64')}`,
    })
    const empty = await create(ask, 'a', 0, { 'X-OC-Mtime': '1000000000' })
    t.match(empty, { status: 201, headers: { 'x-oc-mtime': 'accepted' } })
    t.equal(mtimeOf('a'), 1_000_000_000_000)
    const started = String((await create(ask, 'b', 1, metadata('b', '1000000001.5'))).headers.location)
    t.match(await ask('PATCH', started, piece(0, 'x')), { status: 204, headers: { 'x-oc-mtime': 'accepted' } })
    t.equal(mtimeOf('b'), 1_000_000_001_500)
    const ended = String((await create(ask, 'c', 1, metadata('c', '2001-09-09'))).headers.location)
    t.match(await ask('PATCH', ended, piece(0, 'x', { 'X-OC-Mtime': '1000000002' })), { status: 204 })
    t.equal(mtimeOf('c'), 1_000_000_002_000)
    t.equal((await create(ask, 'd', 1, { 'X-OC-Mtime': 'yesterday' })).status, 400)
  })
})

t.test('what came before a connection broke counts', async (t) => {
  await withDav(t, [{ 'd/x': '' }], async ({ ask, port, handle }) => {
    const location = String((await create(ask, 'f', 10)).headers.location)
    const socket = connect(port, '127.0.0.1')
    const head = `PATCH ${location} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\nContent-Type: application/offset+octet-stream\r\n`
    socket.write(`${head}Content-Length: 10\r\n\r\n1234`)
    await until(() => handle.counters.bytesIn === 4)
    const busy = await ask('PATCH', location, piece(0, '1234567890'))
    t.equal(busy.status, 423, 'one request at a time')
    socket.destroy()
    await until(() => handle.counters.abortedUploads === 1)
    const offset = Number((await ask('HEAD', location, { headers: TUS })).headers['upload-offset'])
    t.ok(offset === 0 || offset === 4)
    await ask('PATCH', location, piece(offset, '1234567890'.slice(offset)))
    t.equal((await ask('GET', '/overlay/d/f')).body, '1234567890')
  })
})

t.test('an upload is given up by the client, or when it rests too long', async (t) => {
  await withDav(
    t,
    [{ 'd/x': '' }],
    async ({ ask, clock, held, work }) => {
      const given = String((await create(ask, 'f', 10)).headers.location)
      await ask('PATCH', given, piece(0, 'x'))
      t.equal((await ask('DELETE', given, { headers: TUS })).status, 204)
      t.equal((await ask('HEAD', given, { headers: TUS })).status, 404)
      const rested = String((await create(ask, 'f', 10)).headers.location)
      await ask('PATCH', rested, piece(0, 'x'))
      clock.nowMs += 61_000
      t.equal((await ask('HEAD', rested, { headers: TUS })).status, 404)
      await until(() => held.staged === 0)
      t.same(onDisk(join(work, 'work')), [])
    },
    { limits: { uploadSeconds: 60 } },
  )
})

t.test('an empty upload is complete at once, and one over an existing file replaces it', async (t) => {
  await withDav(t, [{ 'd/x': 'old' }], async ({ ask }) => {
    t.equal((await create(ask, 'empty', 0)).status, 201)
    t.match(await ask('GET', '/overlay/d/empty'), { status: 200, body: '' })
    const location = String((await create(ask, 'x', 3)).headers.location)
    await ask('PATCH', location, piece(0, 'new'))
    t.equal((await ask('GET', '/overlay/d/x')).body, 'new')
    t.equal((await create(ask, 'x', 3, { 'If-None-Match': '*' })).status, 412)
  })
})

t.test('locks hold for uploads, at their start and at their end', async (t) => {
  await withDav(t, [{ 'd/x': 'old' }], async ({ ask }) => {
    const location = String((await create(ask, 'x', 3)).headers.location)
    const token = tokenOf(await ask('LOCK', '/overlay/d/x', { body: lockInfo() }))
    t.equal((await create(ask, 'x', 3)).status, 423)
    t.equal((await ask('PATCH', location, piece(0, 'new'))).status, 423)
    t.equal((await ask('GET', '/overlay/d/x')).body, 'old')
    const again = String((await create(ask, 'x', 3, { If: `(<${token}>)` })).headers.location)
    t.equal((await ask('PATCH', again, piece(0, 'new', { If: `(<${token}>)` }))).status, 204)
    t.equal((await ask('GET', '/overlay/d/x')).body, 'new')
  })
})

t.test('what is not tus 1.0 as served here is refused', async (t) => {
  await withDav(
    t,
    [{ 'd/x': '' }],
    async ({ ask }) => {
      t.match(await create(ask, 'f', 3, { 'Tus-Resumable': '0.2.2' }), {
        status: 412,
        headers: { 'tus-version': '1.0.0' },
      })
      t.equal((await create(ask, '../f', 3)).status, 400)
      t.equal((await create(ask, 'f', 3, { 'Upload-Length': 'x' })).status, 400)
      t.equal((await create(ask, 'f', 3, {}, '/overlay/none/')).status, 404)
      t.equal((await create(ask, 'f', 3, {}, '/overlay/d/x')).status, 409)
      const location = String((await create(ask, 'f', 3)).headers.location)
      t.equal((await create(ask, 'g', 3)).status, 503, 'no more at a time')
      t.equal((await ask('PATCH', location, piece(1, 'x'))).status, 409)
      t.equal((await ask('PATCH', location, piece(0, 'four'))).status, 413)
      t.equal((await ask('PATCH', location, piece(0, 'x', { 'Content-Type': 'text/plain' }))).status, 415)
      t.equal((await ask('PATCH', location.replace('/f?', '/g?'), piece(0, 'x'))).status, 404)
      t.equal((await ask('DELETE', '/overlay/d/f?upload=00000000-0000', { headers: TUS })).status, 404)
      const options = await ask('OPTIONS', '/overlay/d/')
      t.match(options.headers, { 'tus-version': '1.0.0', 'tus-extension': 'creation,termination,expiration' })
    },
    { limits: { uploads: 1 } },
  )
})
