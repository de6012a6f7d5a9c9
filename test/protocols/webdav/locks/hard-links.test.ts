import { linkSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { guardChanges, type Inode } from '../../../../overlay-core/index.ts'
import { ROOT, text } from '../../../helpers/overlay.ts'
import { type Ask, type Dav, element, lockInfo, tokenOf, withDav } from '../dav-fixture.ts'

const SET = '<D:propertyupdate xmlns:D="DAV:"><D:set><D:prop><x xmlns="urn:x">1</x></D:prop></D:set></D:propertyupdate>'

/** What changes the file that has the names `a` and `d/b`, asked for at `name`. */
const CHANGES: Record<string, (name: string) => [method: string, path: string, ask: Ask]> = {
  put: (name) => ['PUT', name, { body: 'new' }],
  patch: (name) => [
    'PATCH',
    name,
    { body: 'new', headers: { 'content-type': 'application/x-sabredav-partialupdate', 'x-update-range': 'bytes=0-2' } },
  ],
  range: (name) => ['PUT', name, { body: 'new', headers: { 'content-range': 'bytes 0-2/*' } }],
  proppatch: (name) => ['PROPPATCH', name, { body: SET }],
  copy: (name) => ['COPY', 'other', { headers: { destination: `/overlay/${name}` } }],
  tus: (name) => {
    const [file = '', ...up] = name.split('/').reverse()
    const metadata = `filename ${Buffer.from(file).toString('base64')}`
    return [
      'POST',
      `${up.reverse().join('/')}/`,
      { headers: { 'tus-resumable': '1.0.0', 'upload-length': '0', 'upload-metadata': metadata } },
    ]
  },
}

const linked = {
  prepare: ([lower]: readonly string[]) => linkSync(join(lower as string, 'a'), join(lower as string, 'd/b')),
}
const TREE = { a: 'old', 'd/c': 'c', other: 'other' }

async function statusOf({ ask }: Dav, kind: string, name: string, more: Record<string, string> = {}): Promise<number> {
  const [method, path, { headers, ...rest }] = (CHANGES[kind] as (typeof CHANGES)['put'])(name)
  return (await ask(method, `/overlay/${path}`, { ...rest, headers: { ...headers, ...more } })).status
}

t.test('a lock taken at one name of a file holds at the others', async (t) => {
  await withDav(
    t,
    [TREE],
    async (dav) => {
      const lock = await dav.ask('LOCK', '/overlay/a', { body: lockInfo() })
      const token = tokenOf(lock)
      for (const kind of Object.keys(CHANGES)) t.equal(await statusOf(dav, kind, 'd/b'), 423, kind)
      t.equal(await text(dav.overlay, 'd/b'), 'old')
      for (const path of ['a', 'd/b']) {
        const { body } = await dav.ask('PROPFIND', `/overlay/${path}`, { headers: { depth: '0' } })
        t.match(element(body, 'D:lockdiscovery'), token, path)
        t.match(element(body, 'D:lockroot'), '<D:href>/overlay/a</D:href>')
      }
      const { body: members } = await dav.ask('PROPFIND', '/overlay/d/', { headers: { depth: '1' } })
      t.equal(members.split(`<D:href>${token}</D:href>`).length, 2, 'in the listing of the directory')
      t.equal((await dav.ask('LOCK', '/overlay/d/b', { body: lockInfo() })).status, 423, 'no second lock')
      t.equal((await dav.ask('PUT', '/overlay/d/b', { body: 'mine', headers: { if: `(<${token}>)` } })).status, 204)
      t.equal(await text(dav.overlay, 'a'), 'mine')
      const refresh = await dav.ask('LOCK', '/overlay/d/b', { headers: { if: `(<${token}>)`, timeout: 'Second-60' } })
      t.equal(refresh.status, 200)
      t.equal((await dav.ask('UNLOCK', '/overlay/d/c', { headers: { 'lock-token': `<${token}>` } })).status, 409)
      t.equal((await dav.ask('UNLOCK', '/overlay/d/b', { headers: { 'lock-token': `<${token}>` } })).status, 204)
      for (const kind of Object.keys(CHANGES)) t.ok((await statusOf(dav, kind, 'd/b')) < 300, `${kind} afterwards`)
    },
    linked,
  )
})

t.test('the other names may go and come: only the file is locked', async (t) => {
  await withDav(
    t,
    [TREE],
    async (dav) => {
      await dav.ask('LOCK', '/overlay/a', { body: lockInfo() })
      t.equal((await dav.ask('MOVE', '/overlay/d/b', { headers: { destination: '/overlay/d/e' } })).status, 201)
      t.equal(await statusOf(dav, 'put', 'd/e'), 423)
      t.equal((await dav.ask('DELETE', '/overlay/d/e')).status, 204)
      t.equal(await statusOf(dav, 'put', 'a'), 423)
    },
    linked,
  )
})

t.test(
  'the lock holds the file that was put at its name since, and a deep one those below at other names',
  async (t) => {
    await withDav(t, [TREE], async (dav) => {
      const token = tokenOf(await dav.ask('LOCK', '/overlay/a', { body: lockInfo() }))
      const link = async (from: string, to: string) => {
        const inode = (await dav.overlay.lookup(ROOT, dav.overlay.root, from)) as Inode
        await dav.overlay.link(ROOT, inode, dav.overlay.root, to)
      }
      await dav.ask('PUT', '/overlay/a', { body: 'second', headers: { if: `(<${token}>)` } })
      await link('a', 'a2')
      t.equal(await statusOf(dav, 'put', 'a2'), 423, 'after PUT')
      await dav.ask('COPY', '/overlay/other', {
        headers: { destination: '/overlay/a', if: `</overlay/a> (<${token}>)` },
      })
      t.equal(await text(dav.overlay, 'a2'), 'other', 'COPY keeps the link, as PUT does')
      t.equal(await statusOf(dav, 'put', 'a2'), 423, 'the file is the same')
      await link('a', 'a3')
      t.equal(await statusOf(dav, 'put', 'a3'), 423, 'after COPY')
      t.equal(await statusOf(dav, 'put', 'a', { if: `(<${token}>)` }), 204)
      const deep = tokenOf(await dav.ask('LOCK', '/overlay/d/', { body: lockInfo() }))
      const inside = (await dav.overlay.lookup(
        ROOT,
        (await dav.overlay.lookup(ROOT, dav.overlay.root, 'd')) as Inode,
        'c',
      )) as Inode
      await dav.overlay.link(ROOT, inside, dav.overlay.root, 'c2')
      t.equal(await statusOf(dav, 'put', 'c2'), 423, 'depth infinity')
      t.equal(await statusOf(dav, 'put', 'c2', { if: `(<${deep}>)` }), 204)
    })
  },
)

t.test('with mandatory locks other protocols are held off at every name', async (t) => {
  await withDav(
    t,
    [TREE],
    async (dav) => {
      const others = guardChanges(dav.overlay, dav.handle.changeGuard('overlay'))
      const token = tokenOf(await dav.ask('LOCK', '/overlay/a', { body: lockInfo() }))
      const dir = (await others.lookup(ROOT, others.root, 'd')) as Inode
      const inode = (await others.lookup(ROOT, dir, 'b')) as Inode
      await t.rejects(async () => others.write(ROOT, inode, Buffer.from('x'), 0, 'unstable'), { code: 'EACCES' })
      await t.rejects(async () => others.setattr(ROOT, inode, { size: 0 }), { code: 'EACCES' })
      await dav.ask('UNLOCK', '/overlay/a', { headers: { 'lock-token': `<${token}>` } })
      await others.write(ROOT, inode, Buffer.from('x'), 0, 'unstable')
      t.equal(await text(dav.overlay, 'a'), 'xld')
    },
    linked,
  )
})
