import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { request } from 'undici'
import { NfsClient, STATUS } from '../helpers/nfs-client.ts'
import { type Running, run, start } from './launch.ts'

t.setTimeout(300_000)

/** Users that every Debian has. */
const DAEMON = { uid: 1, gid: 1 }
const BIN = { uid: 2, gid: 2 }

interface Course {
  readonly dir: string
  readonly server: Running
  readonly url: string
  readonly nfs: NfsClient
  /** Sends a WebDAV request and returns status and body. */
  dav(method: string, path: string, options?: { body?: string; headers?: Record<string, string> }): Promise<Answer>
}

interface Answer {
  readonly status: number
  readonly body: string
  readonly headers: Record<string, string | string[] | undefined>
}

/** A server with the per-user template `course` on two clients' machine. `more` is added to its table. */
async function course(t: Test, more = 'create = true', options: { dir?: string; nfs?: string } = {}): Promise<Course> {
  const dir =
    options.dir ??
    t.testdir({
      material: { 'welcome.txt': 'welcome', sub: { 'a.txt': 'A' } },
      'o.toml': configuration(more, options.nfs),
    })
  const server = await start(t, ['serve', '--config', join(dir, 'o.toml')])
  const url = new URL('/', server.webdavUrl).href
  const nfs = await NfsClient.connect(server.nfsPort as number)
  t.teardown(() => nfs.close())
  const dav: Course['dav'] = async (method, path, { body, headers } = {}) => {
    const answer = await request(new URL(path, url), {
      method: method as 'GET',
      body: body ?? null,
      headers: headers ?? {},
    })
    return { status: answer.statusCode, body: await answer.body.text(), headers: answer.headers }
  }
  return { dir, server, url, nfs, dav }
}

function configuration(more: string, clients = '127.0.0.1(rw,root_squash,insecure)'): string {
  return `
[layers.material]
path = "material"
[stacks.course]
layers = ["material"]
[views.course]
stack = "course"
upper = "per-user"
directory = "views"
${more}
[exports.nfs]
view = "course"
door = "nfs"
clients = ["${clients}"]
[exports.web]
view = "course"
door = "webdav"
[webdav]
listen = "127.0.0.1:0"
[nfs]
listen = "127.0.0.1:0"
[server]
state_dir = "state"
`
}

t.test('each user has a view of the same material, over NFS and WebDAV', async (t) => {
  const { dir, nfs, dav } = await course(t)
  const daemon = nfs.as(DAEMON.uid)
  const bin = nfs.as(BIN.uid)
  const own = await daemon.mount('/course/daemon')
  t.equal(own.length, 40, 'a handle with a view of 64 bits')
  const made = await daemon.create(own, 'mine', { mode: 'guarded' })
  t.equal(made.status, STATUS.OK)
  await daemon.write(made.handle!, 0, Buffer.from('of daemon'), 2)
  const other = await bin.mount('/course/bin')
  t.equal((await bin.lookup(other, 'mine')).status, STATUS.NOENT, 'another user does not see the change')
  t.equal((await bin.lookup(other, 'welcome.txt')).status, STATUS.OK, 'but the material')

  t.match(await dav('GET', '/course/~daemon/mine'), { status: 200, body: 'of daemon' })
  t.match(await dav('GET', '/course/~bin/mine'), { status: 404 })
  t.match(await dav('PUT', '/course/~bin/mine', { body: 'of bin' }), { status: 201 })
  t.match(await dav('GET', '/course/~daemon/mine'), { status: 200, body: 'of daemon' })
  const file = (await bin.lookup(other, 'mine')).handle!
  t.equal((await bin.read(file, 0, 100)).data.toString(), 'of bin', 'both doors lead to the same view')
  t.equal((await bin.getattr(file)).attr?.uid, BIN.uid, 'what is written over WebDAV belongs to the user')

  const views = readdirSync(join(dir, 'views')).filter((name) => /^[0-9a-f]{16}$/.test(name))
  t.equal(views.length, 2)
  const uppers = views.map((id) => statSync(join(dir, 'views', id, 'upper')))
  t.same(uppers.map(({ uid }) => uid).sort(), [DAEMON.uid, BIN.uid], 'each upper belongs to its user')
  t.equal(statSync(join(dir, 'views', views[0] as string)).mode & 0o777, 0o700, 'which others cannot reach directly')
  t.equal((await nfs.mnt('/course/nobody-has-this-name')).status, 2, 'a user without an account has no view')
})

t.test('views and their handles outlive the server', async (t) => {
  const first = await course(t)
  const daemon = first.nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const made = await daemon.create(root, 'kept', { mode: 'guarded' })
  await daemon.write(made.handle!, 0, Buffer.from('kept'), 2)
  const material = (await daemon.lookup(root, 'welcome.txt')).handle!
  await first.nfs.close()
  t.equal(await first.server.stop(), 0)
  const second = await course(t, '', { dir: first.dir })
  const again = second.nfs.as(DAEMON.uid)
  t.equal((await again.read(made.handle!, 0, 10)).data.toString(), 'kept')
  t.equal((await again.read(material, 0, 10)).data.toString(), 'welcome')
  t.match(await second.dav('GET', '/course/~daemon/kept'), { status: 200, body: 'kept' })
  t.equal((await run(['status', '--state-dir', join(first.dir, 'state')])).status, 0)
})
