import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { LayerDescription } from '../../../server/layers/layer-requests.ts'
import { kernelOverlay } from '../../helpers/kernel-mount.ts'
import { overlayd, overlaydJson } from './cli.ts'

const IS_ROOT = process.geteuid?.() === 0
const AS_ROOT = { skip: !IS_ROOT && 'only root can make devices and mount' }

/** A tree with everything that a file system can hold. */
function makeTree(dir: string): string {
  mkdirSync(join(dir, 'd/e'), { recursive: true })
  writeFileSync(join(dir, 'd/file'), 'content')
  linkSync(join(dir, 'd/file'), join(dir, 'd/second'))
  symlinkSync('/etc/passwd', join(dir, 'absolute'))
  symlinkSync('../d/file', join(dir, 'd/relative'))
  const deep = join(dir, ...Array.from({ length: 3 }, () => 'l'.repeat(200)))
  mkdirSync(deep, { recursive: true })
  writeFileSync(join(deep, 'n'.repeat(255)), 'deep')
  writeFileSync(Buffer.concat([Buffer.from(`${dir}/name-`), Buffer.from([0xff, 0xfe])]), 'bytes')
  writeFileSync(join(dir, 'ümläut'), 'text')
  writeFileSync(join(dir, 'sparse'), '')
  truncateSync(join(dir, 'sparse'), 3_000_000)
  writeFileSync(join(dir, 'empty'), '')
  execFileSync('setfattr', ['-n', 'user.note', '-v', 'remembered', join(dir, 'd/file')])
  execFileSync('chmod', ['4750', join(dir, 'd/file')])
  execFileSync('touch', ['-h', '-d', '1965-03-01 12:00:00.123456789', join(dir, 'd/file'), join(dir, 'absolute')])
  if (IS_ROOT) {
    execFileSync('chown', ['33:44', join(dir, 'd/file')])
    execFileSync('mknod', [join(dir, 'fifo'), 'p'])
    execFileSync('mknod', [join(dir, 'null'), 'c', '1', '3'])
    execFileSync('mknod', [join(dir, 'd/hidden'), 'c', '0', '0'])
    execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(dir, 'd/e')])
    execFileSync('setcap', ['cap_net_raw+ep', join(dir, 'empty')])
  }
  execFileSync('touch', ['-d', '2001-02-03 04:05:06.7', join(dir, 'd'), join(dir, 'd/e'), dir])
  return dir
}

/** All of a tree that a layer keeps, one code unit for each byte. The mode of a whiteout means nothing, and neither does when it was made. */
function kept(dir: string): string[] {
  const find = (...words: string[]) =>
    execFileSync('find', ['.', ...words], { cwd: dir, encoding: 'latin1' }).split('\n')
  const lines = find('-printf', '%P %y %m %U:%G %n %T@ %l\n').map((line) => line.replace(/^(d\/hidden c) .*/, '$1'))
  return [...lines, ...find('-type', 'f', '-exec', 'sha256sum', '{}', '+')].sort()
}

function attributes(path: string): string {
  return execFileSync('getfattr', ['-R', '-P', '-d', '-m', '-', '.'], { cwd: path, encoding: 'latin1' })
    .split('\n\n')
    .sort()
    .join('\n')
}

t.test('a directory becomes a layer with everything in it', async (t) => {
  const dir = t.testdir({})
  const [tree, store] = [makeTree(join(dir, 'tree')), join(dir, 'store')]
  const made = await overlaydJson<LayerDescription>('layer', 'add', 'material', '--from', tree, '--store', store)
  t.match(made, { layer: 'material', version: '1', serial: 1, from: `dir:${tree}`, usedBy: [] })
  t.same(kept(made.path), kept(tree))
  t.equal(attributes(made.path), attributes(tree))
  const { blocks } = await import('node:fs').then((fs) => fs.statSync(join(made.path, 'sparse')))
  t.equal(blocks, 0, 'zeros take no space')
  t.equal(readdirSync(join(store, 'making')).length, 0)
})

