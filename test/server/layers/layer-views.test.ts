import { execFileSync } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Committed } from '../../../server/layers/commit.ts'
import type { Exported } from '../../../server/layers/export.ts'
import type { LayerDescription } from '../../../server/layers/layer-requests.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { AS_ROOT, type Course, course } from '../course.ts'
import { overlayd, overlaydJson } from './cli.ts'

/** A course on the layer `material` of the layer store, and commands for its server. */
async function layered(
  t: Test,
  stack = '["layer:material"]',
): Promise<Course & { state: string[]; dav: Course['dav'] }> {
  const all = await course(t, {
    prepare: (dir) => {
      const material = join(dir, 'material')
      writeFileSync(join(material, 'old.txt'), 'old')
      mkdirSync(join(material, 'dir'))
      writeFileSync(join(material, 'dir/inner.txt'), 'inner')
      execFileSync('chmod', ['-R', 'a+rwX', material])
      const config = readFileSync(join(dir, 'o.toml'), 'utf8')
      writeFileSync(join(dir, 'o.toml'), config.replace('layers = ["material"]', `layers = ${stack}`))
      add(dir, 'add', 'material', material)
    },
  })
  return { ...all, state: ['--state-dir', join(all.dir, 'state')] }
}

/** Runs the command before the server is there. */
function add(dir: string, verb: string, name: string, from: string): void {
  const program = join(import.meta.dirname, '../../../server/main.ts')
  execFileSync(process.execPath, [program, 'layer', verb, name, '--from', from, '--config', join(dir, 'o.toml')])
}

t.test(
  'views stay on the version on which they were made, also after a restart; new ones get the newest',
  AS_ROOT,
  async (t) => {
    const { dir, dav, server, state } = await layered(t)
    const read = async (user: string, send = dav) => (await send('GET', `/course/~${user}/old.txt`)).body
    t.equal(await read('daemon'), 'old')
    const newer = join(dir, 'newer')
    mkdirSync(newer)
    writeFileSync(join(newer, 'old.txt'), 'new', { mode: 0o666 })
    execFileSync('chmod', ['a+rwx', newer])
    const made = await overlaydJson<LayerDescription>('layer', 'publish', 'material', '--from', newer, ...state)
    t.match(made, { version: '2', usedBy: ['course'] })
    t.equal(await read('daemon'), 'old', 'a view stays on its version')
    t.equal(await read('bin'), 'new', 'a new one is on the newest')
    const shown = await overlaydJson<LayerDescription[]>('layer', 'show', 'material', ...state)
    t.same(
      shown.map(({ version, usedBy }) => [version, usedBy]),
      [
        ['1', ['course/daemon']],
        ['2', ['course', 'course/bin']],
      ],
    )
    const refused = await overlayd('layer', 'remove', 'material@1', '--yes', ...state)
    t.equal(refused.status, 2)
    t.match(refused.err, /material@1 is used by course\/daemon; let them use another version, or remove them/)
    await server.stop()
    const offline = await overlayd('layer', 'remove', 'material@1', '--yes', '--config', join(dir, 'o.toml'))
    t.match(offline.err, /material@1 is used by course\/daemon/, 'also while no server runs')
    const again = await course(t, { dir })
    t.equal(await read('daemon', again.dav), 'old', 'after a restart')
    t.equal(await read('bin', again.dav), 'new')
    const view = await overlayd('view', 'remove', 'course/daemon', '--yes', ...state)
    t.equal(view.status, 0)
    const removed = await overlayd('layer', 'remove', 'material@1', '--yes', ...state)
    t.match(removed, { status: 0, out: /removed material@1; free its space with overlayd layer gc/ })
    const collected = await overlaydJson<{ digests: string[] }>('layer', 'gc', ...state)
    t.equal(collected.digests.length, 1)
    t.equal(readdirSync(join(dir, 'state/layers/objects')).length, 1)
    t.equal(await read('bin', again.dav), 'new')
  },
)

