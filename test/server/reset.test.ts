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
  t.match(await command('reset', 'course/daemon', 'sub', '--yes'), { status: 2, stderr: /takes no further word/ })
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