t.test('the digest is that of the content, whatever the source is', async (t) => {
  const dir = t.testdir({})
  const [tree, store] = [makeTree(join(dir, 'tree')), join(dir, 'store')]
  const add = async (name: string, from: string) =>
    await overlaydJson<LayerDescription>('layer', 'add', name, '--from', from, '--store', store)
  const { digest, path } = await add('directory', tree)
  const archives = [
    ['pax', ['--format=pax', '--xattrs', '--xattrs-include=*', '-S']],
    ['gnu', ['--format=gnu']],
    ['pax-0-0', ['--format=pax', '-S', '--sparse-version=0.0']],
    ['pax-0-1', ['--format=pax', '-S', '--sparse-version=0.1', '-z']],
    ['pax-1-0', ['--format=pax', '-S', '--sparse-version=1.0', '--zstd']],
    ['old-sparse', ['--format=gnu', '-S']],
  ] as const
  for (const [name, options] of archives) {
    const file = join(dir, `${name}.tar`)
    execFileSync('tar', [...options, '-cf', file, '-C', tree, '.'])
    const made = await add(name, file)
    if (name === 'pax') {
      t.equal(made.digest, digest, 'tar keeps everything in this form')
      t.equal(made.path.replace('/pax/', '/directory/'), path)
    }
    // GNU's own form has whole seconds.
    const seconds = (lines: string[]) =>
      lines.map((line) => line.replace(/ (-?\d+)\.\d+ /, ' $1 ').replace(/ -\d+ /, ' 0 '))
    const loses = name === 'gnu' || name === 'old-sparse'
    t.same(loses ? seconds(kept(made.path)) : kept(made.path), loses ? seconds(kept(tree)) : kept(tree), name)
    t.same(readFileSync(join(made.path, 'sparse')), readFileSync(join(tree, 'sparse')), name)
    t.same(readFileSync(join(made.path, 'd/second'), 'utf8'), 'content', name)
  }
})

t.test('versions: the next one, a name of its own, which one is the newest, who is refused', async (t) => {
  const dir = t.testdir({ one: { a: '1' }, two: { a: '2' } })
  const store = ['--store', join(dir, 'store')]
  const [one, two] = [join(dir, 'one'), join(dir, 'two')]
  await overlaydJson('layer', 'add', 'm', '--from', one, ...store)
  await overlaydJson('layer', 'publish', 'm', '--from', two, '--version', 'week-2', ...store)
  const third = await overlaydJson<LayerDescription>('import', 'm', one, ...store)
  t.match(third, { version: '3', serial: 3 })
  const all = await overlaydJson<LayerDescription[]>('layer', 'list', ...store)
  t.same(
    all.map(({ layer, version }) => `${layer}@${version}`),
    ['m@1', 'm@week-2', 'm@3'],
  )
  t.equal(all[0]?.digest, third.digest, 'equal content has one digest')
  t.equal(readdirSync(join(dir, 'store/objects')).length, 2, 'and is there once')
  const refused = async (...words: string[]) => {
    const { status, err } = await overlayd(...words, ...store)
    t.equal(status, 2, words.join(' '))
    return err
  }
  t.match(await refused('layer', 'add', 'm', '--from', one), /m exists already; overlayd layer publish m/)
  t.match(await refused('layer', 'publish', 'mm', '--from', one), /there is no layer "mm".*did you mean m\?/)
  t.match(await refused('layer', 'publish', 'm', '--from', one, '--version', '3'), /m@3 exists, and a version never/)
  t.match(await refused('layer', 'show', 'm@week-3'), /no version "week-3"; there is week-2/)
  t.match(await refused('layer', 'add', 'x', '--from', join(dir, 'none')), /from: there is no .*none; mend the path/)
  t.match(await refused('layer', 'add', 'a/b', '--from', one), /"a\/b" is not a valid name/)
  t.match(await refused('layer', 'ad', 'x'), /unknown word after layer; did you mean add\?/)
  t.match(await refused('layer', 'remove', 'm@1', '--yes'), /--store: does not say who uses the version; use --config/)
})

t.test('hostile archives are refused, and nothing outside is touched', async (t) => {
  const dir = t.testdir({ outside: { file: 'safe' }, in: { x: 'x' } })
  const store = ['--store', join(dir, 'store')]
  const pack = (name: string, ...options: string[]) => {
    const file = join(dir, `${name}.tar`)
    execFileSync('tar', ['-cf', file, '-C', join(dir, 'in'), ...options])
    return file
  }
  symlinkSync(join(dir, 'outside'), join(dir, 'in/link'))
  const cases: [string, string, RegExp][] = [
    ['climbing', pack('climbing', '--transform=s,^x$,a/../../../x,', '-P', 'x'), /the path ".*" is not one in a layer/],
    [
      'through a symlink',
      pack('through', '-P', 'link', '--transform=s,^x$,link/file,', 'x'),
      /leads through something that is no directory/,
    ],
    ['too deep', pack('deep', `--transform=s,^x$,${'d/'.repeat(1001)}x,`, 'x'), /more than 1000 names/],
    ['cut short', join(dir, 'short.tar'), /ends too early|no tar file/],
    ['no archive', join(dir, 'outside/file'), /no tar file|ends too early/],
    ['damaged gzip', join(dir, 'bad.gz'), /cannot be decompressed/],
  ]
  writeFileSync(join(dir, 'short.tar'), readFileSync(pack('whole', 'x')).subarray(0, 600))
  writeFileSync(join(dir, 'bad.gz'), Buffer.concat([Buffer.from([0x1f, 0x8b, 8, 0]), Buffer.alloc(500, 7)]))
  for (const [what, file, message] of cases) {
    const { status, err } = await overlayd('layer', 'add', 'bad', '--from', `tar:${file}`, ...store)
    t.equal(status, 2, what)
    t.match(err, message, what)
  }
  t.equal(readFileSync(join(dir, 'outside/file'), 'utf8'), 'safe')
  t.same(readdirSync(join(dir, 'store/making')), [], 'nothing is left')
  t.notOk(existsSync(join(dir, 'store/names/bad/1')))
  // An absolute path begins at the root of the layer.
  const made = await overlaydJson<LayerDescription>(
    ...(['layer', 'add', 'absolute', '--from', pack('abs', '-P', '--transform=s,^x$,/etc/x,', 'x'), ...store] as const),
  )
  t.equal(readFileSync(join(made.path, 'etc/x'), 'utf8'), 'x')
})

