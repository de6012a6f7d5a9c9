import { execFileSync } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readdirSync, rmSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { RpcClient } from '../helpers/rpc-client.ts'
import { tmpfs } from '../helpers/tmpfs.ts'
import { AS_SERVER, freePorts, type Running, start } from './launch.ts'

t.setTimeout(300_000)
const OPEN = ['--export', '127.0.0.1(rw,insecure,no_root_squash)']

/** A small disk with an upper and a workdir; the state directory is elsewhere. */
function disk(t: Test) {
  const path = tmpfs(t)
  execFileSync('mount', ['-o', 'remount,size=4m', path])
  const lower = join(t.testdir({ lower: { small: 'small\n' } }), 'lower')
  for (const name of ['upper', 'work', 'filler']) mkdirSync(join(path, name))
  writeFileSync(join(path, 'upper/victim'), Buffer.alloc(256 * 1024))
  writeFileSync(join(path, 'upper/second'), Buffer.alloc(256 * 1024))
  const state = join(t.testdirName, 'state')
  const o = `lowerdir=${lower},upperdir=${path}/upper,workdir=${path}/work`
  return { path, state, args: ['-o', o, ...freePorts(state), ...AS_SERVER, ...OPEN] }
}

function fill(path: string): void {
  const fd = openSync(join(path, 'filler/blocks'), 'a')
  for (let bytes = 65_536; bytes >= 1; bytes >>= 4) untilFull(() => writeSync(fd, Buffer.alloc(bytes)))
  closeSync(fd)
}

function untilFull(work: () => void): void {
  try {
    for (;;) work()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error
  }
}

async function nfsOf(t: Test, server: Running): Promise<NfsClient> {
  const client = new NfsClient(await RpcClient.connect(server.nfsPort!))
  t.teardown(() => client.close())
  return client
}

async function dav(server: Running, method: string, name: string, body?: string): Promise<number> {
  const options = { method: method as 'GET', ...(body !== undefined && { body }) }
  const { statusCode, body: answer } = await request(new URL(name, server.webdavUrl), options)
  await answer.dump()
  return statusCode
}

for (const used of [false, true]) {
  const where = `${used ? 'used' : 'never used'} before`
  t.test(`a start on a full disk: ${where}`, async (t) => {
    const { path, args } = disk(t)
    if (used) await (await start(t, args)).stop()
    fill(path)
    const server = await start(t, args)
    t.match(server.stdout(), /Note on overlay: the file system of the upper is full|Warning: .* has no room/)
    const nfs = await nfsOf(t, server)
    const root = await nfs.mount()
    const small = await nfs.lookup(root, 'small')
    t.equal((await nfs.read(small.handle!, 0, 10)).data.toString(), 'small\n')
    t.equal(await dav(server, 'GET', 'small'), 200)
    if (used) {
      t.equal((await nfs.remove(root, 'victim')).status, STATUS.OK, 'NFS makes room')
      t.equal(await dav(server, 'DELETE', 'second'), 204, 'WebDAV makes room')
      t.equal(await dav(server, 'PUT', 'new', 'content'), 201, 'and writes again')
      t.equal((await nfs.create(root, 'made', { mode: 'unchecked' })).status, STATUS.OK)
    }
    rmSync(join(path, 'filler/blocks'))
    t.equal(await server.stop(), 0)
    const again = await start(t, args)
    t.notMatch(again.stdout(), /is full|no room/)
    t.equal(await dav(again, 'PUT', 'later', 'content'), 201)
    t.equal(await again.stop(), 0)
  })

  t.test(`a start on a read-only disk: ${where}`, async (t) => {
    const { path, args } = disk(t)
    let handle: Buffer | undefined
    if (used) {
      const before = await start(t, args)
      const nfs = await nfsOf(t, before)
      handle = Buffer.from((await nfs.lookup(await nfs.mount(), 'small')).handle as Buffer)
      await before.stop()
    }
    execFileSync('mount', ['-o', 'remount,ro', path])
    const server = await start(t, args)
    t.match(server.stdout(), /the file system of the upper is read-only, so the overlay is read-only too/)
    const nfs = await nfsOf(t, server)
    const root = await nfs.mount()
    t.equal((await nfs.lookup(root, 'victim')).status, STATUS.OK)
    t.equal((await nfs.create(root, 'made', { mode: 'unchecked' })).status, STATUS.ROFS)
    t.equal(await dav(server, 'GET', 'small'), 200)
    t.ok((await dav(server, 'PUT', 'new', 'content')) >= 400)
    if (handle !== undefined) t.equal((await nfs.getattr(handle)).status, STATUS.OK, 'an old handle works')
    t.equal(await server.stop(), 0)
    execFileSync('mount', ['-o', 'remount,rw', path])
    const again = await start(t, args)
    t.equal(await dav(again, 'PUT', 'later', 'content'), 201)
    t.equal(await again.stop(), 0)
    t.same(readdirSync(join(path, 'work/work')), [])
  })
}
