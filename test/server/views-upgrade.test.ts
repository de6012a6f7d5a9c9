import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { NFS, NfsClient, PROCEDURES, STATUS } from '../helpers/nfs-client.ts'
import { NlmClient } from '../helpers/nlm-client.ts'
import { authSys, callMessage, parseReply, RpcClient, record, XdrWriter } from '../helpers/rpc-client.ts'
import { AS_ROOT, configuration } from './course.ts'
import { run, start } from './launch.ts'

t.setTimeout(300_000)

const LOCK =
  '<D:lockinfo xmlns:D="DAV:"><D:lockscope><D:exclusive/></D:lockscope><D:locktype><D:write/></D:locktype></D:lockinfo>'

const FILE = configuration({
  kind: 'shared',
  material: 'lower',
  inDirectory: false,
  more: 'upperdir = "upper"\nworkdir = "work"',
  clients: '127.0.0.1(rw,no_root_squash,insecure)',
  as: 'root',
})
const TEMPLATE = `
[views.users]
stack = "course"
upper = "per-user"
directory = "views"
create = true
[exports.users]
view = "users"
door = "nfs"
clients = ["127.0.0.1(rw,no_root_squash,insecure)"]
`

t.test(
  'handles, locks and replies of the command line outlive the change to a file with templates',
  AS_ROOT,
  async (t) => {
    const dir = t.testdir({ lower: { 'a.txt': 'a' }, upper: {}, work: {}, 'o.toml': FILE + TEMPLATE })
    const line = ['-o', `lowerdir=${dir}/lower,upperdir=${dir}/upper,workdir=${dir}/work`, 'course']
    const more = ['--webdav', '127.0.0.1:0', '--nfs', '127.0.0.1:0', '--as', 'root', '--state-dir', `${dir}/state`]
    const rules = ['--export', '127.0.0.1(rw,no_root_squash,insecure)']
    const first = await start(t, [...line, ...more, ...rules])
    const nfs = await NfsClient.connect(first.nfsPort as number)
    const root = await nfs.mount('/course')
    const file = (await nfs.create(root, 'f')).handle!
    const lower = (await nfs.lookup(root, 'a.txt')).handle!
    t.equal(file.length, 36, 'a handle of version 1')
    const nlm = new NlmClient(nfs.rpc, 'client', authSys(0, 0))
    t.equal(await nlm.lock({ handle: file, owner: 'o', svid: 1, offset: 0n, length: 1n }), 0)
    const dav = async (server: typeof first, method: string, path: string, body?: string) => {
      const { request } = await import('undici')
      const url = new URL(path, new URL(server.webdavUrl as string).origin)
      const answer = await request(url, { method: method as 'GET', body: body ?? null })
      await answer.body.dump()
      return answer.statusCode
    }
    t.equal(await dav(first, 'LOCK', '/course/a.txt', LOCK), 200)
    const remove = record(
      callMessage(
        0x4242,
        [NFS, 3, PROCEDURES.indexOf('REMOVE')],
        authSys(0, 0),
        new XdrWriter().opaque(root).string('once').bytes(),
      ),
    )
    await nfs.create(root, 'once')
    t.equal(parseReply(await nfs.rpc.exchange(0x4242, remove)).results.u32(), STATUS.OK)
    await nfs.close()
    await first.stop('SIGKILL')

    for (const [i, text] of [FILE + TEMPLATE, FILE, FILE + TEMPLATE].entries()) {
      writeFileSync(join(dir, 'o.toml'), text)
      const server = await start(t, ['serve', '--config', join(dir, 'o.toml')])
      const again = await NfsClient.connect(server.nfsPort as number)
      t.equal((await again.getattr(file)).status, STATUS.OK, `start ${i}`)
      t.equal((await again.read(lower, 0, 9)).data.toString(), 'a')
      t.equal(await dav(server, 'PUT', '/course/a.txt', 'x'), 423, 'the WebDAV lock is in force')
      if (i === 0) {
        const late = new NlmClient(again.rpc, 'client', authSys(0, 0))
        const other = { handle: file, owner: 'p', svid: 2, offset: 0n, length: 1n }
        t.equal(await late.lock(other), 4, 'the client is known, so there is a grace period for it')
        const rpc = await RpcClient.connect(server.nfsPort as number)
        const reply = parseReply(await rpc.exchange(0x4242, remove)).results.u32()
        t.equal(reply, STATUS.OK, 'a call that is asked again gets the reply of the server of the command line')
        await rpc.close()
        const view = await again.as(1).mount('/users/daemon')
        t.equal(view.length, 40)
      }
      await again.close()
      t.equal(await server.stop(), 0)
    }
    t.same(readdirSync(join(dir, 'state/nfs-lock-clients')).length, 1, 'one file for all views')
    const list = await run(['view', 'list', '--state-dir', join(dir, 'state')])
    t.equal(list.status, 1, 'no server runs')
    t.ok(existsSync(join(dir, 'views/views.log')))
  },
)
