import { execFileSync } from 'node:child_process'
import {
  chownSync,
  copyFileSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import type { Exported } from '../../server/layers/export.ts'
import type { LayerDescription } from '../../server/layers/layer-requests.ts'
import { kernelOverlay } from '../helpers/kernel-mount.ts'
import { overlayd, overlaydJson } from '../server/layers/cli.ts'

// Images by skopeo, umoci and podman, in both directions.

t.setTimeout(300_000)

function run(program: string, ...words: readonly string[]): string {
  return execFileSync(program, words, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] })
}

/** What is in a directory: paths, types, modes, owners, times in seconds, targets and contents; the root without its time. */
function shown(dir: string): string[] {
  const find = (...words: string[]) => execFileSync('find', words, { cwd: dir, encoding: 'latin1' }).split('\n')
  const lines = find('-mindepth', '1', '-printf', '%P %y %m %U:%G %T@ %l\n')
  const files = find('-type', 'f', '-exec', 'sha256sum', '{}', '+')
  return [...lines.map((line) => line.replace(/ (\d+)\.\d+ /, ' $1 ')), ...files].sort()
}

/** A small root directory. */
function makeRoot(dir: string): string {
  for (const name of ['bin', 'etc/conf', 'gone', 'replaced']) mkdirSync(join(dir, name), { recursive: true })
  writeFileSync(join(dir, 'bin/program'), 'x'.repeat(100_000), { mode: 0o755 })
  writeFileSync(join(dir, 'etc/conf/a'), 'a')
  writeFileSync(join(dir, 'etc/conf/b'), 'b')
  writeFileSync(join(dir, 'gone/file'), 'gone')
  writeFileSync(join(dir, 'replaced/old'), 'old')
  symlinkSync('bin', join(dir, 'sbin'))
  chownSync(join(dir, 'etc/conf/a'), 12, 34)
  lutimesSync(join(dir, 'etc/conf/a'), 981_173_106, 981_173_106)
  return dir
}

t.test('an exported image is taken by skopeo, umoci and podman, and shows what the layer has', async (t) => {
  const dir = t.testdir({})
  const [root, store] = [makeRoot(join(dir, 'root')), ['--store', join(dir, 'store')]]
  const added = await overlaydJson<LayerDescription>('layer', 'add', 'base', '--from', root, ...store)
  const archive = join(dir, 'base.tar')
  const exported = await overlaydJson<Exported>('export', 'layer:base', '--to', archive, ...store)
  const { Layers } = JSON.parse(run('skopeo', 'inspect', `oci-archive:${archive}:1`)) as { Layers: string[] }
  t.same(Layers, [added.digest], 'its layer has the digest of the version')

  const again = await overlaydJson<Exported>('export', 'layer:base@1', '--to', join(dir, 'again.tar'), ...store)
  t.equal(again.digest, exported.digest, 'the same layer makes the same bytes')
  t.ok(readFileSync(archive).equals(readFileSync(join(dir, 'again.tar'))))
  const copy = join(dir, 'copy')
  run('cp', '-a', root, copy)
  const other = ['--store', join(dir, 'other-store')]
  await overlaydJson('layer', 'add', 'base', '--from', copy, ...other)
  const elsewhere = await overlaydJson<Exported>('export', 'layer:base', '--to', join(dir, 'third.tar'), ...other)
  t.equal(elsewhere.digest, exported.digest, 'also in another store')

  run('skopeo', 'copy', '--quiet', `oci-archive:${archive}:1`, `oci:${dir}/layout:latest`)
  run('umoci', 'unpack', '--image', `${dir}/layout:latest`, join(dir, 'bundle'))
  t.same(shown(join(dir, 'bundle/rootfs')), shown(root), 'umoci unpacks the same')

  // podman takes no long paths.
  const place = mkdtempSync(join(tmpdir(), 'podman-'))
  t.teardown(() => rmSync(place, { recursive: true, force: true }))
  const podman = (...words: string[]) =>
    run('podman', '--root', `${place}/root`, '--runroot', `${place}/run`, '--storage-driver', 'vfs', ...words)
  const image = /Loaded image: (\S+)/.exec(podman('load', '--quiet', '-i', archive))?.[1] as string
  podman('create', '--name', 'made', '--network', 'none', image, '/bin/program')
  podman('export', '--output', join(dir, 'made.tar'), 'made')
  mkdirSync(join(dir, 'made'))
  run('tar', '-xpf', join(dir, 'made.tar'), '-C', join(dir, 'made'))
  const wanted = shown(root).filter((line) => /bin\/program|etc\/conf/.test(line))
  t.same(
    shown(join(dir, 'made')).filter((line) => /bin\/program|etc\/conf/.test(line)),
    wanted,
    'podman makes a container with the same',
  )
  podman('rm', 'made')
})

