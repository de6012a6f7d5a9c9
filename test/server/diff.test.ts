import { execFileSync } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AS_ROOT, BIN, course, DAEMON } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('what a user changed is printed in every form, while the view is used', AS_ROOT, async (t) => {
  const { dir, nfs, dav } = await course(t)
  const diff = (...words: string[]) => run(['diff', ...words, '--state-dir', join(dir, 'state')])
  const root = await nfs.as(DAEMON.uid).mount('/course/daemon')
  t.same(await diff('course/daemon'), { status: 0, stdout: '', stderr: '' })

  await dav('PUT', '/course/~daemon/welcome.txt', { body: 'hello\n' })
  await dav('PUT', '/course/~daemon/new%20file', { body: 'new\n' })
  await dav('MOVE', '/course/~daemon/sub/a.txt', { headers: { destination: '/course/~daemon/moved.txt' } })
  const daemon = nfs.as(DAEMON.uid)
  await daemon.create(root, Buffer.from('latin1-\xe9', 'latin1').toString('latin1'))
  const short = await diff('course/daemon')
  t.match(short, { status: 0, stderr: '' })
  const lines = short.stdout.split('\n')
  t.match(
    lines.find((line) => line.includes('welcome')),
    /^M {2}welcome\.txt {2}\(content,.* time\)$/,
  )
  t.match(
    lines.find((line) => line.includes('moved')),
    /^R {2}sub\/a\.txt → moved\.txt/,
  )
  t.ok(lines.includes('A  new file'))
  t.match(
    (await diff('course/daemon', 'sub')).stdout,
    /^R {2}sub\/a\.txt → moved\.txt/,
    'a path that it was moved from',
  )
  t.match((await diff('course/daemon', '/new file/')).stdout, /^A {2}new file\n$/)
  t.match((await diff('course/daemon', '--name-only', 'new file', 'welcome.txt')).stdout, 'new file\nwelcome.txt\n')
  t.match(
    (await diff('course/daemon', '--stat')).stdout,
    /welcome\.txt +7 bytes → 6 bytes\n2 added, 1 changed, 1 renamed; /,
  )

  const json = JSON.parse((await diff('course/daemon', '--json')).stdout)
  t.match(
    json.find(({ path }: { path: string }) => path === 'welcome.txt'),
    { kind: 'changed', aspects: ['content', /./], type: 'regular', before: { size: 7 }, after: { size: 6, uid: 0 } },
  )
  const odd = json.find(({ path }: { path: string }) => path.startsWith('latin1-'))
  t.equal(Buffer.from(odd.pathBytes, 'base64').toString('latin1'), 'latin1-\xe9')

  const patch = (await diff('course/daemon', '--patch', 'welcome.txt', 'new file')).stdout
  const copy = join(dir, 'copy')
  cpSync(join(dir, 'material'), copy, { recursive: true })
  writeFileSync(join(copy, 'p'), patch)
  execFileSync('git', ['apply', 'p'], { cwd: copy })
  t.equal(readFileSync(join(copy, 'welcome.txt'), 'utf8'), 'hello\n', 'git takes the patch')
  t.equal(readFileSync(join(copy, 'new file'), 'utf8'), 'new\n')

  await nfs.as(BIN.uid).mount('/course/bin')
  await dav('PUT', '/course/~bin/mine', { body: 'x' })
  const against = (await diff('course/bin', '--against', 'course/daemon', '--name-only')).stdout.split('\n')
  for (const path of ['mine', 'welcome.txt', 'new file', 'sub/a.txt']) t.ok(against.includes(path), path)
})

t.test('what cannot be compared is refused, with the mend', AS_ROOT, async (t) => {
  const { dir } = await course(t)
  const diff = async (...words: string[]) => {
    const { status, stdout, stderr } = await run(['diff', ...words, '--state-dir', join(dir, 'state')])
    return [status, stdout, stderr.trim()]
  }
  await run(['view', 'create', 'course/daemon', '--state-dir', join(dir, 'state')])
  t.match(await diff(), [2, '', /view: is missing; say overlayd diff VIEW/])
  t.match(await diff('course'), [2, '', /course has many views; name one of them as course\/NAME/])
  t.match(await diff('course/demon'), [2, '', /there is no view course\/demon; did you mean course\/daemon\?/])
  t.match(await diff('curse/daemon'), [1, '', /no server of curse runs/])
  t.match(await diff('course/daemon', '--against', 'course/bin'), [2, '', /--against: there is no view course\/bin/])
  t.match(await diff('course/daemon', '--stat', '--json'), [2, '', /--json: cannot be combined with --stat/])
})
