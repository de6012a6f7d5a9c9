import { existsSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { STATUS } from '../helpers/nfs-client.ts'
import { AS_ROOT, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('views are made, listed, renamed and removed while the server runs', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t, { more: '' })
  const view = (...words: string[]) => run(['view', ...words, '--state-dir', join(dir, 'state')])
  t.match(await view('list'), { status: 0, stdout: 'there are no views yet\n' })
  t.equal((await nfs.mnt('/course/daemon')).status, STATUS.NOENT, 'a request makes none unless the template allows it')
  t.equal((await dav('GET', '/course/~daemon/welcome.txt')).status, 404)
  const made = await view('create', 'course/daemon')
  t.match(made, { status: 0, stdout: /^made course\/daemon \(\S+\/views\/[0-9a-f]{16}\)\n$/, stderr: '' })
  t.match(await view('list'), { stdout: /^VIEW +OWNER +MADE +STATE\ncourse\/daemon +1:1 +20\S+ \S+ +closed\n$/ })

  const daemon = nfs.as(DAEMON.uid)
  const root = await daemon.mount('/course/daemon')
  const file = (await daemon.create(root, 'f')).handle!
  const shown = JSON.parse((await view('show', 'course/daemon', '--json')).stdout)
  t.match(shown, { path: 'course/daemon', name: 'daemon', uid: 1, gid: 1, state: 'open', id: /^[0-9a-f]{16}$/ })
  t.match(await view('show', 'course/daemon'), { stdout: /^view: +course\/daemon\nid: +[0-9a-f]{16}\nowner: +1:1\n/ })

  t.match(await view('rename', 'course/daemon', 'other'), { status: 0, stdout: /^renamed course\/other / })
  t.equal((await daemon.getattr(file)).status, STATUS.OK, 'handles stay valid')
  t.equal((await nfs.mnt('/course/daemon')).status, STATUS.NOENT)
  t.same(await daemon.mount('/course/other'), root)
  t.equal((await dav('GET', '/course/~other/f')).status, 200)

  t.match(await view('remove', 'course/other'), { status: 2, stderr: /asks before it changes anything; add --yes/ })
  t.match(await view('remove', 'course/other', '--yes'), { status: 0, stdout: /^removed course\/other / })
  t.equal((await daemon.getattr(file)).status, STATUS.STALE)
  t.notOk(existsSync(shown.directory), 'its directory is gone')
  t.equal((await view('create', 'course/daemon')).status, 0)
  t.equal((await daemon.getattr(file)).status, STATUS.STALE, 'a new view of the same name is another one')
  t.notSame(await daemon.mount('/course/daemon'), root)
})

t.test('what cannot be done is refused, with the mend', AS_ROOT, async (t) => {
  const { dir } = await course(t, { more: 'max_views = 2' })
  const view = async (...words: string[]) => {
    const { status, stderr } = await run(['view', ...words, '--state-dir', join(dir, 'state')])
    return [status, stderr.trim()]
  }
  t.match(await view('create', 'course/nobody-by-this-name'), [2, /there is no user "nobody-by-this-name"; add one/])
  t.match(await view('create', 'curse/daemon'), [2, /there is no template "curse"; the templates are: course/])
  t.match(await view('create', 'daemon'), [2, /"daemon" is not the path of a view; use TEMPLATE\/NAME/])
  t.match(await view('show', 'course/daemon'), [2, /there is no view course\/daemon; see overlayd view list course/])
  t.same(await view('create', 'course/daemon'), [0, ''])
  t.match(await view('create', 'course/daemon'), [2, /course\/daemon exists already; choose another name/])
  t.match(await view('show', 'course/demon'), [2, /did you mean daemon\?/])
  t.same(await view('create', 'course/bin'), [0, ''])
  t.match(await view('rename', 'course/bin', 'Daemon'), [2, /course\/Daemon differs from course\/daemon only in case/])
  t.match(await view('create', 'course/games'), [2, /course has 2 views already; remove one, or raise max_views/])
  t.match(await view('remove', 'course/games', '--yes'), [2, /there is no view course\/games/])
  t.match(await view('rename', 'course/bin'), [2, /rename needs the new name/])
  t.match(await view('delete', 'course/bin'), [2, /word after view/])
  for (const name of ['..', 'a/b', 'a\u0001b', 'x'.repeat(300), '~daemon', ' daemon', 'jose\u0301'])
    t.match(await view('create', `course/${name}`), [2, /; /], JSON.stringify(name.slice(0, 20)))
})
