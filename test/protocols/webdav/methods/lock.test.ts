import { readFileSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ALICE, onDisk } from '../../../helpers/overlay.ts'
import { type Answer, type Dav, element, hrefs, lockInfo, tokenOf, withDav } from '../dav-fixture.ts'

function lock(
  dav: Dav,
  path: string,
  headers: Record<string, string> = {},
  scope: 'exclusive' | 'shared' = 'exclusive',
): Promise<Answer> {
  return dav.ask('LOCK', path, { body: lockInfo(scope), headers })
}

async function put(dav: Dav, path: string, headers: Record<string, string> = {}): Promise<number> {
  return (await dav.ask('PUT', path, { body: 'new', headers })).status
}

t.test('an exclusive lock keeps all but its holder from changing the file', async (t) => {
  await withDav(t, [{ 'd/a': 'x' }], async (dav) => {
    const taken = await lock(dav, '/overlay/d/a')
    t.equal(taken.status, 200)
    t.match(tokenOf(taken), /^opaquelocktoken:[0-9a-f-]{36}$/)
    t.match(element(taken.body, 'D:lockdiscovery'), /<D:exclusive\/>.*<D:depth>infinity<.*Second-3600/)
    const refused = await dav.ask('PUT', '/overlay/d/a', { body: 'new' })
    t.equal(refused.status, 423)
    t.match(refused.body, /<D:lock-token-submitted><D:href>\/overlay\/d\/a<\/D:href>/)
    t.equal(
      (
        await dav.ask('PROPPATCH', '/overlay/d/a', {
          body: '<propertyupdate xmlns="DAV:"><set><prop><a/></prop></set></propertyupdate>',
        })
      ).status,
      423,
    )
    t.equal((await dav.ask('DELETE', '/overlay/d/a')).status, 423)
    t.equal((await dav.ask('GET', '/overlay/d/a')).status, 200, 'reading is free')
    t.equal((await lock(dav, '/overlay/d/a')).status, 423)
    t.equal((await lock(dav, '/overlay/d/a', {}, 'shared')).status, 423)
    t.same(onDisk(dav.upper), [])
    t.equal(await put(dav, '/overlay/d/a', { if: `(<${tokenOf(taken)}>)` }), 204)
    t.equal(readFileSync(join(dav.upper, 'd/a'), 'latin1'), 'new')
    t.equal(await put(dav, '/overlay/d/a', { if: '(<opaquelocktoken:guess>)' }), 412)
    t.equal(await put(dav, '/overlay/d/a', { if: `(<opaquelocktoken:guess>) (Not <DAV:no-lock>)` }), 423)
  })
})

t.test('UNLOCK ends it, for the holder of the token only', async (t) => {
  await withDav(t, [{ a: 'x', b: 'y' }], async (dav) => {
    const token = tokenOf(await lock(dav, '/overlay/a'))
    const unlock = async (path: string, field?: string) =>
      (await dav.ask('UNLOCK', path, { headers: field === undefined ? {} : { 'lock-token': field } })).status
    t.equal(await unlock('/overlay/a'), 400)
    t.equal(await unlock('/overlay/a', 'opaquelocktoken:x'), 409, 'a token without brackets is one')
    t.equal(await unlock('/overlay/a', '<opaquelocktoken:x>'), 409)
    t.equal(await unlock('/overlay/b', `<${token}>`), 409)
    t.equal(await unlock('/overlay/a', `<${token}>`), 204)
    t.equal(await unlock('/overlay/a', `<${token}>`), 409)
    t.equal(await put(dav, '/overlay/a'), 204)
  })
})

t.test('a lock on a free name makes an empty file, as davfs2 needs it', async (t) => {
  await withDav(t, [{ 'd/': '' }], async (dav) => {
    const taken = await lock(dav, '/overlay/d/new', { 'if-none-match': '*' })
    t.equal(taken.status, 201)
    t.equal(readFileSync(join(dav.upper, 'd/new'), 'latin1'), '')
    t.equal(
      (await lock(dav, '/overlay/d/new', { 'if-none-match': '*' })).status,
      423,
      'the lock counts before the condition',
    )
    t.equal(await put(dav, '/overlay/d/new'), 423)
    t.equal(await put(dav, '/overlay/d/new', { if: `(<${tokenOf(taken)}>)` }), 204)
    t.equal((await lock(dav, '/overlay/none/x')).status, 409)
    t.equal((await lock(dav, '/overlay/newdir/')).status, 409)
    t.same(onDisk(dav.upper), ['d/'])
  })
})

t.test('shared locks stand side by side, and any of their tokens is enough', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    const one = tokenOf(await lock(dav, '/overlay/a', {}, 'shared'))
    const two = tokenOf(await lock(dav, '/overlay/a', {}, 'shared'))
    t.not(one, two)
    t.equal((await lock(dav, '/overlay/a')).status, 423)
    t.equal(await put(dav, '/overlay/a'), 423)
    t.equal(await put(dav, '/overlay/a', { if: `(<${two}>)` }), 204)
    await dav.ask('UNLOCK', '/overlay/a', { headers: { 'lock-token': `<${two}>` } })
    t.equal(await put(dav, '/overlay/a', { if: `(<${one}>)` }), 204)
  })
})

