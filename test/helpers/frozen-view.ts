import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import type { Test } from 'tap'
import { mount, type Overlay, openStack, parseOptions, type Stack } from '../../overlay-core/index.ts'
import { at, build, list, put, ROOT, snapshot, type Tree, text } from './overlay.ts'

/** A view whose upper is frozen now and then. */
export class View {
  readonly dir: string
  readonly frozen: string[] = []
  overlay!: Overlay
  stack: Stack | undefined
  #made = 0

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
    const directory = join(this.dir, `layer${this.#made++}`)
    mkdirSync(directory)
    this.frozen.unshift(join(directory, 'upper'))
    await this.overlay.freeze(directory, this.options())
    return join(directory, 'upper')
  }

  /** Merges the frozen layers from position `first` on. */
  async squash(first: number, count: number, meanwhile: () => Promise<void> = async () => undefined): Promise<void> {
    const chosen = this.frozen.slice(first, first + count)
    const place = dirname(chosen[0] as string)
    const directory = `${place}-merging`
    mkdirSync(directory)
    const squash = this.overlay.squash(chosen, directory)
    await Promise.all([squash.make(), meanwhile()])
    this.frozen.splice(first + 1, count - 1)
    await squash.adopt(place, this.options(), { stack: this.stack })
    for (const path of [directory, ...chosen.slice(1).map((layer) => dirname(layer))]) rmSync(path, { recursive: true })
    squash.end()
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

/** Makes a view over `lower`, and cleans up. Checks that the lower has not changed. */
export async function withView(
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
export async function make(overlay: Overlay, path: string, content: string): Promise<void> {
  const parent = dirname(path)
  const dir = parent === '.' ? overlay.root : await at(overlay, parent)
  await overlay.create(ROOT, dir, basename(path), { mode: 0o644 })
  await put(overlay, path, content)
}

/** Everything that clients see of the paths, with identities. */
export async function seen(overlay: Overlay, paths: readonly string[]): Promise<Record<string, string>> {
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