t.test('a commit makes the changes of a view in use a version of its layer', AS_ROOT, async (t) => {
  const { dir, dav, state } = await layered(t)
  await dav('PUT', '/course/~daemon/new.txt', { body: 'added' })
  await dav('PUT', '/course/~daemon/old.txt', { body: 'changed' })
  await dav('DELETE', '/course/~daemon/welcome.txt')
  await dav('MOVE', '/course/~daemon/dir/', { headers: { Destination: '/course/~daemon/moved/' } })
  const dry = await overlaydJson<Committed>('commit', 'course/daemon', '--as', 'material', '--dry-run', ...state)
  t.same(
    dry.changes.map(({ path, removed }) => `${removed ? 'D' : 'A'} ${path}`),
    ['D dir', 'A moved', 'A moved/inner.txt', 'A new.txt', 'A old.txt', 'D welcome.txt'],
  )
  const done = await overlaydJson<Committed>('commit', 'course/daemon', '--as', 'material:week-2', ...state)
  t.match(done, { version: { layer: 'material', version: 'week-2' }, on: 'material@1' })
  const path = done.version?.path as string
  t.same(readdirSync(path).sort(), ['moved', 'new.txt', 'old.txt', 'sub'], 'as the view shows it, without whiteouts')
  t.equal(readFileSync(join(path, 'old.txt'), 'utf8'), 'changed')
  t.equal((await dav('GET', '/course/~daemon/old.txt')).body, 'changed', 'the view goes on')
  t.equal((await dav('PUT', '/course/~daemon/more.txt', { body: 'more' })).status, 201)
  t.notOk(existsSync(join(path, 'more.txt')))
  t.equal((await dav('GET', '/course/~bin/old.txt')).body, 'changed', 'new views are on it')
  t.same(await overlaydJson('snapshots', 'course/daemon', ...state), [], 'no snapshot is left')
  const taken = await overlayd('commit', 'course/daemon', '--as', 'material:week-2', ...state)
  t.match(taken, { status: 2, err: /material@week-2 exists, and a version never changes/ })
  const [mnt, changes] = [
    join(dir, 'mnt'),
    await overlaydJson<Committed>('commit', 'course/daemon', '--as', 'mine', ...state),
  ]
  t.equal(changes.on, undefined, 'another layer has the changes alone')
  mkdirSync(mnt)
  const base = (await overlaydJson<LayerDescription[]>('layer', 'show', 'material@1', ...state))[0]?.path
  await kernelOverlay(mnt, `ro,lowerdir=${changes.version?.path}:${base}`, () => {
    t.same(
      readdirSync(mnt).sort(),
      ['more.txt', 'moved', 'new.txt', 'old.txt', 'sub'],
      'on the same stack, to the kernel',
    )
  })
})

t.test(
  'a promotion takes chosen changes; what was not changed, and layers below others, are refused',
  AS_ROOT,
  async (t) => {
    const { dav, state } = await layered(t)
    for (const path of ['a.txt', 'sub/b.txt', 'sub/c.txt']) await dav('PUT', `/course/~daemon/${path}`, { body: path })
    const done = await overlaydJson<Committed>('promote', 'course/daemon', 'sub/b.txt', '--to', 'material', ...state)
    const path = done.version?.path as string
    t.same(readdirSync(join(path, 'sub')).sort(), ['a.txt', 'b.txt'])
    t.notOk(existsSync(join(path, 'a.txt')))
    const nothing = await overlayd('promote', 'course/daemon', 'old.txt', '--to', 'material', ...state)
    t.match(nothing, { status: 2, err: /nothing was changed in course\/daemon at old.txt; see overlayd diff/ })
    t.match(await overlayd('commit', 'course/nobody-here', '--as', 'x', ...state), {
      status: 2,
      err: /there is no view/,
    })
    t.match(await overlayd('promote', 'course/daemon', '--to', 'x', ...state), { status: 2, err: /needs paths/ })
  },
)

t.test('a layer that is not the topmost one gets no changes', AS_ROOT, async (t) => {
  const { dav, state } = await layered(t, '["material", "layer:material"]')
  await dav('PUT', '/course/~daemon/a.txt', { body: 'a' })
  const refused = await overlayd('commit', 'course/daemon', '--as', 'material', ...state)
  t.match(refused, { status: 2, err: /material is not the topmost layer of course\/daemon.*name another layer/ })
})

t.test(
  'a view is exported as an image with the layers below, as its changes, and as what it shows',
  AS_ROOT,
  async (t) => {
    const { dir, dav, state } = await layered(t)
    await dav('PUT', '/course/~daemon/new.txt', { body: 'added' })
    await dav('DELETE', '/course/~daemon/welcome.txt')
    const write = async (format: string, to: string) =>
      await overlaydJson<Exported>('export', 'course/daemon', '--format', format, '--to', join(dir, to), ...state)
    const list = (file: string) =>
      execFileSync('tar', ['-tf', join(dir, file)], { encoding: 'utf8' })
        .trim()
        .split('\n')
        .sort()
    const changes = await write('oci-layer', 'changes.tar')
    t.same(list('changes.tar'), ['./', '.wh.welcome.txt', 'new.txt'])
    t.equal((await write('oci-layer', 'changes-again.tar')).digest, changes.digest)
    await write('tar', 'all.tar')
    t.same(list('all.tar'), ['./', 'dir/', 'dir/inner.txt', 'new.txt', 'old.txt', 'sub/', 'sub/a.txt'])
    await write('overlay-dir', 'directory')
    t.same(readdirSync(join(dir, 'directory')).sort(), ['new.txt', 'welcome.txt'])
    await write('oci-archive', 'image.tar')
    const back = await overlaydJson<LayerDescription>('import', 'whole', join(dir, 'image.tar'), ...state)
    t.same(readdirSync(back.path).sort(), ['dir', 'new.txt', 'old.txt', 'sub'])
    const there = await overlayd('export', 'course/daemon', '--to', join(dir, 'image.tar'), ...state)
    t.match(there, { status: 2, err: /image.tar exists; remove it, or choose another name/ })
    rmSync(join(dir, 'directory'), { recursive: true })
  },
)
