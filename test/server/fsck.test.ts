import { execFileSync } from 'node:child_process'
import { readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { AS_ROOT, course } from './course.ts'
import { run } from './launch.ts'

t.setTimeout(400_000)

t.test('a view is checked while its server runs, and repaired when it does not', AS_ROOT, async (t) => {
  const more = 'create = true\nowner = "1:1"\nquota = "10M"'
  const { dir, dav, server } = await course(t, { more })
  const config = join(dir, 'o.toml')
  const fsck = async (target: string, ...words: string[]) => {
    const { status, stdout, stderr } = await run(['fsck', target, ...words])
    return { status, text: `${stdout}${stderr}` }
  }
  for (const name of ['welcome.txt', 'new.txt'])
    t.ok((await dav('PUT', `/course/~daemon/${name}`, { body: name })).status < 300)
  t.equal((await dav('DELETE', '/course/~daemon/sub/a.txt')).status, 204)
  t.equal((await run(['snapshot', 'course/daemon', 'one', '--state-dir', join(dir, 'state')])).status, 0)
  t.equal((await dav('PUT', '/course/~daemon/new.txt', { body: 'newer' })).status, 204)
  const live = await fsck('course/daemon', '--config', config)
  t.match(live, { status: 0, text: /It is in use/ })
  t.match(await fsck('course/daemon', '--config', config, '--yes'), { status: 2, text: /in use by a server/ })
  await server.stop()

  t.match(await fsck('course/daemon', '--config', config), { status: 0, text: /\/views is right\.\n$/ })
  t.match(await fsck('course', '--config', config), { status: 0, text: /is right/ })
  const views = join(dir, 'views')
  const [id = ''] = readdirSync(views).filter((name) => /^[0-9a-f]{16}$/.test(name))
  t.match(await fsck(join(views, id)), { status: 0, text: /The lowers are not known/ })
  const [layer = ''] = readdirSync(join(views, 'layers'))
  const [upper, frozen] = [join(views, id, 'upper'), join(views, 'layers', layer, 'upper')]
  execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(upper, 'new.txt')])
  execFileSync('mknod', [join(frozen, 'nothing'), 'c', '0', '0'])
  writeFileSync(join(upper, 'beside'), 'written beside the overlay')
  const found = await fsck('course/daemon', '--config', config, '--json')
  t.equal(found.status, 4)
  const { findings } = JSON.parse(found.text) as { findings: { code: string; path: string; repair?: string }[] }
  t.same(findings.map(({ code }) => code).sort(), ['opaque-on-file', 'usage-wrong', 'whiteout-needless'])
  t.equal(findings.find(({ code }) => code === 'whiteout-needless')?.path, join(frozen, 'nothing'))
  t.match(await fsck('course/daemon', '--config', config), {
    status: 4,
    text: /error: \S+new.txt: is marked as an opaque directory, but is none\. A repair would remove the mark\.\n/,
  })
  t.match(await fsck('course/daemon', '--config', config, '--yes'), {
    status: 1,
    text: /3 findings, 0 errors are left, 3 repaired/,
  })
  t.match(await fsck('course/daemon', '--config', config), { status: 0, text: /is right/ })

  renameSync(join(views, 'layers', layer), join(dir, 'lost'))
  writeFileSync(join(views, id, 'view.json'), '')
  const lost = await fsck(views)
  t.equal(lost.status, 4)
  t.match(lost.text, /layers\/[0-9a-f]{16}: is a layer that views or snapshots need, and is gone; put it back/)
  t.match(lost.text, /view\.json: does not say what the registry says of the view daemon/)
  renameSync(join(dir, 'lost'), join(views, 'layers', layer))
  t.match(await fsck(views, '--yes'), { status: 0, text: /Repaired: write it again/ })
  t.match(await fsck('course/nobody', '--config', config), { status: 2, text: /there is no view course\/nobody/ })
  t.match(await fsck('corse', '--config', config), { status: 2, text: /did you mean course\?/ })
  t.match(await fsck(join(dir, 'none')), { status: 2, text: /there is no directory/ })
  t.match(await run(['fsck']), { status: 2, stderr: /needs a view or a directory/ })
})
