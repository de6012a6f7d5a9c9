import t from 'tap'
import { onDisk } from '../../../helpers/overlay.ts'
import { lockInfo, tokenOf, withDav } from '../dav-fixture.ts'

const RESTORE = { headers: { 'Overlay-Action': 'restore' } }

t.test("the lower's version of a changed file is restored, with its old entity tag", async (t) => {
  await withDav(t, [{ f: 'lower' }], async ({ ask, upper }) => {
    const before = await ask('GET', '/overlay/f')
    await ask('PUT', '/overlay/f', { body: 'changed' })
    t.equal((await ask('GET', '/overlay/f')).body, 'changed')
    const answer = await ask('POST', '/overlay/f', RESTORE)
    t.match(answer, { status: 204, headers: { etag: before.headers.etag as string } })
    const after = await ask('GET', '/overlay/f')
    t.same([after.body, after.headers.etag], ['lower', before.headers.etag])
    t.same(onDisk(upper), [])
  })
})

t.test('a removed file comes back', async (t) => {
  await withDav(t, [{ f: 'lower' }], async ({ ask }) => {
    await ask('DELETE', '/overlay/f')
    t.equal((await ask('GET', '/overlay/f')).status, 404)
    t.equal((await ask('POST', '/overlay/f', RESTORE)).status, 204)
    t.equal((await ask('GET', '/overlay/f')).body, 'lower')
  })
})

t.test('what cannot be restored is refused and stays', async (t) => {
  await withDav(t, [{ f: 'lower', 'd/x': '', a: 'linked', b: '= a' }], async ({ ask }) => {
    await ask('PUT', '/overlay/new', { body: 'n' })
    await ask('PUT', '/overlay/d/x', { body: 'n' })
    for (const path of [
      '/overlay/new',
      '/overlay/f',
      '/overlay/nothing',
      '/overlay/d',
      '/overlay/',
      '/overlay/no/way',
    ]) {
      t.equal((await ask('POST', path, RESTORE)).status, 409, path)
    }
    t.equal((await ask('GET', '/overlay/d/x')).body, 'n')
    t.equal((await ask('POST', '/overlay/f')).status, 400, 'a form of another page cannot do it')
    t.equal((await ask('POST', '/overlay/f', { headers: { 'Overlay-Action': 'other' } })).status, 400)
  })
})

t.test('locks and conditions hold for restoring', async (t) => {
  await withDav(t, [{ f: 'lower' }], async ({ ask }) => {
    await ask('PUT', '/overlay/f', { body: 'changed' })
    const token = tokenOf(await ask('LOCK', '/overlay/f', { body: lockInfo() }))
    t.equal((await ask('POST', '/overlay/f', RESTORE)).status, 423)
    const stale = { 'Overlay-Action': 'restore', If: `(<${token}>)`, 'If-Match': '"other"' }
    t.equal((await ask('POST', '/overlay/f', { headers: stale })).status, 412)
    t.equal((await ask('GET', '/overlay/f')).body, 'changed')
    const good = { 'Overlay-Action': 'restore', If: `(<${token}>)` }
    t.equal((await ask('POST', '/overlay/f', { headers: good })).status, 204)
  })
})