t.test('images of umoci and skopeo become layers: several layers, whiteouts, gzip and zstd', async (t) => {
  const dir = t.testdir({})
  const [root, store] = [makeRoot(join(dir, 'root')), ['--store', join(dir, 'store')]]
  const image = `${dir}/image:latest`
  run('umoci', 'init', '--layout', `${dir}/image`)
  run('umoci', 'new', '--image', image)
  run('umoci', 'unpack', '--image', image, join(dir, 'bundle'))
  const rootfs = join(dir, 'bundle/rootfs')
  run('cp', '-a', `${root}/.`, rootfs)
  run('umoci', 'repack', '--image', image, join(dir, 'bundle'))
  rmSync(join(dir, 'bundle'), { recursive: true })
  run('umoci', 'unpack', '--image', image, join(dir, 'bundle'))
  rmSync(join(rootfs, 'gone'), { recursive: true })
  rmSync(join(rootfs, 'etc/conf/b'))
  rmSync(join(rootfs, 'replaced'), { recursive: true })
  mkdirSync(join(rootfs, 'replaced'))
  writeFileSync(join(rootfs, 'replaced/new'), 'new')
  writeFileSync(join(rootfs, 'bin/program'), 'changed')
  run('umoci', 'repack', '--image', image, join(dir, 'bundle'))
  rmSync(join(dir, 'bundle'), { recursive: true })
  run('umoci', 'unpack', '--image', image, join(dir, 'bundle'))

  const layout = await overlaydJson<LayerDescription>('layer', 'add', 'layout', '--from', `oci:${image}`, ...store)
  t.same(shown(layout.path), shown(rootfs), 'gzip, from a layout')
  run('skopeo', 'copy', '--quiet', `oci:${image}`, `oci-archive:${dir}/image.tar:latest`)
  const archive = await overlaydJson<LayerDescription>(
    'layer',
    'add',
    'archive',
    '--from',
    `${dir}/image.tar`,
    ...store,
  )
  t.equal(archive.digest, layout.digest, 'from an archive, whose kind is found out')
  run('skopeo', 'copy', '--quiet', '--dest-compress-format', 'zstd', `oci:${image}`, `dir:${dir}/packed`)
  run(
    'skopeo',
    'copy',
    '--quiet',
    '--dest-compress-format',
    'zstd',
    '--dest-compress',
    `oci:${image}`,
    `oci:${dir}/zstd:latest`,
  )
  const zstd = await overlaydJson<LayerDescription>('layer', 'add', 'zstd', '--from', `${dir}/zstd`, ...store)
  t.equal(zstd.digest, layout.digest, 'zstd, if skopeo compresses so')
})

t.test('an image whose blob is damaged is refused', async (t) => {
  const dir = t.testdir({})
  const store = ['--store', join(dir, 'store')]
  await overlaydJson('layer', 'add', 'base', '--from', makeRoot(join(dir, 'root')), ...store)
  await overlaydJson('export', 'layer:base', '--to', join(dir, 'base.tar'), ...store)
  run('skopeo', 'copy', '--quiet', `oci-archive:${dir}/base.tar:1`, `oci:${dir}/layout:latest`)
  const blob = run('find', join(dir, 'layout/blobs'), '-size', '-4k', '-type', 'f').trim().split('\n')
  for (const file of blob) {
    const before = readFileSync(file)
    const broken = Buffer.from(before)
    broken[before.length - 10]! ^= 1
    writeFileSync(file, broken)
    const { status, err } = await overlayd('layer', 'add', 'broken', '--from', `${dir}/layout`, ...store)
    t.equal(status, 2)
    t.match(err, /its content has another digest; fetch it again|cannot be decompressed/)
    writeFileSync(file, before)
  }
  t.same(
    (await overlaydJson<LayerDescription[]>('layer', 'list', ...store)).map(({ layer }) => layer),
    ['base'],
  )
})

t.test('the kernel mounts a stack of imported layers, and its upper becomes a layer', async (t) => {
  const dir = t.testdir({ mnt: {}, upper: {}, work: {}, again: {} })
  const store = ['--store', join(dir, 'store')]
  const root = makeRoot(join(dir, 'root'))
  const base = await overlaydJson<LayerDescription>('layer', 'add', 'base', '--from', root, ...store)
  const options = `lowerdir=${base.path},upperdir=${dir}/upper,workdir=${dir}/work`
  const mnt = join(dir, 'mnt')
  const seen = await kernelOverlay(mnt, options, () => {
    t.same(shown(mnt), shown(root))
    rmSync(join(mnt, 'gone'), { recursive: true })
    rmSync(join(mnt, 'replaced'), { recursive: true })
    mkdirSync(join(mnt, 'replaced'))
    copyFileSync(join(mnt, 'etc/conf/a'), join(mnt, 'replaced/new'))
    writeFileSync(join(mnt, 'bin/program'), 'changed')
    return shown(mnt)
  })
  const changes = await overlaydJson<LayerDescription>(
    'layer',
    'add',
    'changes',
    '--from',
    join(dir, 'upper'),
    ...store,
  )
  await overlaydJson('export', 'layer:changes', '--format', 'oci-layer', '--to', join(dir, 'changes.tar'), ...store)
  t.match(run('tar', '-tf', join(dir, 'changes.tar')), /^\.wh\.gone$/m)
  const back = await overlaydJson<LayerDescription>(
    'layer',
    'add',
    'back',
    '--from',
    join(dir, 'changes.tar'),
    ...store,
  )
  t.equal(back.digest, changes.digest, 'as a tar file with whiteouts and back')
  await overlaydJson('export', 'layer:back', '--format', 'overlay-dir', '--to', join(dir, 'directory'), ...store)
  for (const upper of [changes.path, back.path, join(dir, 'directory')])
    await kernelOverlay(join(dir, 'again'), `ro,lowerdir=${upper}:${base.path}`, () => {
      t.same(shown(join(dir, 'again')), seen, upper)
    })
})
