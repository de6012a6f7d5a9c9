import type { Cred } from '../../overlay-core/index.ts'
import { generate } from './generate.ts'
import { KernelView } from './kernel-view.ts'
import { Model, someName } from './model.ts'
import * as native from './native.ts'
import { closeSlots, execute, type Slots } from './operations.ts'
import { Random } from './random.ts'
import { type MountSettings, mountString } from './settings.ts'
import { readTree } from './tree.ts'

const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
const MODES = [0o644, 0o644, 0o600, 0o666, 0o640, 0o4755, 0o2755, 0o2644, 0o444, 0]
const DIRECTORY_MODES = [0o755, 0o755, 0o777, 0o775, 0o1777, 0o2775, 0o700, 0o555]
const S_IFIFO = 0o010000
const S_IFCHR = 0o020000
const S_IFBLK = 0o060000

/** How layers are made. */
export interface LayerSetting {
  readonly user: Cred | undefined
  readonly mount: MountSettings
  readonly upperOn: 'layers' | 'ramfs'
}

/** The lowers of a round, topmost first, and how to fill an upper for them; the same each time. */
export interface LayerStack {
  readonly lowers: readonly string[]
  /** `view`: whose upper it is; each view has another one. */
  fillUpper(path: string, view?: number): void
}

/**
 * Makes one to three lowers in `dir`: built at random, with all kinds of objects and marks, or by letting the kernel's overlay work
 * on what is below, as real layers come about (with redirects, origins and opaque directories in their natural places).
 */
export async function makeLayers(random: Random, dir: string, setting: LayerSetting): Promise<LayerStack> {
  const lowers: string[] = []
  const count = 1 + random.below(3)
  for (let i = 0; i < count; i++) {
    const path = `${dir}/lower${count - i}`
    if (i > 0 && random.chance(50)) await layerByKernel(random.fork(), path, lowers, setting)
    else new LayerBuilder(random.fork(), setting, lowers).build(path)
    lowers.unshift(path)
  }
  const filled = random.chance(40)
  const seed = random.below(2 ** 32)
  return {
    lowers,
    fillUpper(path, view = 0) {
      if (filled) new LayerBuilder(new Random(seed + view), setting, lowers).build(path)
      else native.mkdir(path, 0o755)
    },
  }
}

async function layerByKernel(
  random: Random,
  path: string,
  lowers: readonly string[],
  setting: LayerSetting,
): Promise<void> {
  const [work, point] = [`${path}.work`, `${path}.mount`]
  for (const made of [path, work, point]) native.mkdir(made, 0o755)
  native.mount('overlay', point, 'overlay', 0, mountString(redirecting(setting.mount), lowers, path, work))
  const view = new KernelView(point)
  const slots: Slots = { handles: new Map(), streams: new Map() }
  const model = new Model()
  try {
    model.reset(await readTree(view))
    for (let i = 0; i < 40; i++) {
      const operations = generate(random, model, {
        user: undefined,
        mounts: false,
        xattrs: setting.upperOn === 'layers',
      })
      for (const operation of operations)
        if ((await execute(view, slots, ROOT, operation)) === 'done') model.apply(operation)
    }
  } finally {
    closeSlots(slots)
    view.close()
    native.umount(point)
  }
  pastTimes(random, path)
}

/** Layers hold redirects wherever the mount under test reads them. */
function redirecting(settings: MountSettings): MountSettings {
  return settings.userxattr ? settings : { ...settings, redirect_dir: 'on', index: 'off' }
}

/** Gives everything a time in the past, so that no time that was kept can pass for one that was set now. */
function pastTimes(random: Random, path: string): void {
  const fd = native.open(path, 0)
  const names = native.getdents(fd)
  native.close(fd)
  for (const { name, type } of names) {
    if (type === 0o040000) pastTimes(random, `${path}/${name}`)
    else setPast(random, `${path}/${name}`)
  }
  setPast(random, path)
}

function setPast(random: Random, path: string): void {
  const past = () => ({ sec: 980_000_000 + random.below(300_000_000), nsec: random.below(1_000_000_000) })
  native.utimes(path, past(), past())
}

class LayerBuilder {
  readonly #random: Random
  readonly #setting: LayerSetting
  readonly #lowers: readonly string[]
  readonly #files: string[] = []
  readonly #prefix: string

  /** @param lowers the layers below: directories that are theirs too get whiteouts and opaque marks */
  constructor(random: Random, setting: LayerSetting, lowers: readonly string[]) {
    this.#random = random
    this.#setting = setting
    this.#lowers = [...lowers]
    this.#prefix = setting.mount.userxattr ? 'user.overlay.' : 'trusted.overlay.'
  }

