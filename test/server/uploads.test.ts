import { readdirSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { request } from 'undici'
import { AS_SERVER, start } from './launch.ts'

const TUS = { 'Tus-Resumable': '1.0.0' }
const PIECE = { ...TUS, 'Content-Type': 'application/offset+octet-stream' }

t.test('an upload goes on where it stood after the server was stopped, and after it was killed', async (t) => {
  const dir = t.testdir({ lower: { d: {} }, upper: {}, work: {}, state: {} })
  const layers = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
  const args = [
    '-o',
    layers,
    '--webdav',
    '127.0.0.1:0',
    '--nfs',
    'off',
    ...AS_SERVER,
    '--state-dir',
    `${dir}/state`,
    'share',
  ]
  let server = await start(t, args)
  const ask = async (method: string, path: string, headers: Record<string, string> = {}, body?: string) => {
    const url = new URL(path, server.webdavUrl)
    const answer = await request(url, { method: method as 'GET', headers, body: body ?? null })
    return { status: answer.statusCode, headers: answer.headers, body: await answer.body.text() }
  }
  const create = async (name: string, length: number) => {
    const metadata = `filename ${Buffer.from(name).toString('base64')}`
    const fields = { ...TUS, 'Upload-Length': String(length), 'Upload-Metadata': metadata }
    return String((await ask('POST', '/share/d/', fields)).headers.location)
  }
  const left = await create('left', 10)
  const location = await create('ü.bin', 15)
  for (const [signal, from] of [
    ['SIGTERM', 0],
    ['SIGKILL', 5],
  ] as const) {
    const sent = await ask('PATCH', location, { ...PIECE, 'Upload-Offset': String(from) }, 'hello')
    t.equal(sent.status, 204)
    await server.stop(signal)
    server = await start(t, args)
    const state = await ask('HEAD', location, TUS)
    t.match(state, { status: 200, headers: { 'upload-offset': String(from + 5), 'upload-length': '15' } })
  }
  t.equal((await ask('GET', '/share/d/%C3%BC.bin')).status, 404)
  t.equal((await ask('PATCH', location, { ...PIECE, 'Upload-Offset': '10' }, 'world')).status, 204)
  t.equal((await ask('GET', '/share/d/%C3%BC.bin')).body, 'hellohelloworld')
  t.equal((await ask('DELETE', left, TUS)).status, 204)
  t.same(readdirSync(join(dir, 'work/uploads')), [])
  await server.stop()
})

t.test('what was left of an upload goes after its time, though the server was restarted and nobody asks', async (t) => {
  const dir = t.testdir({ lower: {}, upper: {}, work: {}, state: {} })
  const layers = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
  const args = ['-o', layers, '--webdav', '127.0.0.1:0', '--nfs', 'off', ...AS_SERVER, '--state-dir', `${dir}/state`]
  const before = await start(t, [...args, 'share'])
  const metadata = `filename ${Buffer.from('f').toString('base64')}`
  const headers = { ...TUS, 'Upload-Length': '10', 'Upload-Metadata': metadata }
  const created = await request(new URL('/share/', before.webdavUrl), { method: 'POST', headers })
  await created.body.dump()
  t.equal(created.statusCode, 201)
  await before.stop()
  const uploads = join(dir, 'work/uploads')
  const kept = readdirSync(uploads)
  t.ok(kept.length > 0)
  const long = Date.now() / 1000 - 3 * 24 * 3600
  for (const name of kept) utimesSync(join(uploads, name), long, long)
  const server = await start(t, [...args, 'share'])
  for (let tries = 0; readdirSync(uploads).length > 0 && tries < 500; tries++) await sleep(20)
  t.same(readdirSync(uploads), [])
  await server.stop()
})
