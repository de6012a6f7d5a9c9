import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import type { Test } from 'tap'
import {
  type Cred,
  type Inode,
  type MountOptions,
  mount,
  type Overlay,
  OverlayError,
  parseOptions,
} from '../../overlay-core/index.ts'
import type { MountEnvironment } from '../../overlay-core/mount/mount.ts'
import { parseSidecar } from '../../overlay-core/sidecar/sidecar-log.ts'
import { nodeAt, type PendingLine, replayLine, SidecarNode } from '../../overlay-core/sidecar/sidecar-tree.ts'
import { Neighbour } from './neighbour.ts'
import { recordsIn } from './old-files.ts'

/** The tree of a layer: a path to its content; a directory ends with `/`, `-> x` is a symlink, `= path` a hard link, `whiteout` a whiteout. */
export type Tree = Readonly<Record<string, string | { readonly content?: string; readonly mode?: number }>>

export const ROOT: Cred = { uid: 0, gid: 0, groups: [] }
export const ALICE: Cred = { uid: 1000, gid: 1000, groups: [2000] }

/** On what the uppers of `withOverlay` lie; by default on the file system of the temporary folder, in the form that is chosen there. */
export interface Ground {
  /** Upper and workdir are made below this folder. */
  readonly base?: string
  /** False where the storage has no extended attributes. */
  readonly xattrs?: boolean
  /** Added to the options of every mount. */
  readonly options?: string
  /** Whether every overlay shares a stack with another one. */
  readonly stack?: boolean
}

let ground: Ground = {}

/** Puts the uppers of all overlays from now on elsewhere: the same tests then tell of another storage or another form of the marks. */
export function standOn(other: Ground): void {
  ground = other
}

/** Whether overlays share a stack with another one. */
export function standsOnStack(): boolean {
  return ground.stack === true
}

/** Layers in a temporary folder, and the overlay over them. */
export interface Fixture {
  readonly dir: string
  readonly upper: string
  readonly work: string
  readonly lowers: readonly string[]
  readonly overlay: Overlay
  /** Mounts with a whole option string; the overlay before must have ended. */
  open(options: string): Promise<Overlay>
  /** Ends the overlay and mounts the same layers again. */
  remount(options?: string): Promise<Overlay>
}

/**
 * Builds the lowers (topmost first), mounts and hands both over; afterwards checks that no lower has changed and cleans up, also when
 * the test fails.
 */
export async function withOverlay(
  t: Test,
  lowers: readonly Tree[],
  test: (fixture: Fixture) => Promise<void>,
  settings: {
    options?: string
    prepare?: (lowers: readonly string[]) => void
    upper?: Tree
    environment?: Partial<MountEnvironment>
    readOnly?: boolean
  } = {},
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), 'overlayd-core-'))
  const top = ground.base === undefined ? dir : mkdtempSync(join(ground.base, 'overlayd-core-'))
  let overlay: Overlay | undefined
  let neighbour: Neighbour | undefined
  const mounted = async (options: MountOptions) => {
    if (ground.stack && options.upperdir !== undefined) neighbour ??= await Neighbour.of(options)
    const stack = neighbour?.shares(options) ? neighbour.stack : undefined
    return await mount(options, { ...settings.environment, stack })
  }
  try {
    const lowerDirs = lowers.map((tree, i) => build(join(dir, `lower${i}`), tree))
    settings.prepare?.(lowerDirs)
    const upper = build(join(top, 'upper'), settings.upper ?? {})
    const work = build(join(top, 'work'), {})
    const before = lowerDirs.map((lower) => snapshot(lower))
    const open = async (options: string) => {
      const writable = settings.readOnly ? '' : `,upperdir=${upper},workdir=${work}`
      const given = `lowerdir=${lowerDirs.join(':')}${writable}${ground.options ?? ''}${options}`
      return await mounted(parseOptions(given))
    }
    overlay = await open(settings.options ?? '')
    const fixture: Fixture = {
      dir,
      upper,
      work,
      lowers: lowerDirs,
      get overlay() {
        return overlay as Overlay
      },
      async open(options) {
        overlay = await mounted(parseOptions(options + (ground.options ?? '')))
        return overlay
      },
      async remount(options = settings.options ?? '') {
        await overlay?.unmount()
        // In between, tests change lowers.
        await neighbour?.end()
        neighbour = undefined
        overlay = await open(options)
        return overlay
      },
    }
    await test(fixture)
    await neighbour?.check(t)
    await overlay.unmount()
    overlay = undefined
    await neighbour?.check(t)
    t.same(
      lowerDirs.map((lower) => snapshot(lower)),
      before,
      'the lowers are unchanged',
    )
    const left = settings.options?.includes('volatile') ? ['incompat'] : []
    if (!settings.readOnly) t.same(readdirSync(join(work, 'work')), left, 'nothing is left in the work directory')
  } finally {
    await overlay?.unmount()
    await neighbour?.end()
    rmSync(dir, { recursive: true, force: true })
    rmSync(top, { recursive: true, force: true })
  }
}

