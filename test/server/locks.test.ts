import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { NfsClient } from '../helpers/nfs-client.ts'
import { ANY_PORT, AS_SERVER, freePorts, type Running, run, start } from './launch.ts'

const LOCK_BODY =
  '<?xml version="1.0" encoding="utf-8"?><D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope>' +
  '<D:locktype><D:write/></D:locktype><D:owner><x:who xmlns:x="urn:x" xml:lang="de">K\u00e4the <x:b/></x:who></D:owner></D:lockinfo>'

function layers(t: Test) {
  const dir = t.testdir({ lower: { 'f.txt': 'below\n', d: { a: 'a\n' } }, upper: {}, work: {} })
  const o = `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`
  return { dir, args: ['-o', o, ...freePorts(join(dir, 'state')), ...ANY_PORT, ...AS_SERVER] }
}

async function dav(server: Running, method: string, path: string, headers: Record<string, string> = {}, body?: string) {
  const answer = await request(new URL(path, server.webdavUrl), {
    method: method as 'GET',
    headers,
    body: body ?? null,
  })
  return { status: answer.statusCode, headers: answer.headers, body: await answer.body.text() }
}

async function lock(server: Running, path: string, headers: Record<string, string> = {}): Promise<string> {
  const answer = await dav(server, 'LOCK', path, headers, LOCK_BODY)
  if (answer.status >= 300) throw new Error(`LOCK ${path}: ${answer.status}`)
  return String(answer.headers['lock-token']).slice(1, -1)
}

async function nfs(server: Running): Promise<NfsClient> {
  return NfsClient.connect(server.nfsPort as number)
}

t.setTimeout(120_000)

t.test(
  'locks are in force again after an end in order and after a kill, with owner, depth and time left',
  async (t) => {
    const { dir, args } = layers(t)
    const first = await start(t, args)
    const token = await lock(first, 'd', { timeout: 'Second-3000' })
    const gone = await lock(first, 'f.txt')
    t.equal((await dav(first, 'UNLOCK', 'f.txt', { 'lock-token': `<${gone}>` })).status, 204)
    t.equal(await first.stop(), 0)
    const files = readdirSync(join(dir, 'state/webdav-locks'))
    t.equal(files.length, 1)
    t.equal(statSync(join(dir, 'state/webdav-locks', files[0] as string)).mode & 0o777, 0o600)

    const second = await start(t, args)
    const file = await lock(second, 'f.txt')
    t.equal(await second.stop('SIGKILL'), 'SIGKILL')

    const third = await start(t, args)
    t.equal((await dav(third, 'PUT', 'd/a', {}, 'x')).status, 423)
    t.equal((await dav(third, 'PUT', 'f.txt', {}, 'x')).status, 423)
    const { body } = await dav(third, 'PROPFIND', 'd', { depth: '0' })
    t.match(body, /<x:who xmlns:x="urn:x" xml:lang="de">K\u00e4the <x:b\/><\/x:who>/)
    t.match(body, `<D:locktoken><D:href>${token}</D:href></D:locktoken>`)
    t.match(body, /<D:depth>infinity<\/D:depth>.*<D:timeout>Second-(?:2999|29[0-9]\d|3000)<\/D:timeout>/)
    t.equal((await dav(third, 'PUT', 'd/a', { if: `(<${token}>)` }, 'x')).status, 204)
    t.equal((await dav(third, 'UNLOCK', 'f.txt', { 'lock-token': `<${file}>` })).status, 204)
    t.equal((await dav(third, 'PUT', 'f.txt', {}, 'x')).status, 204)
    t.equal(await third.stop(), 0)
    t.equal(readFileSync(join(dir, 'upper/f.txt'), 'utf8'), 'x')
  },
)

t.test(
  'mandatory locks keep NFS clients from writing, advisory ones do not; reading is free, and UNLOCK lets them in',
  async (t) => {
    const { dir, args } = layers(t)
    execFileSync('chmod', ['-R', 'a+rwX', join(dir, 'lower'), join(dir, 'upper')])
    for (const policy of ['advisory', 'mandatory']) {
      const server = await start(t, [...args, '--locks', policy])
      const refused = policy === 'mandatory' ? 13 : 0
      const client = await nfs(server)
      const root = await client.mount()
      const file = await client.walk(root, 'f.txt')
      const inside = await client.walk(root, 'd/a')
      const [own, deep] = [await lock(server, 'f.txt'), await lock(server, 'd')]
      t.equal((await client.write(file, 0, Buffer.from('N'))).status, refused, `${policy}: WRITE`)
      t.equal((await client.setattr(inside, { size: 1 })).status, refused, `${policy}: SETATTR`)
      t.equal((await client.access(file, 0x3f)).bits & 0x04, refused ? 0 : 0x04, `${policy}: ACCESS modify`)
      t.equal((await client.create(await client.walk(root, 'd'), `new-${policy}`)).status, refused, `${policy}: CREATE`)
      t.equal((await client.rename(root, 'f.txt', root, 'g.txt')).status, refused, `${policy}: RENAME`)
      if (!refused) t.equal((await client.rename(root, 'g.txt', root, 'f.txt')).status, 0)
      t.equal((await client.read(file, 0, 10)).status, 0, 'reading is free')
      t.equal((await dav(server, 'PUT', 'f.txt', { if: `(<${own}>)` }, 'by the holder')).status, 204)
      for (const [path, token] of [['f.txt', own] as const, ['d', deep] as const]) {
        t.equal((await dav(server, 'UNLOCK', path, { 'lock-token': `<${token}>` })).status, 204)
      }
      t.equal((await client.write(await client.walk(root, 'f.txt'), 0, Buffer.from('free'))).status, 0)
      await client.close()
      t.equal(await server.stop(), 0)
      t.equal(readFileSync(join(dir, 'upper/f.txt'), 'utf8'), 'freehe holder')
    }
  },
)

t.test('another policy than these is refused before anything is made', async (t) => {
  const { args } = layers(t)
  t.match(await run([...args, '--locks', 'strict']), {
    status: 2,
    stderr: /--locks: "strict" is not a lock policy; use advisory or mandatory/,
  })
})