t.test('depth infinity covers all below; depth 0 the list of members', async (t) => {
  await withDav(t, [{ 'deep/e/a': 'x', 'flat/a': 'y', 'flat/e/': '' }], async (dav) => {
    const deep = tokenOf(await lock(dav, '/overlay/deep'))
    t.equal(await put(dav, '/overlay/deep/e/a'), 423)
    t.equal(await put(dav, '/overlay/deep/e/new'), 423)
    t.equal(await put(dav, '/overlay/deep/e/new', { if: `</overlay/deep> (<${deep}>)` }), 201)
    t.equal((await lock(dav, '/overlay/deep/e/a')).status, 423)
    const flat = tokenOf(await lock(dav, '/overlay/flat', { depth: '0' }))
    t.equal(await put(dav, '/overlay/flat/a'), 204, 'content of members is not locked')
    t.equal(await put(dav, '/overlay/flat/new'), 423)
    t.equal((await dav.ask('MKCOL', '/overlay/flat/dir')).status, 423)
    t.equal((await dav.ask('DELETE', '/overlay/flat/a')).status, 423)
    t.equal(await put(dav, '/overlay/flat/e/new'), 201)
    t.equal(
      (await dav.ask('MKCOL', '/overlay/flat/dir', { headers: { if: `</overlay/flat> (<${flat}>)` } })).status,
      201,
    )
    t.equal((await lock(dav, '/overlay/flat', { depth: '1' })).status, 400)
  })
})

t.test('a lock on a collection that holds locked members is refused with their names', async (t) => {
  await withDav(t, [{ 'd/a': 'x', 'd/b': 'y' }], async (dav) => {
    await lock(dav, '/overlay/d/a')
    const refused = await lock(dav, '/overlay/d')
    t.equal(refused.status, 207)
    t.same(hrefs(refused.body), ['/overlay/d/a', '/overlay/d/'])
    t.match(refused.body, /423 Locked.*424 Failed Dependency/)
    t.equal((await lock(dav, '/overlay/d', { depth: '0' })).status, 200)
  })
})

t.test('locks end with their time, and a refresh gives them a new one', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    const token = tokenOf(await lock(dav, '/overlay/a', { timeout: 'Second-60' }))
    dav.clock.nowMs += 50_000
    const refresh = await dav.ask('LOCK', '/overlay/a', { headers: { if: `(<${token}>)`, timeout: 'Second-100' } })
    t.equal(refresh.status, 200)
    t.match(refresh.body, /Second-100.*http:\/\/example.org\/~me|http:\/\/example.org\/~me.*Second-100/)
    t.equal(refresh.headers['lock-token'], undefined)
    dav.clock.nowMs += 99_000
    t.equal(await put(dav, '/overlay/a'), 423)
    dav.clock.nowMs += 1_000
    t.equal(await put(dav, '/overlay/a'), 204)
    t.equal((await dav.ask('LOCK', '/overlay/a', { headers: { if: `(<${token}>)` } })).status, 412)
    t.equal((await dav.ask('LOCK', '/overlay/a')).status, 400)
    t.match((await lock(dav, '/overlay/a', { timeout: 'Infinite' })).body, /Second-3600/)
  })
})

t.test('the number of locks is bounded, and bodies are checked', async (t) => {
  await withDav(
    t,
    [{ a: '', b: '', c: '' }],
    async (dav) => {
      t.equal((await lock(dav, '/overlay/a')).status, 200)
      t.equal((await lock(dav, '/overlay/b')).status, 200)
      t.equal((await lock(dav, '/overlay/c')).status, 503)
      t.equal((await lock(dav, '/overlay/new')).status, 503)
      t.same(onDisk(dav.upper), [])
      for (const body of [
        'x',
        '<a/>',
        lockInfo().replaceAll('exclusive', 'local'),
        lockInfo().replaceAll('write', 'read'),
      ]) {
        t.equal((await dav.ask('LOCK', '/overlay/c', { body })).status, 400)
      }
    },
    { limits: { locks: 2 } },
  )
})

t.test('a file is locked under all its names that symlinks give it', async (t) => {
  await withDav(
    t,
    [{ 'd/a': 'x' }],
    async (dav) => {
      const token = tokenOf(await lock(dav, '/overlay/link/a'))
      t.equal(await put(dav, '/overlay/d/a'), 423)
      t.equal(await put(dav, '/overlay/link/a'), 423)
      t.equal(await put(dav, '/overlay/d/a', { if: `</overlay/link/a> (<${token}>)` }), 204)
    },
    { prepare: ([lower]) => symlinkSync('d', join(String(lower), 'link')) },
  )
})

t.test('who may not write may not lock', async (t) => {
  await withDav(
    t,
    [{ a: 'x' }],
    async (dav) => {
      t.equal((await lock(dav, '/overlay/a')).status, 403)
      t.equal((await lock(dav, '/overlay/new')).status, 403)
    },
    { cred: ALICE },
  )
})

t.test('If speaks of other resources by tag, and of their entity tags', async (t) => {
  await withDav(t, [{ a: 'x', b: 'y' }], async (dav) => {
    const { etag } = (await dav.ask('GET', '/overlay/b')).headers
    t.equal(await put(dav, '/overlay/a', { if: `</overlay/b> (["no"])` }), 412)
    t.equal(await put(dav, '/overlay/a', { if: `</overlay/b> ([${etag}])` }), 204)
    t.equal(await put(dav, '/overlay/a', { if: `<http://127.0.0.1:${dav.port}/overlay/b> ([${etag}])` }), 204)
    t.equal(await put(dav, '/overlay/a', { if: `<http://elsewhere/overlay/b> ([${etag}])` }), 412)
    t.equal(await put(dav, '/overlay/a', { if: `<http://elsewhere/overlay/b> (Not [${etag}])` }), 204)
    t.equal(await put(dav, '/overlay/a', { if: '(<broken' }), 400)
    t.equal(await put(dav, '/overlay/a', { if: '</overlay/%zz> (<a:b>)' }), 400)
  })
})
