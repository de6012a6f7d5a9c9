import { lstatSync, readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { list, onDisk, text } from '../../helpers/overlay.ts'
import { type Dav, element, lockInfo, tokenOf, withDav } from './dav-fixture.ts'

const set = (value: string) =>
  `<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">${value}</x></D:prop></D:set></D:propertyupdate>`

async function send(dav: Dav, method: string, from: string, to: string, headers: Record<string, string> = {}) {
  const answer = await dav.ask(method, `/overlay/${from}`, { headers: { destination: `/overlay/${to}`, ...headers } })
  return answer.status
}

async function property(dav: Dav, path: string): Promise<string | undefined> {
  const { body } = await dav.ask('PROPFIND', `/overlay/${path}`, { headers: { depth: '0' } })
  return element(body, 'x')
}

t.test('COPY of a file copies content, mode and dead properties, and replaces in one step', async (t) => {
  await withDav(t, [{ a: { content: 'A', mode: 0o755 }, b: 'B' }], async (dav) => {
    await dav.ask('PROPPATCH', '/overlay/a', { body: set('1') })
    await dav.ask('PROPPATCH', '/overlay/b', { body: set('2') })
    t.equal(await send(dav, 'COPY', 'a', 'c'), 201)
    t.equal(readFileSync(join(dav.upper, 'c'), 'latin1'), 'A')
    t.equal(lstatSync(join(dav.upper, 'c')).mode & 0o7777, 0o755)
    t.equal(await property(dav, 'c'), '1')
    t.equal(await send(dav, 'COPY', 'a', 'b', { overwrite: 'F' }), 412)
    t.equal(await property(dav, 'b'), '2')
    t.equal(await send(dav, 'COPY', 'a', 'b', { overwrite: 'T' }), 204)
    t.equal(await text(dav.overlay, 'b'), 'A')
    t.equal(await property(dav, 'b'), '1')
    t.equal(lstatSync(join(dav.upper, 'b')).mode & 0o7777, 0o755)
    t.equal(await text(dav.overlay, 'a'), 'A')
  })
})

t.test('COPY of a collection takes all below, or with Depth 0 itself alone', async (t) => {
  await withDav(
    t,
    [{ 'd/e/f/deep': 'x', 'd/a': 'y', 'd/empty/': '' }],
    async (dav) => {
      await dav.ask('PROPPATCH', '/overlay/d/e', { body: set('kept') })
      t.equal(await send(dav, 'COPY', 'd', 'copy'), 201)
      t.same(await list(dav.overlay, 'copy'), ['a', 'e', 'empty', 'link'])
      t.equal(await text(dav.overlay, 'copy/e/f/deep'), 'x')
      t.equal((await dav.ask('GET', '/overlay/copy/link')).body, 'y', 'symlinks are copied as they are')
      t.equal(await property(dav, 'copy/e/'), 'kept')
      t.equal(await send(dav, 'COPY', 'd', 'shallow/', { depth: '0' }), 201)
      t.same(await list(dav.overlay, 'shallow'), [])
      t.equal(await send(dav, 'COPY', 'd', 'x', { depth: '1' }), 400)
    },
    { prepare: ([lower]) => symlinkSync('a', join(String(lower), 'd/link')) },
  )
})

t.test('COPY over another kind or a collection removes that first', async (t) => {
  await withDav(t, [{ 'd/a': '1', 'old/b': '2', 'old/c/d': '3', file: 'f' }], async (dav) => {
    t.equal(await send(dav, 'COPY', 'd', 'old'), 204)
    t.same(await list(dav.overlay, 'old'), ['a'])
    t.equal(await send(dav, 'COPY', 'file', 'old'), 204)
    t.equal(await text(dav.overlay, 'old'), 'f')
    t.equal(await send(dav, 'COPY', 'd', 'file'), 204)
    t.same(await list(dav.overlay, 'file'), ['a'])
    t.same(await list(dav.overlay, 'd'), ['a'])
  })
})

for (const method of ['COPY', 'MOVE']) {
  t.test(`${method} refuses what cannot be, with the status of the RFC`, async (t) => {
    await withDav(t, [{ 'd/e/a': '1', file: 'f' }], async (dav) => {
      const to = async (from: string, destination: string | undefined, headers: Record<string, string> = {}) => {
        const all = destination === undefined ? headers : { destination, ...headers }
        return (await dav.ask(method, `/overlay/${from}`, { headers: all })).status
      }
      t.equal(await to('none', '/overlay/x'), 404)
      t.equal(await to('file', undefined), 400)
      t.equal(await to('file', 'x'), 400)
      t.equal(await to('file', '/overlay/%zz'), 400)
      t.equal(await to('file', '/overlay/../x'), 400)
      t.equal(await to('file', '/overlay/x#y'), 400)
      t.equal(await to('file', 'http://elsewhere.example/overlay/x'), 502)
      t.equal(await to('file', '/other/x'), 403)
      t.equal(await to('file', '/'), 403)
      t.equal(await to('file', '/overlay/'), 403, 'the root holds the source')
      t.equal(await to('file', '/overlay/none/x'), 409)
      t.equal(await to('file', '/overlay/file/x'), method === 'COPY' ? 403 : 403)
      t.equal(await to('file', '/overlay/file'), 403)
      t.equal(await to('d', '/overlay/d/'), 403)
      t.equal(await to('d', '/overlay/d/e/f'), 403)
      t.equal(await to('d/e', '/overlay/d'), 403)
      t.equal(await to('file', '/overlay/x', { overwrite: 'maybe' }), 400)
      t.equal(await to('file', '/overlay/x', { 'if-match': '"x"' }), 412)
      t.same(onDisk(dav.upper), [])
      t.equal(await to('file', `http://127.0.0.1:${dav.port}/overlay/absolute`), 201)
    })
  })

  t.test(`${method} asks for the locks of the destination`, async (t) => {
    await withDav(t, [{ 'd/a': '1', 'd/b': '2', 'e/f': '3', 'g/a': '4' }], async (dav) => {
      const locked = await dav.ask('LOCK', '/overlay/d/b', { body: lockInfo() })
      const parent = await dav.ask('LOCK', '/overlay/e', { body: lockInfo(), headers: { depth: '0' } })
      t.equal(await send(dav, method, 'd/a', 'd/b'), 423)
      t.equal(await send(dav, method, 'd/a', 'e/new'), 423)
      t.equal(await send(dav, method, 'g', 'd'), 423)
      t.equal(await text(dav.overlay, 'd/b'), '2')
      const own = { if: `</overlay/d/b> (<${tokenOf(locked)}>)` }
      t.equal(await send(dav, method, 'd/a', 'd/b', own), 204)
      t.equal(await text(dav.overlay, 'd/b'), '1')
      const inParent = { if: `</overlay/e> (<${tokenOf(parent)}>)` }
      t.equal(await send(dav, method, 'g/a', 'e/new', inParent), 201)
      t.equal((await dav.ask('PUT', '/overlay/d/b', { body: 'x' })).status, 423, 'the lock of the place stays')
    })
  })

  t.test(`${method} from one view to another streams`, async (t) => {
    await withDav(
      t,
      [{ 'd/a': '1', 'd/e/b': '2', file: 'f' }],
      async (dav) => {
        const cross = async (from: string, to: string) => {
          const answer = await dav.ask(method, `/overlay/${from}`, { headers: { destination: `/second/${to}` } })
          return answer.status
        }
        t.equal(await cross('file', 'file2'), 201)
        t.equal(await cross('d', 'd2'), 201)
        t.equal(await text(dav.overlay, 'file2'), 'f')
        t.same(await list(dav.overlay, 'd2/e'), ['b'])
        t.same(await list(dav.overlay), method === 'MOVE' ? ['d2', 'file2'] : ['d', 'd2', 'file', 'file2'])
      },
      { moreViews: ['second'] },
    )
  })
}

t.test('MOVE of a file is a rename: same identity, properties along, whiteout behind', async (t) => {
  await withDav(t, [{ a: 'A', b: 'B' }], async (dav) => {
    await dav.ask('PROPPATCH', '/overlay/a', { body: set('1') })
    const { etag } = (await dav.ask('GET', '/overlay/a')).headers
    t.equal(await send(dav, 'MOVE', 'a', 'b', { overwrite: 'F' }), 412)
    t.equal(await send(dav, 'MOVE', 'a', 'b'), 204)
    t.equal((await dav.ask('GET', '/overlay/b')).headers.etag, etag)
    t.equal(await property(dav, 'b'), '1')
    t.equal((await dav.ask('GET', '/overlay/a')).status, 404)
    t.same(onDisk(dav.upper), ['!a', 'b'])
  })
})

t.test('MOVE of a lower collection moves no data', async (t) => {
  await withDav(t, [{ 'd/a': '1', 'd/e/b': '2', 'old/x': '3' }], async (dav) => {
    t.equal(await send(dav, 'MOVE', 'd', 'new/'), 201)
    t.same(onDisk(dav.upper), ['!d', 'new/'])
    t.same(onDisk(join(dav.upper, 'new')), [], 'only the directory was made, with a redirect')
    t.equal((await dav.ask('GET', '/overlay/new/e/b')).body, '2')
    t.equal(await send(dav, 'MOVE', 'new', 'old'), 204)
    t.same(await list(dav.overlay, 'old'), ['a', 'e'])
    t.equal(await send(dav, 'MOVE', 'old', 'x', { depth: '0' }), 400)
  })
})

t.test('MOVE of a lower collection works with redirect_dir off, by a copy', async (t) => {
  await withDav(
    t,
    [{ 'd/a': '1', 'd/e/b': '2' }],
    async (dav) => {
      t.equal(await send(dav, 'MOVE', 'd', 'new'), 201)
      t.same(await list(dav.overlay), ['new'])
      t.equal(await text(dav.overlay, 'new/e/b'), '2')
      t.same(onDisk(dav.upper), ['!d', 'new/'])
    },
    { options: ',redirect_dir=off' },
  )
})

t.test('MOVE takes a symlink itself, and does not carry locks along', async (t) => {
  await withDav(
    t,
    [{ 'd/file': 'x', a: 'A' }],
    async (dav) => {
      t.equal(await send(dav, 'MOVE', 'link', 'd/link'), 201)
      t.ok(lstatSync(join(dav.upper, 'd/link')).isSymbolicLink())
      t.equal((await dav.ask('GET', '/overlay/d/file')).body, 'x')
      const lock = await dav.ask('LOCK', '/overlay/a', { body: lockInfo() })
      t.equal(await send(dav, 'MOVE', 'a', 'b'), 423)
      t.equal(await send(dav, 'MOVE', 'a', 'b', { if: `(<${tokenOf(lock)}>)` }), 201)
      t.equal((await dav.ask('PUT', '/overlay/b', { body: 'free' })).status, 204)
      t.equal((await dav.ask('PUT', '/overlay/a', { body: 'free' })).status, 201)
    },
    { prepare: ([lower]) => symlinkSync('/d/file', join(String(lower), 'link')) },
  )
})
