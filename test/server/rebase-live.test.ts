import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, course, DAEMON } from './course.ts'
import { run } from './launch.ts'
import { addVersion } from './rebase/rebase-course.ts'

t.setTimeout(300_000)

const FIRST = { 'welcome.txt': 'welcome 1', task: 'task 1', 'sub/a.txt': 'A', 'sub/b.txt': 'B' }
const SECOND = { 'welcome.txt': 'welcome 2', task: 'task 2', 'sub/a.txt': 'A', 'sub/new.txt': 'new' }

t.test('a new version of a layer reaches views under clients of both doors', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t, {
    more: 'create = true\nowner = "1:1"\nconflicts = ["both task"]',
    prepare: (dir) => {
      const file = join(dir, 'o.toml')
      const text = readFileSync(file, 'utf8').replace('layers = ["material"]', 'layers = ["layer:material"]')
      writeFileSync(
        file,
        `${text}\n[layers]\ndirectory = "store"\n`.replace('[layers.material]\npath = "material"\n', ''),
      )
      addVersion(join(dir, 'store'), '1', FIRST)
    },
  })
  const overlayd = (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const own = (await daemon.create(root, 'own')).handle!
  t.equal((await daemon.write(own, 0, Buffer.from('first'), 0)).status, STATUS.OK, 'unstable')
  t.equal((await dav('PUT', '/course/~daemon/task', { body: 'my task' })).status, 204)
  t.equal((await dav('MKCOL', '/course/~daemon/folder')).status, 201)
  t.equal((await dav('PUT', '/course/~daemon/folder/f', { body: 'mine' })).status, 201)
  const folder = (await daemon.lookup(root, 'folder')).handle!
  const task = (await daemon.lookup(root, 'task')).handle!
  const lock = await dav('LOCK', '/course/~daemon/folder/f', {
    body: '<lockinfo xmlns="DAV:"><lockscope><exclusive/></lockscope><locktype><write/></locktype></lockinfo>',
  })
  const token = lock.headers['lock-token'] as string

  addVersion(join(dir, 'store'), '2', SECOND)
  t.match(await overlayd('rebase', 'course', '--dry-run'), { status: 0, stdout: '1 on the newest version already\n' })
  t.equal((await overlayd('reload')).status, 0)
  t.equal((await dav('GET', '/course/~bin/welcome.txt')).body, 'welcome 2', 'a new view lies on the new version')
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'welcome 1', 'the others stay')
  const dry = await overlayd('rebase', 'course', '--dry-run')
  t.match(dry, {
    status: 0,
    stdout: /^course\/daemon: material 1 → 2: 3 kept, 0 dropped as identical, 1 changed on both/,
  })
  t.match(dry.stdout, /stale +task +\(you changed it, the new version has changed it; both are kept\)\n/)
  t.match(await overlayd('rebase', 'course/daemon'), {
    status: 2,
    stderr: /asks before it changes anything; add --yes/,
  })
  const done = await overlayd('rebase', 'course/daemon', '--yes', '--json')
  t.equal(done.status, 0, done.stderr)
  const [{ state, aside, conflicts }] = JSON.parse(done.stdout)
  t.equal(state, 'rebased')
  t.match(conflicts, [{ path: 'task', beside: 'task.base-2' }])

  t.equal((await daemon.read(own, 0, 100)).data?.toString(), 'first', 'file handles go on')
  t.equal((await daemon.commit(own)).status, STATUS.OK, 'and writes that were not committed')
  t.equal((await daemon.write(own, 0, Buffer.from('second'), 2)).status, STATUS.OK)
  t.equal((await daemon.read(task, 0, 100)).data?.toString(), 'my task')
  t.equal((await daemon.getattr(root)).status, STATUS.OK)
  t.equal((await daemon.lookup(folder, 'f')).status, STATUS.OK, 'handles of directories that the user made, too')
  t.equal((await dav('GET', '/course/~daemon/own')).body, 'second')
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'welcome 2')
  t.equal((await dav('GET', '/course/~daemon/task.base-2')).body, 'task 2')
  t.equal((await dav('GET', '/course/~daemon/sub/new.txt')).body, 'new')
  t.equal((await dav('GET', '/course/~daemon/sub/b.txt')).status, 404)
  t.equal((await dav('PUT', '/course/~daemon/folder/f', { body: 'x' })).status, 423, 'locks go on')
  const headers = { if: `(${token})` }
  t.equal((await dav('PUT', '/course/~daemon/folder/f', { body: 'locked', headers })).status, 204)

  t.match(await overlayd('conflicts', 'course/daemon'), {
    status: 0,
    stdout: /stale +task .*the new version is task\.base-2\)\n/,
  })
  t.match(await overlayd('conflicts', 'course/bin'), {
    status: 2,
    stderr: /course\/bin was never put on another version/,
  })
  t.equal((await overlayd('rollback', aside, '--yes')).status, 0)
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'welcome 1', 'the old version is there again')
  t.equal((await dav('GET', '/course/~daemon/task')).body, 'my task')
  t.equal((await daemon.read(own, 0, 100)).data?.toString(), 'first')
  t.match(await overlayd('rebase', 'course/daemon', '--at-next-open', '--yes'), {
    status: 0,
    stdout: /^course\/daemon: material 1 → 2, when it is opened next\n/,
  })
  t.match(await overlayd('rebase', 'course/nobody', '--dry-run'), {
    status: 2,
    stderr: /there is no view course\/nobody/,
  })
  t.match(await overlayd('rebase'), { status: 2, stderr: /needs a view/ })
  t.match(await overlayd('conflicts', 'course/daemon', '--yes'), { status: 2, stderr: /--yes: goes with rebase/ })
})
