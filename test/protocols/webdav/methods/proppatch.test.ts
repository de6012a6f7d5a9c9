import { lstatSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { ALICE, at, onDisk, ROOT } from '../../../helpers/overlay.ts'
import { type Dav, element, until, withDav } from '../dav-fixture.ts'

const NS = 'xmlns:D="DAV:" xmlns:A="http://apache.org/dav/props/" xmlns:M="urn:schemas-microsoft-com:" xmlns:x="urn:x"'
const update = (...parts: string[]) =>
  `<?xml version="1.0" encoding="utf-8"?><D:propertyupdate ${NS}>${parts.join('')}</D:propertyupdate>`
const set = (xml: string) => `<D:set><D:prop>${xml}</D:prop></D:set>`
const remove = (xml: string) => `<D:remove><D:prop>${xml}</D:prop></D:remove>`

async function patch(dav: Dav, path: string, ...parts: string[]): Promise<string> {
  const { status, body } = await dav.ask('PROPPATCH', path, { body: update(...parts) })
  if (status !== 207) throw new Error(`status ${status}`)
  return body
}

async function read(dav: Dav, path: string): Promise<string> {
  return Buffer.from((await dav.ask('PROPFIND', path, { headers: { depth: '0' } })).body, 'latin1').toString()
}

t.test('dead properties are kept as they came: namespaces, attributes, language, any characters', async (t) => {
  await withDav(t, [{ 'd/a': 'x' }], async (dav) => {
    const answer = await patch(
      dav,
      '/overlay/d/a',
      set('<x:one x:k="&quot;v&quot;" xml:lang="de">Käse &lt;&amp;&gt; 🧀<in xmlns="urn:in"><x:deep/></in></x:one>'),
      set('<two xmlns="">plain</two>'),
    )
    t.match(answer, /<D:prop><x:one xmlns:x="urn:x"\/><two xmlns=""\/><\/D:prop><D:status>HTTP\/1.1 200 OK</)
    const all = await read(dav, '/overlay/d/a')
    t.ok(
      all.includes(
        '<x:one xmlns:x="urn:x" x:k="&quot;v&quot;" xml:lang="de">Käse &lt;&amp;&gt; 🧀<in xmlns="urn:in"><x:deep/></in></x:one>',
      ),
    )
    t.ok(all.includes('<two>plain</two>'))
    t.same(onDisk(join(dav.upper, 'd')), ['a'], 'the file was copied up')
    await dav.remount()
  })
})

t.test('properties are replaced and removed in document order', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    await patch(dav, '/overlay/a', set('<x:p>1</x:p>'), remove('<x:p/>'), set('<x:p>2</x:p><x:q>3</x:q>'))
    t.equal(element(await read(dav, '/overlay/a'), 'x:p'), '2')
    await patch(dav, '/overlay/a', remove('<x:p/>'), remove('<x:none/>'))
    const all = await read(dav, '/overlay/a')
    t.equal(element(all, 'x:p'), undefined)
    t.equal(element(all, 'x:q'), '3')
  })
})

t.test('all or nothing: a protected property keeps everything as it was', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    const body = await patch(dav, '/overlay/a', set('<x:p>1</x:p>'), set('<D:getetag>"mine"</D:getetag>'))
    t.match(body, /<x:p xmlns:x="urn:x"\/><\/D:prop><D:status>HTTP\/1.1 424 Failed Dependency</)
    t.match(body, /<D:getetag\/><\/D:prop><D:status>HTTP\/1.1 403 Forbidden<.*cannot-modify-protected-property/)
    t.match(await patch(dav, '/overlay/a', remove('<D:resourcetype/>')), /403 Forbidden/)
    t.match(await patch(dav, '/overlay/a', set('<D:getlastmodified>x</D:getlastmodified>')), /409 Conflict/)
    t.equal(element(await read(dav, '/overlay/a'), 'x:p'), undefined)
    t.same(onDisk(dav.upper), [])
  })
})

t.test('executable changes the mode for those who may read', async (t) => {
  await withDav(t, [{ a: { content: 'x', mode: 0o640 }, 'd/': '' }], async (dav) => {
    t.match(await patch(dav, '/overlay/a', set('<A:executable>T</A:executable>')), /200 OK/)
    t.equal(lstatSync(join(dav.upper, 'a')).mode & 0o7777, 0o750)
    t.match(await patch(dav, '/overlay/a', set('<A:executable>F</A:executable>')), /200 OK/)
    t.equal(lstatSync(join(dav.upper, 'a')).mode & 0o7777, 0o640)
    t.match(await patch(dav, '/overlay/a', set('<A:executable>maybe</A:executable>')), /409 Conflict/)
    t.match(await patch(dav, '/overlay/d', set('<A:executable>T</A:executable>')), /409 Conflict/)
  })
})

