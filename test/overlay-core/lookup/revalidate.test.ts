import { execFileSync } from 'node:child_process'
import {
  appendFileSync,
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { closeSync, openRoot } from '../../../overlay-core/sys/open.ts'
import { setXattr } from '../../../overlay-core/sys/xattr.ts'
import { withKernelOverlay } from '../../helpers/kernel-mount.ts'
import { Neighbour } from '../../helpers/neighbour.ts'
import { at, build, errnoOf, list, onDisk, put, ROOT, standsOnStack, type Tree, text } from '../../helpers/overlay.ts'

const needsRoot = process.getuid?.() === 0 ? false : 'needs root'

interface Changing {
  readonly overlay: Overlay
  readonly dir: string
  readonly upper: string
  /** Paths of the lowers, topmost first. */
  readonly lowers: readonly string[]
  /** Lets the clock of the overlay go on. */
  pass(ms: number): void
}

/** An overlay whose lowers the test changes underneath. */
async function withChanging(
  lowers: readonly Tree[],
  revalidate: string,
  test: (fixture: Changing) => Promise<void>,
  options = '',
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-revalidate-'))
  let overlay: Overlay | undefined
  let neighbour: Neighbour | undefined
  let now = 1000
  try {
    const folders = lowers.map((tree, i) => build(join(dir, `lower${i}`), tree))
    for (const name of ['upper', 'work']) mkdirSync(join(dir, name))
    const given = parseOptions(
      `lowerdir=${folders.join(':')},upperdir=${dir}/upper,workdir=${dir}/work,revalidate=${revalidate}${options}`,
    )
    const clock = { now: () => now, every: () => () => undefined }
    if (standsOnStack()) {
      neighbour = await Neighbour.of(given, { clock })
      neighbour.keepLooking()
    }
    overlay = await mount(given, { clock, stack: neighbour?.stack })
    await test({
      overlay,
      dir,
      upper: join(dir, 'upper'),
      lowers: folders,
      pass: (ms) => {
        now += ms
      },
    })
  } finally {
    await overlay?.unmount()
    await neighbour?.end()
    rmSync(dir, { recursive: true, force: true })
  }
}

t.test('with revalidate=always, changes in a lower are visible at the next call', async (t) => {
  const tree = { 'd/f': '1', 'd/gone': 'x', 'd/deep/g': 'g', 'moved/h': 'h', link: '-> one' }
  await withChanging([tree], 'always', async ({ overlay, lowers: [lower] }) => {
    const inside = (path: string) => join(lower as string, path)
    for (const path of ['d/f', 'd/gone', 'd/deep/g', 'moved/h']) await text(overlay, path)
    t.equal(await errnoOf(() => at(overlay, 'd/new')), 'ENOENT')
    t.same(await list(overlay, 'd'), ['deep', 'f', 'gone'])
    const [f, gone, dir] = [await at(overlay, 'd/f'), await at(overlay, 'd/gone'), await at(overlay, 'd')]

    writeFileSync(inside('d/new'), 'new')
    t.equal(await text(overlay, 'd/new'), 'new', 'a name that was absent')
    t.same(await list(overlay, 'd'), ['deep', 'f', 'gone', 'new'])
    appendFileSync(inside('d/f'), '23')
    t.equal((await overlay.getattr(f)).size, 3, 'a file that grew, by its handle')
    t.equal(await text(overlay, 'd/f'), '123')
    chmodSync(inside('d/f'), 0o600)
    t.equal((await overlay.getattr(f)).mode, 0o600)
    rmSync(inside('d/gone'))
    t.equal(await errnoOf(() => overlay.getattr(gone)), 'ESTALE', 'one that was removed')
    t.equal(await errnoOf(() => at(overlay, 'd/gone')), 'ENOENT')
    writeFileSync(inside('tmp'), 'replaced')
    renameSync(inside('tmp'), inside('d/f'))
    t.equal(await text(overlay, 'd/f'), 'replaced', 'one that was replaced')
    t.equal(await errnoOf(() => overlay.getattr(f)), 'ESTALE')
    rmSync(inside('link'))
    symlinkSync('two', inside('link'))
    t.equal(Buffer.from(await overlay.readlink(ROOT, await at(overlay, 'link'))).toString(), 'two')
    renameSync(inside('moved'), inside('d/moved'))
    t.equal(await text(overlay, 'd/moved/h'), 'h', 'a directory that moved')
    t.equal(await errnoOf(() => at(overlay, 'moved')), 'ENOENT')
    t.equal(await at(overlay, 'd'), dir, 'a directory that changed is still the same object')
    rmSync(inside('d'), { recursive: true })
    t.equal(await errnoOf(() => overlay.getattr(dir)), 'ESTALE')
    writeFileSync(inside('d'), 'a file now')
    t.equal(await text(overlay, 'd'), 'a file now')
  })
})

t.test('a directory that becomes opaque in a lower no longer merges with lower layers', async (t) => {
  await withChanging([{ 'd/top': '1' }, { 'd/low': '2' }], 'always', async ({ overlay, lowers: [lower] }) => {
    t.same(await list(overlay, 'd'), ['low', 'top'])
    t.equal(await text(overlay, 'd/low'), '2')
    execFileSync('setfattr', ['-n', 'trusted.overlay.opaque', '-v', 'y', join(lower as string, 'd')])
    t.same(await list(overlay, 'd'), ['top'])
    t.equal(await errnoOf(() => at(overlay, 'd/low')), 'ENOENT')
  })
})

t.test('a merged directory gains and loses layers as they change', async (t) => {
  await withChanging([{}, { 'd/below': 'b' }], 'always', async ({ overlay, lowers, upper }) => {
    const [top, bottom] = lowers as [string, string]
    await put(overlay, 'd/below', 'B')
    const before = (await overlay.getattr(await at(overlay, 'd'))).ctime
    t.same(await list(overlay, 'd'), ['below'])
    build(join(top, 'd'), { middle: 'm', below: 'hidden' })
    t.same(await list(overlay, 'd'), ['below', 'middle'])
    t.equal(await text(overlay, 'd/below'), 'B', 'the upper wins')
    rmSync(join(top, 'd'), { recursive: true })
    t.same(await list(overlay, 'd'), ['below'])
    writeFileSync(join(bottom, 'd/late'), 'l')
    t.same(await list(overlay, 'd'), ['below', 'late'])
    t.not((await overlay.getattr(await at(overlay, 'd'))).ctime, before, 'clients see that it changed')
    execFileSync('mknod', [join(top, 'd'), 'c', '0', '0'])
    t.same(await list(overlay, 'd'), ['below'], 'a whiteout hides what is below')
    t.same(onDisk(upper), ['d/'])
  })
})

t.test('with revalidate=SECONDS, changes are visible after that time and not before', async (t) => {
  await withChanging([{ 'd/f': '1' }], '5', async ({ overlay, lowers: [lower], pass }) => {
    t.equal(await text(overlay, 'd/f'), '1')
    t.equal(await errnoOf(() => at(overlay, 'd/new')), 'ENOENT')
    t.same(await list(overlay, 'd'), ['f'])
    writeFileSync(join(lower as string, 'd/new'), 'n')
    pass(4999)
    t.equal(await errnoOf(() => at(overlay, 'd/new')), 'ENOENT')
    t.same(await list(overlay, 'd'), ['f'])
    pass(1)
    t.equal(await text(overlay, 'd/new'), 'n')
    t.same(await list(overlay, 'd'), ['f', 'new'])
  })
})

t.test('without revalidate, cached data stays', async (t) => {
  await withChanging([{ f: '1' }], 'never', async ({ overlay, lowers: [lower], pass }) => {
    t.equal(await errnoOf(() => at(overlay, 'new')), 'ENOENT')
    writeFileSync(join(lower as string, 'new'), 'n')
    pass(1e9)
    t.equal(await errnoOf(() => at(overlay, 'new')), 'ENOENT')
    await overlay.remount(parseOptions('revalidate=always', undefined, overlay.options))
    t.equal(await text(overlay, 'new'), 'n', 'a remount looks again')
    rmSync(join(lower as string, 'new'))
    t.equal(await errnoOf(() => at(overlay, 'new')), 'ENOENT')
  })
})

t.test('changes of a lower do not affect the upper, and open files can still be read', async (t) => {
  await withChanging([{ f: 'lower', 'd/g': 'lower' }], 'always', async ({ overlay, lowers: [lower], upper }) => {
    const inside = (path: string) => join(lower as string, path)
    await put(overlay, 'f', 'upper')
    const written = await at(overlay, 'f')
    const file = await overlay.open(ROOT, await at(overlay, 'd/g'), { read: true })
    rmSync(inside('f'))
    rmSync(inside('d'), { recursive: true })
    t.equal(await text(overlay, 'f'), 'upper')
    t.equal(await at(overlay, 'f'), written)
    const buffer = Buffer.alloc(8)
    t.equal(buffer.toString('latin1', 0, await file.read(buffer, 0, 8, 0)), 'lower')
    file.close()
    t.equal(await errnoOf(() => at(overlay, 'd')), 'ENOENT')
    t.same(onDisk(upper), ['f'])
  })
})

/** Repeatable pseudo-random numbers (mulberry32). */
function random(seed: number): (below: number) => number {
  let state = seed
  return (below) => {
    state = (state + 0x6d2b79f5) | 0
    let value = Math.imul(state ^ (state >>> 15), 1 | state)
    value = (value + Math.imul(value ^ (value >>> 7), 61 | value)) ^ value
    return ((value ^ (value >>> 14)) >>> 0) % below
  }
}

const NAMES = ['a', 'b', 'c', 'd']

async function mark(path: string, name: string, value: string): Promise<void> {
  const fd = await openRoot(path)
  try {
    await setXattr(fd, '', `trusted.overlay.${name}`, Buffer.from(value))
  } finally {
    closeSync(fd)
  }
}

/** Changes something in the tree `dir`; what cannot be done is not. */
async function disturb(dir: string, pick: (below: number) => number): Promise<void> {
  const name = () => NAMES[pick(NAMES.length)] as string
  const path = () => join(dir, name(), ...(pick(2) ? [name()] : []))
  const from = path()
  const what = [
    () => writeFileSync(from, 'x'.repeat(pick(200_000))),
    () => mkdirSync(from),
    () => rmSync(from, { recursive: true }),
    () => renameSync(from, path()),
    () => symlinkSync('a', from),
    () => chmodSync(from, 0o700 + pick(64)),
    () => writeFileSync(from, ''),
    () => mark(from, 'opaque', 'y'),
    () => mark(from, 'redirect', '/../x'),
  ]
  try {
    await what[pick(what.length)]?.()
  } catch (error) {
    if (!('code' in (error as object)) && !('status' in (error as object))) throw error
  }
}

/** Does something in the overlay; only an ordinary error may come of it. */
async function use(overlay: Overlay, pick: (below: number) => number): Promise<void> {
  const name = () => NAMES[pick(NAMES.length)] as string
  const dirOf = async () => (pick(2) ? overlay.root : await at(overlay, name()))
  const what = [
    async () => void (await text(overlay, pick(2) ? name() : `${name()}/${name()}`)),
    async () => void (await list(overlay, pick(2) ? '/' : name())),
    async () => put(overlay, pick(2) ? name() : `${name()}/${name()}`, 'changed'),
    async () => overlay.unlink(ROOT, await dirOf(), name()),
    async () => overlay.rmdir(ROOT, await dirOf(), name()),
    async () => void (await overlay.mkdir(ROOT, await dirOf(), name(), { mode: 0o755 })),
    async () => void (await overlay.create(ROOT, await dirOf(), name(), { mode: 0o644 })),
    async () => overlay.rename(ROOT, await dirOf(), name(), await dirOf(), name()),
    async () => void (await overlay.setattr(ROOT, await at(overlay, name()), { mode: 0o700 + pick(64) })),
    async () => overlay.link(ROOT, await at(overlay, name()), await dirOf(), `${name()}${name()}`),
  ]
  await errnoOf(what[pick(what.length)] as () => Promise<void>)
}

/** Every path with what it is, or the error that it gives; but for what nobody may look up. */
async function walk(overlay: Overlay, path = ''): Promise<string[]> {
  const lines: string[] = []
  const names: string[] = []
  const failed = await errnoOf(async () => names.push(...(await list(overlay, path))))
  if (failed !== 'none') return [`${path}/ ${failed}`]
  for (const name of names) {
    const inside = `${path}/${name}`
    let type = 0
    const error = await errnoOf(async () => {
      type = (await at(overlay, inside)).type
    })
    // A name with a malformed mark is listed or not, as it was or was not malformed when its directory was read: marks do not touch the directory.
    if (error === 'EACCES') continue
    lines.push(`${inside} ${error === 'none' ? type.toString(8) : error}`)
    if (type === 0o040000) lines.push(...(await walk(overlay, inside)))
  }
  return lines
}

for (const revalidate of ['never', 'always', '1']) {
  t.test(
    `a lower that changes all the time damages nothing (revalidate=${revalidate})`,
    { skip: needsRoot },
    async (t) => {
      const tree: Tree = { 'a/a': '1', 'a/b': '2', 'b/c': '3', c: '4', 'd/': '' }
      await withChanging([tree, tree], revalidate, async ({ overlay, lowers, dir, upper, pass }) => {
        const pick = random(revalidate.length)
        for (let round = 0; round < 100; round++) {
          for (let i = 0; i < 3; i++) await disturb(lowers[pick(2)] as string, pick)
          pass(200)
          await Promise.all([0, 1, 2, 3, 4, 5].map(() => use(overlay, pick)))
        }
        pass(2000)
        const seen = await walk(overlay)
        await overlay.unmount()
        t.same(readdirSync(join(dir, 'work/work')), [], 'nothing is left in the work directory')
        const again = await mount(parseOptions(`lowerdir=${lowers.join(':')},upperdir=${upper},workdir=${dir}/work`))
        if (revalidate !== 'never') t.same(seen, await walk(again), 'what is seen is what is there')
        await again.unmount()
        const layers = { lower: lowers.join(':'), upper, work: join(dir, 'work') }
        await withKernelOverlay(join(dir, 'kernel'), layers, () => {
          t.match(
            execFileSync('stat', ['-f', '-c', '%T', join(dir, 'kernel')]).toString(),
            'overlay',
            'the kernel mounts it',
          )
        })
      })
    },
  )
}

t.test(
  'a file that shrinks or disappears during its copy-up is copied as it then is, or the copy-up fails',
  async (t) => {
    await withChanging(
      [{ big: 'x'.repeat(8_000_000), other: 'y' }],
      'always',
      async ({ overlay, lowers, upper, dir }) => {
        const path = join(lowers[0] as string, 'big')
        const inode = await at(overlay, 'big')
        const writing = errnoOf(async () => overlay.write(ROOT, inode, Buffer.from('A'), 0, 'unstable'))
        execFileSync('truncate', ['-s', '10', path])
        const result = await writing
        t.ok(['none', 'EIO', 'ESTALE'].includes(result), result)
        if (result !== 'none') t.same(onDisk(upper), [])
        t.same(readdirSync(join(dir, 'work/work')), [])
        rmSync(join(lowers[0] as string, 'other'))
        t.equal(await errnoOf(() => put(overlay, 'other', 'z')), 'ENOENT')
      },
    )
  },
)
