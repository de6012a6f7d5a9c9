import { existsSync, lstatSync, readlinkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { hrefs, withDav } from './dav-fixture.ts'

const tree = { 'd/f': 'content', 'd/link': '-> f', 'd/out': '-> ../../../../etc/passwd', 'd/up': '-> ..', etc: '-> /d' }
const list = (body: string) => hrefs(body).sort()
const depth1 = { headers: { Depth: '1' } }

t.test('follow: a symlink is what it leads to inside the view, and nothing where it leads out', async (t) => {
  await withDav(t, [tree], async ({ ask }) => {
    t.same(list((await ask('PROPFIND', '/overlay/d/', depth1)).body), [
      ...['/overlay/d/', '/overlay/d/f', '/overlay/d/link', '/overlay/d/up/'],
    ])
    t.equal((await ask('GET', '/overlay/d/link')).body, 'content')
    t.equal((await ask('GET', '/overlay/etc/f')).body, 'content')
    t.equal((await ask('GET', '/overlay/d/out')).status, 404)
  })
})

t.test('hide: there are no symlinks, but their names are taken', async (t) => {
  await withDav(
    t,
    [tree],
    async ({ ask, upper }) => {
      t.same(list((await ask('PROPFIND', '/overlay/d/', depth1)).body), ['/overlay/d/', '/overlay/d/f'])
      for (const path of ['/overlay/d/link', '/overlay/etc/f', '/overlay/d/up/d/f']) {
        t.equal((await ask('GET', path)).status, 404, path)
      }
      t.equal((await ask('PUT', '/overlay/d/link', { body: 'x' })).status, 409)
      t.equal((await ask('DELETE', '/overlay/d/link')).status, 404)
      await ask('COPY', '/overlay/d/', { headers: { Destination: '/overlay/copy/' } })
      t.notOk(existsSync(join(upper, 'copy/link')))
      t.ok(existsSync(join(upper, 'copy/f')))
    },
    { symlinks: 'hide' },
  )
})

t.test('refuse: symlinks are named but not followed; they can be moved and deleted', async (t) => {
  await withDav(
    t,
    [tree],
    async ({ ask, upper }) => {
      const { body } = await ask('PROPFIND', '/overlay/d/', depth1)
      t.match(body, /<D:href>\/overlay\/d\/link<\/D:href><D:status>HTTP\/1.1 403/)
      for (const path of ['/overlay/d/link', '/overlay/etc/f', '/overlay/d/out']) {
        t.equal((await ask('GET', path)).status, 403, path)
      }
      t.equal((await ask('PUT', '/overlay/d/link', { body: 'x' })).status, 403)
      t.equal((await ask('MOVE', '/overlay/d/link', { headers: { Destination: '/overlay/moved' } })).status, 201)
      t.ok(lstatSync(join(upper, 'moved')).isSymbolicLink())
      t.equal(readlinkSync(join(upper, 'moved')), 'f')
      t.equal((await ask('DELETE', '/overlay/moved')).status, 204)
    },
    { symlinks: 'refuse' },
  )
})