t.test('what Windows sets after an upload is accepted: times change, the rest is kept', async (t) => {
  await withDav(t, [{ a: 'x' }], async (dav) => {
    const body = await patch(
      dav,
      '/overlay/a',
      set(
        '<M:Win32CreationTime>Fri, 14 Jul 2017 02:40:00 GMT</M:Win32CreationTime>' +
          '<M:Win32LastAccessTime>Fri, 14 Jul 2017 02:40:01 GMT</M:Win32LastAccessTime>' +
          '<M:Win32LastModifiedTime>Fri, 14 Jul 2017 02:40:02 GMT</M:Win32LastModifiedTime>' +
          '<M:Win32FileAttributes>00000020</M:Win32FileAttributes>',
      ),
    )
    t.equal(body.match(/<D:status>/g)?.length, 1)
    t.match(body, /200 OK/)
    const { atimeMs, mtimeMs } = lstatSync(join(dav.upper, 'a'))
    t.same([atimeMs, mtimeMs], [1_500_000_001_000, 1_500_000_002_000])
    t.match(await read(dav, '/overlay/a'), /Win32FileAttributes[^>]*>00000020</)
    t.match(await patch(dav, '/overlay/a', set('<M:Win32LastModifiedTime>soon</M:Win32LastModifiedTime>')), /409/)
  })
})

t.test(
  'times and attributes of Windows are those of the file until a client sets them; read-only is its mode',
  async (t) => {
    const tree = { a: { content: 'x', mode: 0o644 }, '.hidden': '', 'd/': '', locked: { content: 'x', mode: 0o444 } }
    await withDav(t, [tree], async (dav) => {
      const ask = async (path: string) => {
        const wanted = '<M:Win32FileAttributes/><M:Win32CreationTime/>'
        const body = `<D:propfind xmlns:D="DAV:" xmlns:M="urn:schemas-microsoft-com:"><D:prop>${wanted}</D:prop></D:propfind>`
        return (await dav.ask('PROPFIND', path, { headers: { depth: '0' }, body })).body
      }
      const attributes = async (path: string) => /Win32FileAttributes[^>]*>([^<]*)</.exec(await ask(path))?.[1]
      t.equal(await attributes('/overlay/a'), '00000020')
      t.equal(await attributes('/overlay/d'), '00000010')
      t.equal(await attributes('/overlay/.hidden'), '00000022')
      t.equal(await attributes('/overlay/locked'), '00000021')
      const born = lstatSync(join(dav.lowers[0] as string, 'a')).birthtime
      t.match(await ask('/overlay/a'), `Win32CreationTime xmlns:x="urn:schemas-microsoft-com:">${born.toUTCString()}<`)
      const setTo = (text: string) => set(`<M:Win32FileAttributes>${text}</M:Win32FileAttributes>`)
      t.match(await patch(dav, '/overlay/a', setTo('00000007')), /200 OK/)
      t.equal(lstatSync(join(dav.upper, 'a')).mode & 0o7777, 0o444, 'no longer writable')
      t.equal(await attributes('/overlay/a'), '00000007')
      await dav.overlay.setattr(ROOT, await at(dav.overlay, 'a'), { mode: 0o666 })
      t.equal(await attributes('/overlay/a'), '00000006', 'made writable by another door')
      t.match(await read(dav, '/overlay/a'), />00000006</)
      t.match(await patch(dav, '/overlay/a', setTo('00000020')), /200 OK/)
      t.equal(lstatSync(join(dav.upper, 'a')).mode & 0o7777, 0o666)
      t.match(await patch(dav, '/overlay/locked', setTo('00000020')), /200 OK/)
      t.equal(lstatSync(join(dav.upper, 'locked')).mode & 0o7777, 0o644)
      t.match(await patch(dav, '/overlay/d', setTo('00000011')), /200 OK/)
      t.equal(lstatSync(join(dav.upper, 'd')).mode & 0o7777, 0o755, 'of a folder it means something else')
      for (const wrong of ['', 'hidden', '123456789']) t.match(await patch(dav, '/overlay/a', setTo(wrong)), /409/)
      t.match(await patch(dav, '/overlay/a', remove('<M:Win32FileAttributes/>')), /200 OK/)
      t.equal(await attributes('/overlay/a'), '00000020')
    })
  },
)

