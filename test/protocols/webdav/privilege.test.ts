import { execFileSync } from 'node:child_process'
import { chmodSync, linkSync, lstatSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode } from '../../../overlay-core/index.ts'
import { ROOT } from '../../helpers/overlay.ts'
import { type Dav, withDav } from './dav-fixture.ts'

const NAMES = ['put', 'patch', 'range', 'copied', 'moved', 'tus', 'empty', 'append'] as const
const asRoot = { skip: process.geteuid?.() !== 0 && 'only root has files with these powers' }

/** Files as a lower may have them: setuid, setgid and with a capability. */
function armed(directory: string): void {
  for (const name of NAMES) {
    execFileSync('setcap', ['cap_net_raw+ep', join(directory, name)])
    chmodSync(join(directory, name), 0o6755)
  }
}

async function lookup({ overlay }: Dav, name: string): Promise<Inode> {
  return (await overlay.lookup(ROOT, overlay.root, name)) as Inode
}

function capability(path: string): string {
  return execFileSync('getcap', [path], { encoding: 'utf8' })
}

/** Changes each of the files in another way. */
async function changeAll({ ask }: Dav): Promise<void> {
  const at = (name: string) => `/overlay/${name}`
  const partial = { 'content-type': 'application/x-sabredav-partialupdate' }
  const ok = async (method: string, name: string, rest: Parameters<typeof ask>[2]) => {
    const { status } = await ask(method, at(name), rest)
    if (status >= 300) throw new Error(`${method} ${name}: ${status}`)
  }
  await ok('PUT', 'put', { body: 'evil' })
  await ok('PUT', 'empty', { body: '' })
  await ok('PATCH', 'patch', { body: 'evil', headers: { ...partial, 'x-update-range': 'bytes=0-3' } })
  await ok('PATCH', 'append', { body: 'evil', headers: { ...partial, 'x-update-range': 'append' } })
  await ok('PUT', 'range', { body: 'evil', headers: { 'content-range': 'bytes 0-3/*' } })
  await ok('PUT', 'source', { body: 'evil' })
  await ok('COPY', 'source', { headers: { destination: at('copied') } })
  await ok('MOVE', 'source', { headers: { destination: at('moved') } })
  const tus = { 'tus-resumable': '1.0.0' }
  const metadata = `filename ${Buffer.from('tus').toString('base64')}`
  const created = await ask('POST', '/overlay/', {
    headers: { ...tus, 'upload-length': '4', 'upload-metadata': metadata },
  })
  const piece = { ...tus, 'upload-offset': '0', 'content-type': 'application/offset+octet-stream' }
  const { status } = await ask('PATCH', String(created.headers.location), { headers: piece, body: 'evil' })
  if (status !== 204) throw new Error(`tus: ${status}`)
}

for (const links of [false, true]) {
  t.test(
    `what is written never has the powers of what stood there, also for root${links ? ', at one of several names' : ''}`,
    asRoot,
    async (t) => {
      const tree = Object.fromEntries(NAMES.map((name) => [name, 'original']))
      await withDav(
        t,
        [tree],
        async (dav) => {
          await changeAll(dav)
          for (const name of NAMES) {
            const path = join(dav.upper, name)
            t.equal(lstatSync(path).mode & 0o7777 & ~0o755, 0, name)
            t.equal(capability(path), '', name)
            if (name !== 'empty') t.match(readFileSync(path, 'latin1'), 'evil', name)
            if (!links || name === 'moved') continue
            const other = await dav.ask('GET', `/overlay/${name}-too`)
            t.equal(other.body, readFileSync(path, 'latin1'), 'both names are kept')
          }
          t.equal(lstatSync(join(dav.lowers[0] as string, 'put')).mode & 0o7777, 0o6755)
        },
        {
          prepare: ([lower]) => {
            armed(lower as string)
            if (links)
              for (const name of NAMES) linkSync(join(lower as string, name), join(lower as string, `${name}-too`))
          },
        },
      )
    },
  )
}

t.test('files of the upper lose their powers, too, and keep them when only renamed', asRoot, async (t) => {
  await withDav(t, [{}], async (dav) => {
    for (const name of [...NAMES, 'kept']) await dav.ask('PUT', `/overlay/${name}`, { body: 'original' })
    armed(dav.upper)
    for (const name of NAMES) await dav.overlay.setattr(ROOT, await lookup(dav, name), { mode: 0o6755 })
    await dav.overlay.setattr(ROOT, await lookup(dav, 'kept'), { mode: 0o4755 })
    await changeAll(dav)
    for (const name of NAMES) {
      t.equal(lstatSync(join(dav.upper, name)).mode & 0o7000, 0, name)
      t.equal(capability(join(dav.upper, name)), '', name)
    }
    t.equal((await dav.ask('MOVE', '/overlay/kept', { headers: { destination: '/overlay/renamed' } })).status, 201)
    t.equal(lstatSync(join(dav.upper, 'renamed')).mode & 0o7777, 0o4755)
    t.equal((await dav.ask('COPY', '/overlay/renamed', { headers: { destination: '/overlay/again' } })).status, 201)
    t.equal(lstatSync(join(dav.upper, 'again')).mode & 0o7777, 0o755)
  })
})
