import { execFileSync } from 'node:child_process'
import { lstatSync, truncateSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { memberName } from '../../../protocols/webdav/archives/member-name.ts'
import { withDav } from './dav-fixture.ts'

t.test('COPY of a hole takes no room', async (t) => {
  await withDav(
    t,
    [{ sparse: '' }],
    async (dav) => {
      t.equal((await dav.ask('COPY', '/overlay/sparse', { headers: { destination: '/overlay/copy' } })).status, 201)
      const copy = lstatSync(join(dav.upper, 'copy'))
      t.equal(copy.size, 64 * 1024 * 1024)
      t.ok(copy.blocks * 512 < 2 * 1024 * 1024, `${copy.blocks} blocks`)
      execFileSync('cmp', [join(dav.lowers[0] as string, 'sparse'), join(dav.upper, 'copy')])
    },
    {
      prepare: ([lower]) => {
        const path = join(lower as string, 'sparse')
        truncateSync(path, 20 * 1024 * 1024)
        writeFileSync(path, 'in the middle', { flag: 'a' })
        truncateSync(path, 64 * 1024 * 1024)
      },
    },
  )
})

t.test('COPY of a terabyte without data takes moments, with what is at its beginning and end', async (t) => {
  await withDav(
    t,
    [{ sparse: 'begins' }],
    async (dav) => {
      const { status } = await dav.ask('COPY', '/overlay/sparse', { headers: { destination: '/overlay/copy' } })
      t.equal(status, 201)
      const copy = lstatSync(join(dav.upper, 'copy'))
      t.equal(copy.size, 2 ** 40 + 4)
      t.ok(copy.blocks * 512 < 2 * 1024 * 1024, `${copy.blocks} blocks`)
      const read = async (range: string) => (await dav.ask('GET', '/overlay/copy', { headers: { range } })).body
      t.equal(await read('bytes=0-6'), 'begins\0')
      t.equal(await read('bytes=-5'), '\0ends')
    },
    {
      prepare: ([lower]) => {
        const path = join(lower as string, 'sparse')
        truncateSync(path, 2 ** 40)
        writeFileSync(path, 'ends', { flag: 'a' })
      },
    },
  )
})

t.test('names in archives are one component everywhere', (t) => {
  const cases: [string, string][] = [
    ['plain.txt', 'plain.txt'],
    ['..\\..\\evil', '..%5C..%5Cevil'],
    ['\\\\host\\share', '%5C%5Chost%5Cshare'],
    ['C:evil', 'C%3Aevil'],
    ['a: b', 'a%3A b'],
    ['ab:c', 'ab:c'],
    ['.. ', '%2E%2E '],
    ['...', '%2E%2E%2E'],
    ['.hidden', '.hidden'],
  ]
  for (const [name, safe] of cases) t.equal(memberName(name), safe, name)
  t.end()
})

t.test('what a layer brings as properties is checked before it goes out', async (t) => {
  const notes = [
    [['urn:x', 'p', '<x:p xmlns:x="urn:x">good</x:p>']],
    [['urn:x', 'p', '</D:prop><evil/>']],
    [['urn:x', 'p', '<x:p xmlns:x="urn:x"/><evil/>']],
    [['urn:x', 'p"><evil/>', '<x:p xmlns:x="urn:x">bad</x:p>']],
    [['urn:x', 'p', '<?xml version="1.0"?><!DOCTYPE p><x:p xmlns:x="urn:x"/>']],
  ]
  await withDav(t, [{}], async (dav) => {
    for (const [i] of notes.entries()) await dav.ask('PUT', `/overlay/f${i}`, { body: 'x' })
    for (const [i, note] of notes.entries()) {
      const inode = await dav.overlay.lookup({ uid: 0, gid: 0, groups: [] }, dav.overlay.root, `f${i}`)
      await dav.overlay.setProtocolData(
        { uid: 0, gid: 0, groups: [] },
        inode as never,
        'dav',
        Buffer.from(JSON.stringify(note)),
      )
    }
    const { status, body } = await dav.ask('PROPFIND', '/overlay/', { headers: { depth: '1' } })
    t.equal(status, 207)
    t.match(body, '<x:p xmlns:x="urn:x">good</x:p>')
    t.notMatch(body, /evil|DOCTYPE|>bad</)
    t.equal(body.match(/<D:response>/g)?.length, notes.length + 1)
  })
})
