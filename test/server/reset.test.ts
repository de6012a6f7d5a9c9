import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('a view is compared with its snapshots, and reset while clients use it', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t)
  const command = (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const welcome = await daemon.walk(root, 'welcome.txt')
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'monday' })
  await dav('MOVE', '/course/~daemon/sub/a.txt', { headers: { destination: '/course/~daemon/moved.txt' } })
  t.match(await command('snapshot', 'course/daemon', 'monday'), { status: 0 })
  const monday = ['R  sub/a.txt → moved.txt', 'M  welcome.txt']
  const names = async (...words: string[]) =>
    (await command('diff', ...words)).stdout
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.replace(/ {2}\(.*/, ''))
  t.same(await names('course/daemon'), monday, 'a snapshot changes nothing')
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'tuesday' })
  await dav('DELETE', '/course/~daemon/moved.txt')
  const made = (await daemon.create(root, 'new')).handle!

  t.same(await names('course/daemon'), ['A  new', 'D  sub/a.txt', 'M  welcome.txt'], 'all changes, in all layers')
  t.same(await names('course/daemon', '--against', 'course/daemon@monday'), [
    'D  moved.txt',
    'A  new',
    'M  welcome.txt',
  ])
  t.same(await names('course/daemon@monday'), monday, 'a snapshot by itself')
  t.match(await command('diff', 'course/daemon@tuesday'), { status: 2, stderr: /has no snapshot "tuesday"/ })

  t.match(await command('reset', 'course/daemon'), { status: 2, stderr: /asks before it changes anything; add --yes/ })
  t.match(await command('reset', 'course/daemon', '--aside', '--yes'), {
    status: 2,
    stderr: /goes with paths of reset/,
  })
  const reset = await command('reset', 'course/daemon', '--yes')
  t.match(reset, { status: 0, stdout: /^reset course\/daemon; what was there before is course\/daemon@before-reset-/ })
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'welcome', 'clients see the material')
  t.equal((await daemon.getattr(welcome)).status, STATUS.OK, 'the handle of an object of the material stays valid')
  t.equal((await daemon.getattr(made)).status, STATUS.STALE, 'that of one that has gone does not')
  t.same(await names('course/daemon'), [])
  await dav('PUT', '/course/~daemon/after', { body: 'x' })
  t.same(await names('course/daemon'), ['A  after'])

  const aside = /@(before-reset-\S+)/.exec(reset.stdout)![1]!
  t.match(await command('rollback', `course/daemon@${aside}`, '--yes', '--drop'), { status: 0 })
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'tuesday', 'a reset can be undone')
  t.match(await command('reset', 'course/daemon', '--yes', '--drop'), { stdout: /what was there before is gone\n$/ })
  t.match((await command('snapshots', 'course/daemon')).stdout, /monday/)
  t.equal((await dav('GET', '/course/~daemon/sub/a.txt')).body, 'A')
})

t.test('paths are reset, restored and deduplicated under clients of both doors', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t, { more: 'create = true\nkeep = ["/keep"]\nephemeral = ["/sub"]' })
  const command = (...words: string[]) => run([...words, '--state-dir', join(dir, 'state')])
  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'monday' })
  const welcome = await daemon.walk(root, 'welcome.txt')
  await dav('PUT', '/course/~daemon/new', { body: 'new' })
  await command('snapshot', 'course/daemon', 'monday')
  await daemon.write(welcome, 0, Buffer.from('tuesday'), 0)
  await dav('DELETE', '/course/~daemon/sub/a.txt')
  const read = async () => (await daemon.read(welcome, 0, 100)).data?.toString()

  t.match(await command('reset', 'course/daemon', 'welcome.txt'), { status: 2, stderr: /add --yes/ })
  const reset = await command('reset', 'course/daemon', 'welcome.txt', 'sub', '--aside', '--yes')
  t.match(reset, {
    status: 0,
    stdout: /^put back 2 objects in course\/daemon; what was there before is course\/daemon@/,
  })
  t.equal(await read(), 'welcome', 'the handle stays, and shows what the material contains')
  t.equal((await dav('GET', '/course/~daemon/sub/a.txt')).body, 'A')
  t.equal((await dav('GET', '/course/~daemon/new')).body, 'new', 'what was not named stays')
  const beside = /copies of it are at (\S+)\n$/.exec(reset.stdout)![1]!
  t.equal((await dav('GET', `/course/~daemon/${beside}`)).body, 'tuesday')
  t.equal((await daemon.write(welcome, 0, Buffer.from('WELCOME'), 2)).status, STATUS.OK, 'and can be written')
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'WELCOME')

  const restored = await command('restore', 'course/daemon@monday', '/welcome.txt', '--yes', '--drop', '--json')
  t.match(JSON.parse(restored.stdout), { count: 1, path: 'course/daemon' })
  t.equal(await read(), 'monday')
  t.match(await command('restore', 'course/daemon@monday', 'welcome.txt', '--yes'), {
    stdout: 'nothing differs there, so nothing was changed in course/daemon\n',
  })
  t.match(await command('restore', 'course/daemon@monday', '--yes'), {
    status: 2,
    stderr: /needs the paths to put back/,
  })
  t.match(await command('dedupe', 'course/daemon'), { status: 0, stdout: /^dropped 0 files of 0 bytes/ })

  await dav('MKCOL', '/course/~daemon/keep')
  await dav('PUT', '/course/~daemon/keep/notes', { body: 'notes' })
  t.match(await command('reset', 'course/daemon', '--yes'), { status: 0 })
  t.equal((await dav('GET', '/course/~daemon/keep/notes')).body, 'notes', 'the rules of the template')
  t.equal((await dav('GET', '/course/~daemon/sub/a.txt')).status, 404)
  t.equal((await dav('GET', '/course/~daemon/sub/')).status, 200)
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).body, 'welcome')
  t.equal((await daemon.getattr(welcome)).status, STATUS.STALE, 'the file that an upload made has gone')
})
