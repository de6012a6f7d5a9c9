import { chmodSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ALICE, list, onDisk } from '../../../helpers/overlay.ts'
import { hrefs, lockInfo, tokenOf, withDav } from '../dav-fixture.ts'

t.test('DELETE of a lower file leaves a whiteout; of a tree one for the tree', async (t) => {
  await withDav(t, [{ 'd/a': '1', 'd/e/b': '2', 'd/e/f/c': '3', file: 'x' }], async ({ ask, upper }) => {
    t.equal((await ask('DELETE', '/overlay/file')).status, 204)
    t.equal((await ask('DELETE', '/overlay/file')).status, 404)
    t.equal((await ask('DELETE', '/overlay/d/')).status, 204)
    t.same(onDisk(upper), ['!d', '!file'])
    t.equal((await ask('PROPFIND', '/overlay/d/e', { headers: { depth: '0' } })).status, 404)
  })
})

t.test('DELETE of a large mixed tree takes all of it', async (t) => {
  await withDav(t, [{ 'd/lower': 'x' }], async ({ ask, overlay, upper }) => {
    await ask('MKCOL', '/overlay/d/many')
    for (let i = 0; i < 600; i++) await ask('PUT', `/overlay/d/many/f${i}`, { body: 'x' })
    let path = '/overlay/d'
    for (let i = 0; i < 40; i++) {
      path += `/level${i}`
      await ask('MKCOL', path)
    }
    t.equal((await ask('DELETE', '/overlay/d')).status, 204)
    t.same(await list(overlay), [])
    t.same(onDisk(upper), ['!d'])
  })
})

t.test('DELETE takes a symlink itself, not what it leads to', async (t) => {
  await withDav(
    t,
    [{ 'd/file': 'x' }],
    async ({ ask, upper }) => {
      for (const path of ['/overlay/link', '/overlay/dir', '/overlay/dangling']) {
        t.equal((await ask('DELETE', path)).status, 204)
      }
      t.equal((await ask('GET', '/overlay/d/file')).body, 'x')
      t.same(onDisk(upper), ['!dangling', '!dir', '!link'])
    },
    {
      prepare: ([lower]) => {
        symlinkSync('d/file', join(String(lower), 'link'))
        symlinkSync('d', join(String(lower), 'dir'))
        symlinkSync('none', join(String(lower), 'dangling'))
      },
    },
  )
})

t.test('what cannot be removed is told in a 207, with its collection kept', async (t) => {
  await withDav(
    t,
    [{ 'd/ok': '1', 'd/closed/in': '2', 'd/open/gone': '3' }],
    async ({ ask, overlay, upper }) => {
      const { status, body } = await ask('DELETE', '/overlay/d')
      t.equal(status, 207)
      t.same(hrefs(body), ['/overlay/d/closed/in'])
      t.match(body, /HTTP\/1.1 403 Forbidden/)
      t.same(await list(overlay, 'd'), ['closed'])
      t.same(onDisk(join(upper, 'd')), ['!ok', '!open'])
    },
    {
      cred: ALICE,
      prepare: ([lower]) => {
        for (const dir of ['', 'd', 'd/open']) chmodSync(join(String(lower), dir), 0o777)
        chmodSync(join(String(lower), 'd/closed'), 0o755)
      },
    },
  )
})

t.test('a collection goes with Depth infinity only, and the root never', async (t) => {
  await withDav(t, [{ 'd/a': '1' }], async ({ ask, upper }) => {
    t.equal((await ask('DELETE', '/overlay/d', { headers: { depth: '0' } })).status, 400)
    t.equal((await ask('DELETE', '/overlay/')).status, 403)
    t.equal((await ask('DELETE', '/')).status, 405)
    t.equal((await ask('DELETE', '/overlay/d/a', { headers: { 'if-match': '"x"' } })).status, 412)
    t.equal((await ask('DELETE', '/overlay/d/#a')).status, 400)
    t.same(onDisk(upper), [])
  })
})

t.test('a locked member keeps the whole tree; its token frees it', async (t) => {
  await withDav(t, [{ 'd/e/a': '1', 'd/b': '2' }], async ({ ask, upper }) => {
    const lock = await ask('LOCK', '/overlay/d/e/a', { body: lockInfo() })
    const refused = await ask('DELETE', '/overlay/d')
    t.equal(refused.status, 207)
    t.same(hrefs(refused.body), ['/overlay/d/e/a'])
    t.match(refused.body, /423 Locked/)
    t.same(onDisk(upper), [])
    t.equal((await ask('DELETE', '/overlay/d/e/a')).status, 423)
    const freed = await ask('DELETE', '/overlay/d', { headers: { if: `</overlay/d/e/a> (<${tokenOf(lock)}>)` } })
    t.equal(freed.status, 204)
    t.equal((await ask('MKCOL', '/overlay/d')).status, 201)
    t.equal((await ask('PUT', '/overlay/d/e', { body: 'x' })).status, 201, 'the lock went with the file')
  })
})

t.test('MKCOL makes a directory, opaque over a deleted one', async (t) => {
  await withDav(t, [{ 'd/a': '1', file: '' }], async ({ ask, overlay, upper }) => {
    const mkcol = async (path: string, more = {}) => (await ask('MKCOL', path, more)).status
    t.equal(await mkcol('/overlay/new'), 201)
    t.equal(await mkcol('/overlay/new/er/'), 201)
    t.equal(await mkcol('/overlay/new'), 405)
    t.equal(await mkcol('/overlay/file'), 405)
    t.equal(await mkcol('/overlay/'), 405)
    t.equal(await mkcol('/overlay/none/x'), 409)
    t.equal(await mkcol('/overlay/file/x'), 409)
    t.equal(await mkcol('/overlay/body', { body: '<mkcol/>' }), 415)
    t.equal((await ask('DELETE', '/overlay/d')).status, 204)
    t.equal(await mkcol('/overlay/d'), 201)
    t.same(await list(overlay, 'd'), [])
    t.same(onDisk(upper), ['d/', 'new/'])
  })
})
