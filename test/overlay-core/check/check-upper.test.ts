import { execFileSync } from 'node:child_process'
import { linkSync, mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { checkUpper, type Finding, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { at, build, list, put, ROOT } from '../../helpers/overlay.ts'

const AS_ROOT = { skip: process.geteuid?.() !== 0 && 'only root can write trusted attributes' }
const LOWER = { a: 'a', 'd/b': 'b', 'd/c': 'c', 'd/e/f': 'f', 'move/g': 'g', gone: 'gone', 'gone.d/x': 'x', one: '1' }

/** An upper with its lower, as `write` has left it. */
class Place {
  readonly dir = mkdtempSync(join(tmpdir(), 'overlayd-fsck-'))
  readonly upper = join(this.dir, 'upper')
  readonly work = join(this.dir, 'work')
  readonly lower = join(this.dir, 'lower')

  constructor(t: Test) {
    t.teardown(() => rmSync(this.dir, { recursive: true, force: true }))
    build(this.lower, LOWER)
    linkSync(join(this.lower, 'one'), join(this.lower, 'two'))
    for (const path of [this.upper, this.work]) mkdirSync(path)
  }

  get options(): string {
    return `lowerdir=${this.lower},upperdir=${this.upper},workdir=${this.work}`
  }

  /** Makes changes of all kinds through a mount of the kernel or of fuse-overlayfs. */
  byMount(mountAt: (point: string) => void): void {
    const point = join(this.dir, 'mount')
    mkdirSync(point)
    mountAt(point)
    try {
      execFileSync('sh', ['-c', CHANGES], { cwd: point })
    } finally {
      execFileSync('umount', [point])
    }
  }

  async byOverlayd(): Promise<void> {
    const overlay = await mount(parseOptions(this.options))
    const dir = (path: string) => at(overlay, path)
    await put(overlay, 'a', 'changed')
    await put(overlay, 'one', 'changed')
    await overlay.unlink(ROOT, overlay.root, 'gone')
    await overlay.unlink(ROOT, await dir('gone.d'), 'x')
    await overlay.rmdir(ROOT, overlay.root, 'gone.d')
    await overlay.mkdir(ROOT, overlay.root, 'gone.d', { mode: 0o755 })
    await overlay.rename(ROOT, overlay.root, 'move', await dir('d'), 'moved')
    await put(overlay, 'd/moved/g', 'changed')
    await overlay.create(ROOT, await dir('d'), 'new', { mode: 0o644 })
    const large = Buffer.alloc(5000, 'p')
    await overlay.setProtocolData(ROOT, await at(overlay, 'd/new'), 'dav', large)
    await overlay.unmount()
  }

  async check(
    lowers: readonly string[] = [this.lower],
    each: (finding: Finding) => Promise<void> = async () => undefined,
  ): Promise<Finding[]> {
    const found: Finding[] = []
    const paths = { upper: this.upper, workdir: this.work, lowers, userxattr: false }
    for await (const finding of checkUpper(paths)) {
      found.push(finding)
      await each(finding)
    }
    return found
  }

  async codes(lowers?: readonly string[]): Promise<string[]> {
    return (await this.check(lowers)).map(({ code, path }) => `${code} ${path.join('/')}`).sort()
  }

  /** Checks that exactly these are found, repairs them, and checks that they are gone. */
  async repairs(t: Test, ...expected: string[]): Promise<void> {
    const found = await this.check([this.lower], async (finding) => await finding.fix?.())
    t.same(found.map(({ code, path }) => `${code} ${path.join('/')}`).sort(), [...expected].sort())
    for (const { what, repair, fix, code } of found) {
      t.ok(what.length > 10 && !what.endsWith('.'), `${code}: ${what}`)
      t.equal(repair === undefined, fix === undefined, code)
    }
    const left = (await this.check()).filter(({ fix }) => fix !== undefined)
    t.same(left, [], 'what can be repaired is repaired')
  }

  set(path: string, name: string, value: string): void {
    execFileSync('setfattr', ['-h', '-n', `trusted.overlay.${name}`, '-v', value, join(this.upper, path)])
  }

  unset(path: string, name: string): void {
    execFileSync('setfattr', ['-h', '-x', `trusted.overlay.${name}`, join(this.upper, path)])
  }
}

const CHANGES = `
  echo changed > a; echo changed > one; rm gone; rm -r gone.d; mkdir gone.d; echo new > gone.d/new
  echo new > d/new; mv d/b d/renamed; mv move d/moved || { mkdir d/moved; cp move/g d/moved; rm -r move; }
  echo changed > d/moved/g; ln a d/a2; rm d/c; ln -s a s; mkdir -p p/q/r; chmod 700 d/e
`

async function opened(place: Place): Promise<Overlay> {
  return await mount(parseOptions(place.options))
}

t.test('nothing is wrong in an upper that overlayd wrote', AS_ROOT, async (t) => {
  const place = new Place(t)
  await place.byOverlayd()
  t.same(await place.codes(), [])
})

t.test('nothing is wrong in an upper that the kernel wrote', AS_ROOT, async (t) => {
  for (const more of [
    'redirect_dir=on,index=on,metacopy=off',
    'redirect_dir=off,index=off',
    'redirect_dir=on,index=on,metacopy=on',
  ]) {
    const place = new Place(t)
    place.byMount((point) => execFileSync('mount', ['-t', 'overlay', 'o', '-o', `${place.options},${more}`, point]))
    t.same(await place.codes(), [], more)
  }
})

t.test('nothing is wrong in an upper that fuse-overlayfs wrote', AS_ROOT, async (t) => {
  const place = new Place(t)
  place.byMount((point) => execFileSync('fuse-overlayfs', ['-o', place.options, point]))
  const errors = (await place.check()).filter(({ severity }) => severity === 'error')
  t.same(errors, [])
})

t.test('wrong marks are found and repaired, and everything else stays', AS_ROOT, async (t) => {
  const place = new Place(t)
  await place.byOverlayd()
  place.set('d/new', 'opaque', 'y')
  place.set('gone.d', 'opaque', 'yes')
  place.set('a', 'origin', 'nonsense')
  place.set('d/new', 'identity', 'short')
  place.set('one', 'nlink', 'many')
  place.set('d/new', 'redirect', 'somewhere')
  place.unset('d', 'impure')
  await place.repairs(
    t,
    ...['opaque-on-file d/new', 'opaque-malformed gone.d', 'origin-malformed a', 'identity-malformed d/new'],
    ...['nlink-malformed one', 'redirect-on-file d/new', 'impure-missing d'],
  )
  const overlay = await opened(place)
  t.same(await list(overlay, 'd'), ['b', 'c', 'e', 'moved', 'new'])
  await overlay.unmount()
})

t.test('wrong redirects are found: without a target, malformed, twice, in a loop', AS_ROOT, async (t) => {
  const place = new Place(t)
  await place.byOverlayd()
  rmSync(join(place.lower, 'move'), { recursive: true })
  const dirs = ['malformed', 'again', 'd/e', 'd/e/loop', 'opaque']
  for (const name of dirs) mkdirSync(join(place.upper, name), { recursive: true })
  place.set('malformed', 'redirect', '/a/../b')
  place.set('again', 'redirect', '/d/e')
  place.set('d/e/loop', 'redirect', '/d')
  place.set('opaque', 'redirect', '/d')
  place.set('opaque', 'opaque', 'y')
  await place.repairs(
    t,
    ...[
      'redirect-target-missing d/moved',
      'redirect-malformed malformed',
      'redirect-loop d/e/loop',
      'redirect-opaque opaque',
    ],
    'whiteout-needless move',
    ...(await place.codes()).filter((line) => line.startsWith('redirect-twice')),
  )
  t.equal((await place.codes()).filter((line) => line.startsWith('redirect-twice')).length, 1, 'one of two places')
  const overlay = await opened(place)
  t.same(await list(overlay, 'd/moved'), ['g'], 'what the upper has stays')
  t.same(await list(overlay, 'malformed'), [])
  await overlay.unmount()
})

t.test(
  'whiteouts that hide nothing are found if the lowers are known, and whiteouts in a wrong form',
  AS_ROOT,
  async (t) => {
    const place = new Place(t)
    await place.byOverlayd()
    execFileSync('mknod', [join(place.upper, 'd/nothing'), 'c', '0', '0'])
    writeFileSync(join(place.upper, 'd/c'), '')
    place.set('d/c', 'whiteout', 'y')
    writeFileSync(join(place.upper, 'd/full'), 'x')
    place.set('d/full', 'whiteout', 'y')
    t.same(await place.codes([]), ['whiteout-malformed d/full', 'whiteout-unseen d/c'], 'without the lowers')
    await place.repairs(t, 'whiteout-needless d/nothing', 'whiteout-unseen d/c', 'whiteout-malformed d/full')
    const overlay = await opened(place)
    t.same(await list(overlay, 'd'), ['b', 'e', 'full', 'moved', 'new'])
    await overlay.unmount()
  },
)

t.test('the index, large protocol data, identities and leftovers are checked', AS_ROOT, async (t) => {
  const place = new Place(t)
  await place.byOverlayd()
  const index = join(place.work, 'index')
  execFileSync('sh', ['-c', 'for name in *; do cp -a --preserve=all "$name" 00ff; done; touch wrong', 'sh'], {
    cwd: index,
  })
  rmSync(join(place.upper, 'one'))
  rmSync(join(place.work, 'notes'), { recursive: true })
  mkdirSync(join(place.work, 'work/#1'))
  mkdirSync(join(place.work, 'work/incompat'))
  mkdirSync(join(place.work, 'work/incompat/volatile'))
  const found = await place.codes()
  const kinds = [...new Set(found.map((line) => line.split(' ')[0]))]
  for (const code of [
    'index-origin-differs',
    'index-name',
    'index-orphan',
    'protocol-data-missing',
    'work-leftover',
    'incompat',
  ])
    t.ok(kinds.includes(code), code)
  execFileSync('cp', ['-a', '--preserve=all', join(place.upper, 'a'), join(place.upper, 'a-copy')])
  const mark = Buffer.alloc(24)
  mark.writeDoubleLE(12345)
  for (const name of ['a', 'a-copy']) place.set(name, 'identity', `0x${mark.toString('hex')}`)
  t.ok((await place.codes()).some((line) => line.startsWith('identity-twice')))
})

t.test('an upper without its workdir and lowers is checked as far as possible', AS_ROOT, async (t) => {
  const place = new Place(t)
  await place.byOverlayd()
  const found: Finding[] = []
  const aside = join(place.dir, 'aside')
  renameSync(place.upper, aside)
  for await (const each of checkUpper({ upper: aside, workdir: undefined, lowers: [], userxattr: false }))
    found.push(each)
  t.same(found, [])
})
