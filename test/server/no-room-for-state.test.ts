import { execFileSync } from 'node:child_process'
import {
  closeSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { RpcClient } from '../helpers/rpc-client.ts'
import { tmpfs } from '../helpers/tmpfs.ts'
import { AS_SERVER, freePorts, type Running, start } from './launch.ts'

t.setTimeout(900_000)
const OPEN = ['--export', '127.0.0.1(rw,insecure,no_root_squash)']

/** Why nothing can be written to a disk. */
type Want = 'blocks' | 'inodes' | 'read-only'

/** Takes from a tmpfs what is `want`ed. */
function take(path: string, want: Want): void {
  if (want === 'read-only') execFileSync('mount', ['-o', 'remount,ro', path])
  if (want === 'inodes') {
    const used = Number(execFileSync('df', ['--output=iused', path], { encoding: 'utf8' }).split('\n')[1])
    execFileSync('mount', ['-o', `remount,nr_inodes=${used}`, path])
  }
  if (want !== 'blocks') return
  const fd = openSync(join(path, 'filler'), 'a')
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

function giveBack(path: string, want: Want): void {
  if (want === 'read-only') execFileSync('mount', ['-o', 'remount,rw', path])
  if (want === 'inodes') execFileSync('mount', ['-o', 'remount,nr_inodes=100000', path])
  rmSync(join(path, 'filler'), { force: true })
}

/** A small disk, and the layers: on it, or elsewhere. */
function place(t: Test, layers: 'there' | 'elsewhere') {
  const disk = tmpfs(t)
  execFileSync('mount', ['-o', 'remount,size=8m', disk])
  const dir = t.testdir({ lower: { small: 'small\n' } })
  const at = layers === 'there' ? disk : dir
  for (const name of ['upper', 'work']) mkdirSync(join(at, name))
  const o = `lowerdir=${join(dir, 'lower')},upperdir=${at}/upper,workdir=${at}/work`
  const state = join(disk, 'state')
  return { disk, state, args: ['-o', o, ...freePorts(state), ...AS_SERVER, ...OPEN] }
}

async function nfsOf(t: Test, server: Running): Promise<NfsClient> {
  const client = new NfsClient(await RpcClient.connect(server.nfsPort!))
  t.teardown(() => client.close())
  return client
}

async function dav(server: Running, method: string, name: string, given: { body?: string; token?: string } = {}) {
  const { body, token } = given
  const headers = token === undefined ? {} : { if: `(<${token}>)` }
  const options = { method: method as 'GET', headers, ...(body !== undefined && { body }) }
  const { statusCode, headers: answered, body: answer } = await request(new URL(name, server.webdavUrl), options)
  await answer.dump()
  const lock = /^<(.*)>$/.exec(String(answered['lock-token'] ?? ''))?.[1]
  return { status: statusCode, lock }
}

const LOCK =
  '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'

/** Half-written files below a directory. */
function leftovers(path: string): string[] {
  if (!existsSync(path)) return []
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).filter((name) => /~$|\.new$/.test(name))
}

for (const want of ['blocks', 'inodes', 'read-only'] as const) {
  for (const used of want === 'inodes' ? [false] : [false, true]) {
    const disk = want === 'read-only' ? 'a read-only disk' : `a disk without ${want}`
    t.test(
      `the state directory, ${used ? 'used' : 'not used'} before, is on ${disk}: all of the overlay works`,
      async (t) => {
        const { disk, state, args } = place(t, 'elsewhere')
        let handle: Buffer | undefined
        let lock: string | undefined
        if (used) {
          const before = await start(t, args)
          const nfs = await nfsOf(t, before)
          handle = Buffer.from((await nfs.lookup(await nfs.mount(), 'small')).handle as Buffer)
          lock = (await dav(before, 'LOCK', 'locked', { body: LOCK })).lock
          t.equal(await before.stop(), 0)
        }
        const key = used ? readFileSync(join(state, 'nfs-handle-key')) : undefined
        take(disk, want)
        const server = await start(t, [...args, '--ready-file', join(disk, 'ready')])
        const nfs = await nfsOf(t, server)
        const root = await nfs.mount()
        const { status, handle: made } = await nfs.create(root, 'made', { mode: 'unchecked' })
        t.equal(status, STATUS.OK)
        t.equal((await nfs.write(made!, 0, Buffer.from('x'), 2)).status, STATUS.OK)
        t.equal((await dav(server, 'PUT', 'put', { body: 'x' })).status, 201)
        if (handle && lock) {
          t.equal((await nfs.getattr(handle)).status, STATUS.OK, 'the key is that of before')
          t.equal((await dav(server, 'PUT', 'locked', { body: 'x' })).status, 423, 'the lock of before is in force')
          t.equal((await dav(server, 'PUT', 'locked', { body: 'x', token: lock })).status, 204)
        } else t.match(server.stdout(), /Warning: .*NFS handles are valid only during this run/)
        const locked = await dav(server, 'LOCK', 'put', { body: LOCK })
        t.equal(locked.status, 200, 'locks are given')
        t.equal((await dav(server, 'PUT', 'put', { body: 'y' })).status, 423, 'and hold')
        t.match(server.stdout(), /Warning: .*WebDAV locks/)
        t.match(server.stdout(), /Warning: .*ready-file/)
        t.match(server.stdout(), /overlayd status and overlayd remount cannot find this server/)
        t.equal(await server.stop(), 0)
        t.same(leftovers(state), [])
        giveBack(disk, want)
        if (key) t.same(readFileSync(join(state, 'nfs-handle-key')), key)
        const again = await start(t, [...args, '--ready-file', join(disk, 'ready')])
        t.equal(statSync(join(state, 'nfs-handle-key')).size, 32)
        t.notMatch(again.stdout(), /Warning: .*(NFS handles|WebDAV locks|NFS clients|ready-file:)/)
        t.ok(existsSync(join(disk, 'ready')))
        t.equal(await again.stop(), 0)
      },
    )

    t.test(
      `everything, ${used ? 'used' : 'not used'} before, is on ${disk}: it is read, and the server ends in order`,
      async (t) => {
        const { disk, args } = place(t, 'there')
        if (used) t.equal(await (await start(t, args)).stop(), 0)
        take(disk, want)
        const server = await start(t, args)
        const nfs = await nfsOf(t, server)
        const root = await nfs.mount()
        const { handle } = await nfs.lookup(root, 'small')
        t.equal((await nfs.read(handle!, 0, 10)).data.toString(), 'small\n')
        t.equal((await dav(server, 'GET', 'small')).status, 200)
        t.equal(await server.stop(), 0)
        giveBack(disk, want)
        const again = await start(t, args)
        t.equal((await dav(again, 'PUT', 'put', { body: 'x' })).status, 201)
        t.equal(await again.stop(), 0)
      },
    )
  }
}

t.test('a disk fills up under a running server, which then ends in order', async (t) => {
  const { disk, args } = place(t, 'there')
  const server = await start(t, args)
  const nfs = await nfsOf(t, server)
  const root = await nfs.mount()
  take(disk, 'blocks')
  const { handle } = await nfs.lookup(root, 'small')
  t.equal((await nfs.getattr(handle!)).status, STATUS.OK)
  t.ok((await dav(server, 'PUT', 'put', { body: 'x' })).status >= 500)
  t.equal(await server.stop(), 0)
})
