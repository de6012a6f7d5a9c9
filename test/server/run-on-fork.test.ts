import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { AS_ROOT, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(300_000)

t.test('a command runs on a fork, and what it has changed is kept, promoted or dropped', AS_ROOT, async (t) => {
  const { dir, dav } = await course(t, { more: 'create = true\nidle = "1s"' })
  const options = ['--state-dir', join(dir, 'state')]
  const onFork = (words: readonly string[], script: string) =>
    run(['run', '--fork', 'course/daemon', ...words, ...options, '--', 'sh', '-c', script])
  const views = async () => {
    const { stdout } = await run(['view', 'list', '--json', ...options])
    return (JSON.parse(stdout) as { path: string }[]).map(({ path }) => path)
  }
  const get = async (path: string) => (await dav('GET', `/course/~daemon/${path}`)).body
  await dav('PUT', '/course/~daemon/notes', { body: 'mine' })

  const script = 'cat notes welcome.txt; echo built > result; rm sub/a.txt; mkdir out; mv notes out/notes; pwd >&2'
  const dropped = await onFork(['--drop'], script)
  t.equal(dropped.status, 0)
  t.match(dropped.stdout, /^mine/, 'the command sees the view')
  t.match(dropped.stdout, /^A {2}result$/m)
  t.match(dropped.stdout, /^D {2}sub\/a\.txt$/m)
  t.match(dropped.stdout, /^dropped what was changed; course\/daemon is as it was$/m)
  t.notOk(existsSync((/^\/.*overlayd-run-.*$/m.exec(dropped.stderr) ?? [''])[0]), 'the mountpoint is gone')
  t.equal(await get('notes'), 'mine')
  t.equal((await dav('GET', '/course/~daemon/result')).status, 404)
  t.same(await views(), ['course/daemon'])

  const failed = await onFork(['--promote'], 'echo half > result; exit 7')
  t.equal(failed.status, 7, 'the status of the command')
  t.match(failed.stderr, /the command ended with status 7/)
  const [, kept = ''] = /^kept (course\/\S+);/m.exec(failed.stdout) ?? []
  t.match(kept, /^course\/run-/, 'what a failed command has changed is not promoted')
  t.equal((await dav('GET', '/course/~daemon/result')).status, 404)
  await run(['view', 'remove', kept, '--yes', ...options])

  const promoted = await onFork(['--promote'], script)
  t.equal(promoted.status, 0)
  t.match(
    promoted.stdout,
    /^gave course\/daemon what was changed at \d+ paths; what it contained before is course\/daemon@before-merge-/m,
  )
  t.equal(await get('result'), 'built\n')
  t.equal(await get('out/notes'), 'mine')
  t.equal((await dav('GET', '/course/~daemon/notes')).status, 404)
  t.equal((await dav('GET', '/course/~daemon/sub/a.txt')).status, 404)
  t.same(await views(), ['course/daemon'])

  const named = await onFork(['--keep', 'attempt'], 'echo other > result')
  t.match(named.stdout, /^kept course\/attempt;/m)
  t.same((await views()).sort(), ['course/attempt', 'course/daemon'])
  t.equal(await get('result'), 'built\n')
  const { stdout } = await run(['diff', 'course/attempt', '--against', 'course/daemon', ...options])
  t.match(stdout, /^M {2}result/m)

  const signalled = await onFork(['--drop'], 'kill -TERM $$')
  t.equal(signalled.status, 128 + 15)
  const none = await run(['run', '--fork', 'course/daemon', '--drop', ...options, '--', '/no/such/command'])
  t.equal(none.status, 127)
  t.same((await views()).sort(), ['course/attempt', 'course/daemon'])
  t.same(
    readdirSync(tmpdir()).filter((name) => name.startsWith('overlayd-run-')),
    [],
    'no mountpoint is left',
  )
  t.notMatch(readFileSync('/proc/self/mountinfo', 'utf8'), /overlayd-run-/)
})

t.test('wrong words are refused before anything is forked', async (t) => {
  const refused = async (words: readonly string[], why: RegExp) => {
    const { status, stderr } = await run(['run', ...words])
    t.equal(status, 2)
    t.match(stderr, why)
  }
  await refused(['--', 'ls'], /^overlayd: --fork: is missing; say overlayd run --fork/)
  await refused(['--fork', 'course/daemon'], /^overlayd: run: needs a command/)
  await refused(['--fork', 'course/daemon', 'ls'], /takes the command after --, but got "ls"/)
  await refused(['--fork', 'course/daemon', '--drop', '--promote', '--', 'ls'], /--drop: does not go with --promote/)
})
