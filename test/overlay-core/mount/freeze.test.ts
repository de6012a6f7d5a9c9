import { execFileSync } from 'node:child_process'
import { existsSync, linkSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import t, { type Test } from 'tap'
import { mount, type Overlay, openStack, parseOptions, type Stack } from '../../../overlay-core/index.ts'
import { at, build, errnoOf, list, put, ROOT, snapshot, type Tree, text } from '../../helpers/overlay.ts'

/** A view whose upper is frozen now and then. */
class View {
  readonly dir: string
  readonly frozen: string[] = []
  overlay!: Overlay
  stack: Stack | undefined

  constructor(dir: string) {
    this.dir = dir
  }

  options(extra = '') {
    const own = `lowerdir=${this.dir}/lower,upperdir=${this.dir}/upper,workdir=${this.dir}/work${extra}`
    const options = parseOptions(own)
    return { ...options, lowerdir: [...this.frozen, ...options.lowerdir], frozen: this.frozen.length }
  }

  async open(): Promise<void> {
    this.overlay = await mount(this.options(), this.stack ? { stack: this.stack } : {})
  }

  /** Freezes the upper and returns the frozen layer. */
  async freeze(): Promise<string> {
    const directory = join(this.dir, `layer${this.frozen.length}`)
    mkdirSync(directory)
    this.frozen.unshift(join(directory, 'upper'))
    await this.overlay.freeze(directory, this.options())
    return join(directory, 'upper')
  }

  async restart(): Promise<void> {
    await this.overlay.unmount()
    await this.open()
  }

  /** What the kernel shows of the same layers. */
  byKernel<T>(look: (path: string) => T): T {
    const point = join(this.dir, 'kernel')
    mkdirSync(point, { recursive: true })
    const layers = [...this.frozen, join(this.dir, 'lower')].join(':')
    const [upper, work] = [mkdtempSync(join(this.dir, 'upper-')), mkdtempSync(join(this.dir, 'work-'))]
    const options = `lowerdir=${join(this.dir, 'upper')}:${layers},upperdir=${upper},workdir=${work},redirect_dir=on,index=on,metacopy=on,xino=on`
    execFileSync('mount', ['-t', 'overlay', 'overlay', '-o', options, point])
    try {
      return look(point)
    } finally {
      execFileSync('umount', [point])
    }
  }
}

async function withView(
  t: Test,
  lower: Tree,
  test: (view: View) => Promise<void>,
  { shared = false, prepare = (_lower: string): void => undefined } = {},
): Promise<void> {
  const view = new View(mkdtempSync(join(tmpdir(), 'overlayd-freeze-')))
  try {
    build(join(view.dir, 'lower'), lower)
    for (const name of ['upper', 'work']) mkdirSync(join(view.dir, name))
    if (shared) view.stack = await openStack(parseOptions(`lowerdir=${view.dir}/lower`))
    prepare(join(view.dir, 'lower'))
    const before = snapshot(join(view.dir, 'lower'))
    await view.open()
    await test(view)
    await view.overlay.unmount()
    await view.stack?.close()
    t.same(snapshot(join(view.dir, 'lower')), before, 'the lower is unchanged')
    t.same(readdirSync(join(view.dir, 'work/work')), [], 'nothing is left in the work directory')
  } finally {
    await view.overlay?.unmount()
    rmSync(view.dir, { recursive: true, force: true })
  }
}

/** Creates a file. */
async function make(overlay: Overlay, path: string, content: string): Promise<void> {
  await overlay.create(ROOT, await at(overlay, dirname(path)), basename(path), { mode: 0o644 })
  await put(overlay, path, content)
}

/** Everything that clients see of the paths, with identities. */
async function seen(overlay: Overlay, paths: readonly string[]): Promise<Record<string, string>> {
  const result: Record<string, string> = {}
  for (const path of paths) {
    const inode = await at(overlay, path)
    const { mode, uid, gid, size, mtime, nlink, fileIdHi, fileIdLo } = await overlay.getattr(inode)
    const about = [
      mode.toString(8),
      uid,
      gid,
      inode.type === 0o040000 ? '' : size,
      mtime.sec,
      mtime.nsec,
      inode.type === 0o040000 ? '' : nlink,
    ]
    const content =
      inode.type === 0o100000
        ? await text(overlay, path)
        : inode.type === 0o040000
          ? (await list(overlay, path)).join()
          : ''
    result[path] = [...about, fileIdHi, fileIdLo, inode.key, inode.generation, content].join(' ')
  }
  return result
}

for (const shared of [false, true]) {
  const where = shared ? ' on a shared stack' : ''
  t.test(`a freeze changes nothing that clients see${where}`, async (t) => {
    const lower: Tree = {
      a: 'a',
      'd/b': 'b',
      'd/e/c': 'c',
      'd/gone': 'x',
      'move/f': 'f',
      'move/g': 'g',
      'opaque/h': 'h',
      old: 'old',
    }
    await withView(
      t,
      lower,
      async (view) => {
        const { overlay } = view
        await put(overlay, 'a', 'A')
        await make(overlay, 'd/new', 'new')
        await overlay.unlink(ROOT, await at(overlay, 'd'), 'gone')
        await overlay.rename(ROOT, overlay.root, 'move', await at(overlay, 'd'), 'moved')
        await overlay.rename(ROOT, overlay.root, 'old', await at(overlay, 'd'), 'renamed')
        for (const name of await list(overlay, 'opaque')) await overlay.unlink(ROOT, await at(overlay, 'opaque'), name)
        await overlay.rmdir(ROOT, overlay.root, 'opaque')
        await overlay.mkdir(ROOT, overlay.root, 'opaque', { mode: 0o755 })
        await make(overlay, 'opaque/own', 'own')
        await overlay.link(ROOT, await at(overlay, 'd/new'), overlay.root, 'linked')
        const all = [
          '/',
          'a',
          'd',
          'd/b',
          'd/e',
          'd/e/c',
          'd/new',
          'd/moved',
          'd/moved/f',
          'd/renamed',
          'opaque',
          'opaque/own',
          'linked',
        ]
        const before = await seen(overlay, all)
        for (const inode of await Promise.all(all.map((path) => at(overlay, path)))) overlay.retain(inode)
        const keys = await Promise.all(all.map(async (path) => await at(overlay, path)))
        const frozen = await view.freeze()
        t.same(readdirSync(join(view.dir, 'upper')), [], 'the upper is empty')
        const layer = snapshot(frozen)
        t.same(await seen(overlay, all), before)
        t.equal(await errnoOf(() => at(overlay, 'd/gone')), 'ENOENT')
        t.equal(await errnoOf(() => at(overlay, 'old')), 'ENOENT')
        for (const { key, generation } of keys) t.equal((await overlay.inodeByKey(key, generation)).key, key)
        await view.restart()
        t.same(await seen(view.overlay, all), before, 'after a restart')
        for (const { key, generation } of keys) t.equal((await view.overlay.inodeByKey(key, generation)).key, key)
        // Changes above the frozen layer.
        await put(view.overlay, 'd/renamed', 'changed')
        await view.overlay.rename(ROOT, await at(view.overlay, 'd'), 'moved', view.overlay.root, 'back')
        await view.overlay.unlink(ROOT, view.overlay.root, 'a')
        await put(view.overlay, 'linked', 'both')
        t.equal(await text(view.overlay, 'd/new'), 'both', 'names stay linked')
        t.equal(await text(view.overlay, 'back/f'), 'f')
        const after = ['/', 'd', 'd/renamed', 'back', 'back/f', 'back/g', 'opaque/own']
        const now = await seen(view.overlay, after)
        await view.freeze()
        t.same(await seen(view.overlay, after), now)
        await view.restart()
        t.same(await seen(view.overlay, after), now, 'after a restart')
        t.equal(
          (await at(view.overlay, 'd/renamed')).key,
          keys[all.indexOf('d/renamed')]?.key,
          'the identity of the first lower',
        )
        t.equal(await errnoOf(() => at(view.overlay, 'a')), 'ENOENT')
        t.same(snapshot(frozen), layer, 'the frozen layer is unchanged')
      },
      { shared },
    )
  })
}

t.test('hard links stay linked over a freeze, whichever of their names was copied up', async (t) => {
  const prepare = (lower: string) => {
    for (const name of ['two', 'three']) linkSync(join(lower, 'one'), join(lower, name))
  }
  const test = async (view: View) => {
    await put(view.overlay, 'one', 'first')
    const names = ['one', 'two', 'three']
    const before = await seen(view.overlay, names)
    await view.freeze()
    t.same(await seen(view.overlay, names), before)
    await view.restart()
    t.same(await seen(view.overlay, names), before, 'after a restart')
    await put(view.overlay, 'three', 'third')
    for (const name of names) t.equal(await text(view.overlay, name), 'third')
    await view.overlay.unlink(ROOT, view.overlay.root, 'two')
    t.equal((await view.overlay.getattr(await at(view.overlay, 'one'))).nlink, 2)
    await view.freeze()
    await view.restart()
    for (const name of ['one', 'three']) {
      t.equal(await text(view.overlay, name), 'third')
      t.equal((await view.overlay.getattr(await at(view.overlay, name))).nlink, 2)
    }
    t.equal(await errnoOf(() => at(view.overlay, 'two')), 'ENOENT')
  }
  await withView(t, { one: 'lower' }, test, { prepare })
})

t.test('a file that is being written during freezes loses nothing, and open files go on', async (t) => {
  await withView(t, { f: 'x' }, async (view) => {
    const { overlay } = view
    const file = await at(overlay, 'f')
    const open = await overlay.open(ROOT, file, { read: true, write: true })
    const reading = await overlay.open(ROOT, file, { read: true })
    let done = false
    let count = 0
    const writing = (async () => {
      while (!done) {
        await overlay.write(ROOT, file, Buffer.from('W'), 2 * count, 'unstable')
        await open.write(Buffer.from('H'), 2 * count + 1)
        count++
        await new Promise((resolve) => setImmediate(resolve))
      }
    })()
    for (let i = 0; i < 5; i++) {
      await new Promise((resolve) => setTimeout(resolve, 20))
      await view.freeze()
    }
    done = true
    await writing
    await overlay.commit(ROOT, file)
    t.ok(count > 5)
    t.equal(await text(overlay, 'f'), 'WH'.repeat(count))
    const buffer = Buffer.alloc(2 * count)
    for (const handle of [open, reading]) {
      t.equal(await handle.read(buffer, 0, buffer.length, 0), 2 * count)
      t.equal(buffer.toString(), 'WH'.repeat(count))
    }
    await overlay.unlink(ROOT, overlay.root, 'f')
    await view.freeze()
    await open.write(Buffer.from('!'), 0)
    t.equal(await reading.read(buffer, 0, 1, 0), 1)
    t.equal(buffer.toString()[0], '!', 'a removed file stays open and writable')
    for (const handle of [open, reading]) handle.close()
  })
})

t.test('everything since a freeze is let go in one step', async (t) => {
  await withView(t, { a: 'a', 'd/b': 'b' }, async (view) => {
    const { overlay } = view
    await put(overlay, 'a', 'first')
    await make(overlay, 'd/first', '1')
    await view.freeze()
    await put(overlay, 'a', 'second')
    await make(overlay, 'd/second', '2')
    await overlay.unlink(ROOT, await at(overlay, 'd'), 'first')
    const kept = await at(overlay, 'a')
    const gone = await at(overlay, 'd/second')
    const aside = join(view.dir, 'aside')
    mkdirSync(aside)
    await overlay.freeze(aside, view.options())
    t.equal(await text(overlay, 'a'), 'first')
    t.same(await list(overlay, 'd'), ['b', 'first'])
    t.equal((await at(overlay, 'a')).key, kept.key)
    t.equal(await errnoOf(async () => await overlay.getattr(gone)), 'ESTALE')
    t.equal(readFileSync(join(aside, 'upper/a'), 'utf8'), 'second', 'it is kept aside')
    await view.restart()
    t.equal(await text(view.overlay, 'a'), 'first')
    t.equal((await at(view.overlay, 'a')).key, kept.key)
    await put(view.overlay, 'a', 'third')
    t.equal(await text(view.overlay, 'a'), 'third')
  })
})

t.test('a freeze takes no longer for many changes than for one, and the kernel sees the same tree', async (t) => {
  await withView(t, { a: 'a', 'd/b': 'b', 'move/m': 'm' }, async (view) => {
    await put(view.overlay, 'a', 'A')
    const times: number[] = []
    const timed = async () => {
      const cpu = process.cpuUsage()
      await view.freeze()
      const { user, system } = process.cpuUsage(cpu)
      times.push((user + system) / 1000)
    }
    await timed()
    const dir = await view.overlay.mkdir(ROOT, view.overlay.root, 'many', { mode: 0o755 })
    for (let i = 0; i < 20_000; i++) await view.overlay.create(ROOT, dir, `f${i}`, { mode: 0o644 })
    await view.overlay.rename(ROOT, view.overlay.root, 'move', await at(view.overlay, 'd'), 'moved')
    await timed()
    t.comment(`processor time in ms: ${times.join(', ')}`)
    t.ok((times[1] as number) < 200, 'no walk')
    await view.overlay.unlink(ROOT, dir, 'f0')
    await view.freeze()
    view.byKernel((path) => {
      t.equal(readFileSync(join(path, 'a'), 'utf8'), 'A')
      t.equal(readdirSync(join(path, 'many')).length, 19_999)
      t.equal(readFileSync(join(path, 'd/moved/m'), 'utf8'), 'm')
      t.notOk(existsSync(join(path, 'move')))
      t.equal(statSync(join(path, 'd/b')).size, 1)
    })
    t.equal((await list(view.overlay, 'many')).length, 19_999)
  })
})

t.test('an upper that cannot be frozen stays as it is', async (t) => {
  await withView(t, { a: 'a' }, async (view) => {
    const directory = join(view.dir, 'layer')
    mkdirSync(directory)
    const next = { ...view.options(), lowerdir: [join(directory, 'upper'), join(view.dir, 'lower')], frozen: 1 }
    await t.rejects(view.overlay.freeze(directory, { ...next, frozen: 0 }), { message: /^lowerdir: must be/ })
    await view.overlay.remount({ ...view.options(), metacopy: true })
    await t.rejects(view.overlay.freeze(directory, { ...next, metacopy: true }), {
      message: /^metacopy: hard links of a frozen layer/,
    })
    await view.overlay.remount({ ...view.options(), readOnly: true })
    t.same(readdirSync(directory), [])
    t.equal(await text(view.overlay, 'a'), 'a')
  })
})