  build(path: string): void {
    native.mkdir(path, 0o755)
    this.#fill(path, 0, this.#lowers)
    if (this.#random.chance(80)) native.chmod(path, 0o777)
    pastTimes(this.#random, path)
  }

  /** @param below directories of the lowers that `dir` merges with */
  #fill(dir: string, depth: number, below: readonly string[]): void {
    const random = this.#random
    const count = depth === 0 ? 5 + random.below(4) : random.below(6)
    const names = new Set<string>()
    while (names.size < count) {
      const name = someName(random)
      if (name.length < 256) names.add(name)
    }
    for (const name of names) this.#object(`${dir}/${name}`, depth, below)
  }

  #object(path: string, depth: number, below: readonly string[]): void {
    const random = this.#random
    const kind = random.weighted({
      file: 34,
      directory: depth < 3 ? 36 : 5,
      symlink: 6,
      hardlink: 12,
      special: 5,
      // Nowhere else do they come about, and in a directory that is not merged the kernel cannot remove them.
      whiteout: below.length > 0 ? 14 : 0,
    })
    if (kind === 'whiteout' || (kind === 'hardlink' && this.#files.length > 0)) {
      if (kind === 'whiteout') native.whiteout(path)
      else native.link(random.pick(this.#files), path)
      return
    }
    if (kind === 'directory') this.#directory(path, depth, below)
    else if (kind === 'symlink')
      native.symlink(Buffer.from(random.pick(['a', '../b', '/nowhere', 'x\xff\n']), 'latin1'), path)
    else if (kind === 'special') this.#special(path)
    else this.#file(path)
    native.chown(path, random.pick(this.#owners()), random.pick(this.#groups()))
    // chown takes setuid and setgid away.
    if (kind !== 'symlink') native.chmod(path, random.pick(kind === 'directory' ? DIRECTORY_MODES : MODES))
  }

  #owners(): number[] {
    const { user } = this.#setting
    return user ? [0, user.uid, user.uid, 1234] : [0, 0, 1000]
  }

  #groups(): number[] {
    const { user } = this.#setting
    return user ? [0, user.gid, ...user.groups, 1234] : [0, 0, 1000]
  }

  #directory(path: string, depth: number, below: readonly string[]): void {
    const random = this.#random
    const opaque = this.#lowers.length > 0 && random.chance(15)
    native.mkdir(path, 0o755)
    this.#fill(path, depth + 1, opaque ? [] : mergedBelow(below, path.slice(path.lastIndexOf('/')), this.#prefix))
    if (opaque) native.setxattr(path, `${this.#prefix}opaque`, Buffer.from('y'))
    this.#someXattrs(path)
  }

  #special(path: string): void {
    const random = this.#random
    const type = random.pick([S_IFIFO, S_IFIFO, S_IFCHR, S_IFBLK])
    native.mknod(path, type | 0o600, type === S_IFIFO ? 0 : 7, type === S_IFIFO ? 0 : 300)
  }

  #file(path: string): void {
    const random = this.#random
    const fd = native.open(path, 0o102, 0o600)
    const length = random.pick([0, 5, 50, 50, 3000])
    if (length > 0) native.pwrite(fd, Buffer.alloc(length, 65 + random.below(26)), random.pick([0, 0, 0, 100_000]))
    if (random.chance(10)) native.ftruncate(fd, 300_000)
    if (random.chance(5)) native.fallocate(fd, 1, 0, 20_000)
    native.close(fd)
    this.#files.push(path)
    this.#someXattrs(path)
  }

  #someXattrs(path: string): void {
    const random = this.#random
    if (this.#setting.upperOn !== 'layers') return
    if (random.chance(15)) native.setxattr(path, 'user.a', Buffer.from('from the layer'))
    if (random.chance(5)) native.setxattr(path, 'trusted.t', Buffer.from('t'))
    // What a client of another overlay has set, stored escaped.
    if (random.chance(3)) native.setxattr(path, `${this.#prefix}overlay.opaque`, Buffer.from('n'))
  }
}

/** The directories called `name` in `dirs`, topmost first, as far as a merge goes. */
function mergedBelow(dirs: readonly string[], name: string, prefix: string): string[] {
  const result: string[] = []
  for (const dir of dirs) {
    const path = dir + name
    if (!native.exists(path)) continue
    if (!native.isDirectory(path)) break
    result.push(path)
    if (native.listxattr(path).includes(`${prefix}opaque`)) break
  }
  return result
}