t.test('whiteouts of archives hide what is below, in the kernel too, whatever their order is', AS_ROOT, async (t) => {
  const dir = t.testdir({
    base: { a: 'a', b: 'b', d: { x: 'x', y: 'y' }, e: { z: 'z' } },
    change: { '.wh.a': '', d: { '.wh.x': '', n: 'n' }, e: { new: 'new', '.wh..wh..opq': '' }, '.wh.gone': '' },
    mnt: {},
  })
  const store = ['--store', join(dir, 'store')]
  const first = await overlaydJson<LayerDescription>('layer', 'add', 'base', '--from', join(dir, 'base'), ...store)
  const refused = await overlayd('layer', 'add', 'no', '--from', join(dir, 'change'), ...store)
  t.match(refused.err, /".*\.wh\..*" has the name of a whiteout in archives/)
  const paths: string[] = []
  const sources: [string, string[]][] = [['dir', ['--from', join(dir, 'change'), '--whiteouts', 'files']]]
  for (const [order, names] of Object.entries({
    forth: ['.wh.a', 'd', 'e', '.wh.gone'],
    back: ['e/new', 'e/.wh..wh..opq', 'd/n', 'd/.wh.x', '.wh.gone', '.wh.a'],
  })) {
    execFileSync('tar', ['-cf', join(dir, `${order}.tar`), '-C', join(dir, 'change'), ...names])
    sources.push([order, ['--from', join(dir, `${order}.tar`)]])
  }
  for (const [name, source] of sources)
    paths.push((await overlaydJson<LayerDescription>('layer', 'add', name, ...source, ...store)).path)
  for (const path of paths) {
    await kernelOverlay(join(dir, 'mnt'), `ro,lowerdir=${path}:${first.path}`, () => {
      const shown = execFileSync('find', ['.', '-type', 'f'], { cwd: join(dir, 'mnt'), encoding: 'utf8' })
      t.same(shown.trim().split('\n').sort(), ['./b', './d/n', './d/y', './e/new'], path)
    })
  }
})

t.test('a process that is killed while it adds leaves no version, and gc takes away the rest', async (t) => {
  const dir = t.testdir({ tree: {} })
  for (let i = 0; i < 3000; i++) writeFileSync(join(dir, 'tree', `file-${i}`), 'x'.repeat(i))
  const store = join(dir, 'store')
  const program = join(import.meta.dirname, '../../../server/main.ts')
  const words = ['layer', 'add', 'killed', '--from', join(dir, 'tree'), '--store', store]
  let killed = 0
  for (let round = 0; round < 3; round++) {
    const child = spawn(process.execPath, [program, ...words], { stdio: 'ignore' })
    const making = join(store, 'making')
    const wanted = [50, 1000, 2900][round] as number
    const count = () => {
      const [first] = existsSync(making) ? readdirSync(making) : []
      const tree = join(making, first ?? '', 'tree')
      return first !== undefined && existsSync(tree) ? readdirSync(tree).length : 0
    }
    while (child.exitCode === null && count() < wanted) await new Promise((resolve) => setTimeout(resolve, 5))
    child.kill('SIGKILL')
    const [code] = await once(child, 'close')
    if (code === null) killed++
    const { removed } = { removed: await overlaydJson<{ leftovers: number }>('layer', 'gc', '--store', store) }
    t.ok(removed.leftovers <= 1)
    t.same(readdirSync(making), [])
    if (code === 0) rmSync(join(store, 'names'), { recursive: true })
    else t.same(await overlaydJson('layer', 'list', '--store', store), [])
  }
  t.ok(killed > 0, 'one was killed in time')
  const made = await overlaydJson<LayerDescription>(...(words as [string, ...string[]]))
  t.equal(made.objects, 3001)
})