/** Writes `tree` below `dir`, which it makes. */
export function build(dir: string, tree: Tree): string {
  // A mount clears the umask of the process.
  process.umask(0o022)
  mkdirSync(dir, { recursive: true })
  for (const [path, value] of Object.entries(tree)) {
    const at = join(dir, path)
    const { content, mode } =
      typeof value === 'string'
        ? { content: value, mode: undefined }
        : { content: value.content ?? '', mode: value.mode }
    if (path.endsWith('/')) {
      mkdirSync(at, { recursive: true })
    } else {
      mkdirSync(dirname(at), { recursive: true })
      if (content.startsWith('-> ')) symlinkSync(content.slice(3), at)
      else if (content.startsWith('= ')) linkSync(join(dir, content.slice(2)), at)
      else if (content === 'whiteout') execFileSync('mknod', [at, 'c', '0', '0'])
      else writeFileSync(at, content)
    }
    if (mode !== undefined) chmodSync(at, mode)
  }
  for (const path of Object.keys(tree)) lutimesSync(join(dir, path), 1_000_000_000, 1_000_000_000)
  return dir
}

/** Everything that matters of a tree on disk: path, type, mode, owner, size, mtime, content. */
export function snapshot(dir: string, path = ''): string[] {
  const at = join(dir, path)
  const stat = lstatSync(at, { bigint: true })
  let line = `${path || '.'} ${stat.mode.toString(8)} ${stat.uid}:${stat.gid} ${stat.nlink} ${stat.mtimeNs}`
  // A larger one is all holes: its size and time have to do.
  if (stat.isFile()) line += ` ${stat.size < 2n ** 29n ? readFileSync(at, 'latin1') : stat.size}`
  if (stat.isSymbolicLink()) line += ` -> ${readlinkSync(at)}`
  if (!stat.isDirectory()) return [line]
  return [
    line,
    ...readdirSync(at)
      .sort()
      .flatMap((name) => snapshot(dir, join(path, name))),
  ]
}

/**
 * What stands in an upper directory: names with `/` for directories, `!` before whiteouts in either form. What the form says of the
 * directory itself is left out (`isOpaqueOnDisk`).
 */
export function onDisk(dir: string): string[] {
  return readdirSync(dir)
    .filter((name) => !name.startsWith('.wh..wh.'))
    .map((name) => {
      const stat = lstatSync(join(dir, name))
      if (stat.isCharacterDevice() && stat.rdev === 0) return `!${name}`
      if (stat.isFile() && name.startsWith('.wh.')) return `!${name.slice(4)}`
      return stat.isDirectory() ? `${name}/` : name
    })
    .sort()
}

/** Whether a directory of an upper is marked opaque, in either form. */
export function isOpaqueOnDisk(dir: string): boolean {
  return xattrOnDisk(dir, 'trusted.overlay.opaque') === 'y' || readdirSync(dir).includes('.wh..wh..opq')
}

/** An extended attribute on disk as text, or kept in the workdir where the storage has none; undefined when it is not there. */
export function xattrOnDisk(path: string, name: string): string | undefined {
  try {
    return execFileSync('getfattr', ['--absolute-names', '-h', '--only-values', '-n', name, path], {
      stdio: ['ignore', 'pipe', 'ignore'],
    }).toString('latin1')
  } catch (error) {
    if ((error as { status?: number }).status === 1) return xattrInSidecar(path, name)
    throw error
  }
}

function xattrInSidecar(path: string, name: string): string | undefined {
  const [, top, names] = /^(.*\/overlayd-core-[^/]*)\/(upper\/.*)$/.exec(path) ?? []
  const log = `${top}/work/attributes.log`
  if (names === undefined || !existsSync(log)) return undefined
  const tree = new SidecarNode(undefined, '')
  const pending = new Map<number, PendingLine>()
  for (const record of recordsIn(log)) {
    for (const line of parseSidecar(record.toString('latin1'))) replayLine(tree, pending, line)
  }
  const value = nodeAt(tree, names.split('/'))?.record?.get(name.replace('trusted.overlay.', ''))
  return value && Buffer.from(value).toString('latin1')
}

/** Whether the storage of the uppers takes the extended attributes of clients. */
export function takesXattrs(): boolean {
  return ground.xattrs !== false
}

/** The object at `path` (from the root, names separated by `/`). @throws OverlayError ENOENT */
export async function at(overlay: Overlay, path: string, cred: Cred = ROOT): Promise<Inode> {
  let inode = overlay.root
  for (const name of path.split('/').filter((part) => part !== '')) {
    const next = await overlay.lookup(cred, inode, name)
    if (!next) throw new OverlayError('ENOENT', 'lookup', name)
    inode = next
  }
  return inode
}

/** The names in the directory at `path`, sorted. */
export async function list(overlay: Overlay, path = '/', cred: Cred = ROOT): Promise<string[]> {
  const names: string[] = []
  await overlay.readdir(cred, await at(overlay, path), 0, ({ name }) => {
    names.push(name)
    return true
  })
  return names.sort()
}

/** The content of the file at `path` as text. */
export async function text(overlay: Overlay, path: string, cred: Cred = ROOT): Promise<string> {
  const inode = await at(overlay, path)
  const { size } = await overlay.getattr(inode)
  const buffer = Buffer.alloc(size + 1)
  return buffer.toString('latin1', 0, await overlay.read(cred, inode, buffer, 0, buffer.length, 0))
}

/** Replaces the content of the file at `path` from the start. */
export async function put(overlay: Overlay, path: string, content: string, cred: Cred = ROOT): Promise<void> {
  await overlay.write(cred, await at(overlay, path), Buffer.from(content, 'latin1'), 0, 'unstable')
}

/** The code of the error that `call` ends with; 'none' when it succeeds. */
export async function errnoOf(call: () => unknown): Promise<string> {
  try {
    await call()
    return 'none'
  } catch (error) {
    if (error instanceof OverlayError) return error.code
    throw error
  }
}