t.test('properties of a collection, and of many clients at once, are all kept', async (t) => {
  await withDav(t, [{ 'd/a': 'x' }], async (dav) => {
    const { request } = await import('undici')
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const url = `http://127.0.0.1:${dav.port}/overlay/d`
        const answer = await request(url, {
          method: 'PROPPATCH' as 'GET',
          body: update(set(`<x:p${i}>${i}</x:p${i}>`)),
        })
        await answer.body.dump()
      }),
    )
    const all = await read(dav, '/overlay/d')
    for (let i = 0; i < 20; i++) t.equal(element(all, `x:p${i}`), String(i))
  })
})

t.test(
  'properties of many kilobytes are kept; what does not fit is refused with 507 and changes nothing',
  async (t) => {
    await withDav(t, [{ a: 'x' }], async (dav) => {
      await patch(dav, '/overlay/a', set(`<x:p>${'y'.repeat(50_000)}</x:p>`), set('<x:q>kept</x:q>'))
      t.equal(element(await read(dav, '/overlay/a'), 'x:p')?.length, 50_000)
      const answer = await patch(
        dav,
        '/overlay/a',
        set(`<x:r>${'y'.repeat(50_000)}</x:r><A:executable>T</A:executable>`),
        remove('<x:q/>'),
      )
      t.match(answer, /<x:r xmlns:x="urn:x"\/><\/D:prop><D:status>HTTP\/1.1 507 Insufficient Storage</)
      t.match(answer, /executable[^>]*\/><x:q [^>]*\/><\/D:prop><D:status>HTTP\/1.1 424 Failed Dependency</)
      t.equal(element(await read(dav, '/overlay/a'), 'x:q'), 'kept')
      t.equal(lstatSync(join(dav.upper, 'a')).mode & 0o111, 0)
      const large = update(set(`<x:p>${'y'.repeat(1_100_000)}</x:p>`))
      t.equal((await dav.ask('PROPPATCH', '/overlay/a', { body: large })).status, 413)
    })
  },
)

t.test('properties large and small follow MOVE, COPY and PUT, and go with DELETE', async (t) => {
  await withDav(t, [{ 'd/a': 'x', 'd/b': 'y' }], async (dav) => {
    const large = 'y'.repeat(30_000)
    await patch(dav, '/overlay/d/a', set(`<x:p>${large}</x:p>`))
    await patch(dav, '/overlay/d/b', set('<x:p>small</x:p>'))
    await patch(dav, '/overlay/d', set(`<x:p>${large}</x:p>`))
    const ask = async (method: string, path: string, destination = '') =>
      (await dav.ask(method, path, { headers: destination === '' ? {} : { destination } })).status
    t.equal(await ask('COPY', '/overlay/d', '/overlay/copy'), 201)
    t.equal(await ask('MOVE', '/overlay/d', '/overlay/e'), 201)
    t.equal((await dav.ask('PUT', '/overlay/e/a', { body: 'new' })).status, 204)
    for (const top of ['e', 'copy']) {
      for (const path of [`${top}/a`, top]) t.equal(element(await read(dav, `/overlay/${path}`), 'x:p'), large, path)
      t.equal(element(await read(dav, `/overlay/${top}/b`), 'x:p'), 'small')
    }
    t.equal(readdirSync(join(dav.work, 'notes')).length, 4)
    t.equal(await ask('COPY', '/overlay/e/b', '/overlay/e/a'), 204)
    t.equal(element(await read(dav, '/overlay/e/a'), 'x:p'), 'small', 'COPY replaces properties too')
    t.equal(await ask('DELETE', '/overlay/e'), 204)
    t.equal((await dav.ask('PUT', '/overlay/e', { body: 'new' })).status, 201)
    t.equal(element(await read(dav, '/overlay/e'), 'x:p'), undefined)
    await until(() => readdirSync(join(dav.work, 'notes')).length === 2)
  })
})

t.test('bodies that are no update are 400, missing resources 404, others’ files 403', async (t) => {
  await withDav(
    t,
    [{ a: 'x' }],
    async (dav) => {
      for (const body of [
        '',
        '<a/>',
        `<D:propertyupdate ${NS}/>`,
        update('<D:set/>'),
        update('<D:set><x:p/></D:set>'),
      ]) {
        t.equal((await dav.ask('PROPPATCH', '/overlay/a', { body })).status, 400, body)
      }
      t.equal((await dav.ask('PROPPATCH', '/overlay/none', { body: update(set('<x:p/>')) })).status, 404)
      t.equal((await dav.ask('PROPPATCH', '/overlay/a', { body: update(set('<x:p/>')) })).status, 403)
      t.match(await patch(dav, '/overlay/a', set('<A:executable>T</A:executable>')), /403 Forbidden/)
      t.same(onDisk(dav.upper), [])
    },
    { cred: ALICE },
  )
})
