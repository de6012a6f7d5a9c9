import { constants } from 'node:fs'
import { access, chown, cp, lchown, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { OptionError } from '../overlay-core/index.ts'
import type { ControlNote } from './control.ts'
import type { RandomBytes } from './random.ts'
import { statePath } from './state-path.ts'

const KEY_BYTES = 32
const KEY_FILE = 'nfs-handle-key'
const RUN_DIR = 'run'

/** What `--ready-file` says. A listener that is off is null. */
export interface ReadyNote {
  /** URL of the first view. */
  readonly webdav: string | null
  readonly nfs: { readonly host: string; readonly port: number; readonly export: string } | null
}

/** What the note on a running server says. Only the server's user and root can read it. */
export interface RunNote extends ReadyNote {
  readonly pid: number
  /** Names of its overlays. */
  readonly views: readonly string[]
  readonly control: ControlNote
}

/**
 * Checks, without making anything, that `directory` exists or can be made, and that files can be made in it.
 *
 * @throws OptionError naming `option`
 */
export async function checkWritable(option: string, directory: string): Promise<void> {
  const at = await nearestExisting(option, directory)
  const made = await stat(at)
  if (!made.isDirectory()) throw new OptionError(option, `${at} is not a directory; choose another path`)
  try {
    await access(at, constants.W_OK | constants.X_OK)
  } catch (error) {
    throw new OptionError(option, `cannot write to ${at} (${codeOf(error)}); choose another directory`)
  }
}

/** Checks that a file can be made at `path`. @throws OptionError its directory is missing or cannot be written to */
export async function checkReadyFile(path: string): Promise<void> {
  const directory = dirname(path)
  if ((await nearestExisting('--ready-file', directory)) !== directory) {
    throw new OptionError('--ready-file', `${directory} does not exist; create it, or choose another path`)
  }
  await checkWritable('--ready-file', directory)
}

async function nearestExisting(option: string, path: string): Promise<string> {
  for (let at = path; ; at = dirname(at)) {
    try {
      await stat(at)
      return at
    } catch (error) {
      if (codeOf(error) !== 'ENOENT' || at === dirname(at)) {
        throw new OptionError(option, `cannot access ${at} (${codeOf(error)}); choose another path`)
      }
    }
  }
}

/**
 * The key that authenticates NFS file handles, made at the first call for `stateDir`. When two servers start at once both get the
 * same one: a whole file is linked into place, never written there.
 *
 * @throws OptionError the file is damaged, readable for others, or cannot be made
 */
export async function loadHandleKey(stateDir: string, random: RandomBytes): Promise<Uint8Array> {
  const path = join(stateDir, KEY_FILE)
  try {
    await mkdir(stateDir, { recursive: true, mode: 0o700 })
    return (await readKey(path)) ?? (await makeKey(path, random))
  } catch (error) {
    if (error instanceof OptionError) throw error
    throw new OptionError('--state-dir', `cannot use ${stateDir} (${codeOf(error)}); choose another directory`)
  }
}

async function readKey(path: string): Promise<Uint8Array | undefined> {
  const file = await openExisting(path)
  if (file === undefined) return undefined
  try {
    const { mode } = await file.stat()
    if ((mode & 0o077) !== 0) {
      throw new OptionError(
        '--state-dir',
        `other users can read ${path}; run chmod 600 on it, or remove it to get a new key`,
      )
    }
    const key = await file.readFile()
    if (key.length === KEY_BYTES) return key
    throw new OptionError(
      '--state-dir',
      `${path} has ${key.length} bytes instead of ${KEY_BYTES}; remove it to get a new key`,
    )
  } finally {
    await file.close()
  }
}

async function openExisting(path: string) {
  try {
    return await open(path, constants.O_RDONLY | constants.O_NOFOLLOW)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return undefined
    throw error
  }
}

async function makeKey(path: string, random: RandomBytes): Promise<Uint8Array> {
  const aside = asideName(path)
  await writeWhole(aside, random(KEY_BYTES), 0o600)
  try {
    await link(aside, path)
  } catch (error) {
    if (codeOf(error) !== 'EEXIST') throw error
  } finally {
    await rm(aside, { force: true })
  }
  const key = await readKey(path)
  if (key === undefined) throw new OptionError('--state-dir', `${path} disappeared while it was created; start again`)
  return key
}

let asideCount = 0

/** Where a file is built before it gets its name: different in every process and at every call. */
function asideName(path: string): string {
  return `${path}.${process.pid}.${asideCount++}~`
}

/** Writes a file of `mode` and makes it durable; what stood there is replaced. */
async function writeWhole(path: string, data: Uint8Array | string, mode: number): Promise<void> {
  await rm(path, { force: true })
  const file = await open(path, 'wx', mode)
  try {
    await file.writeFile(data)
    await file.sync()
  } finally {
    await file.close()
  }
}

/** Puts `data` at `path` in one step: a reader sees the old file or all of the new one. */
async function replaceFile(path: string, data: string, mode: number): Promise<void> {
  const aside = asideName(path)
  await writeWhole(aside, data, mode)
  await rename(aside, path)
}

/** A small file of the state directory, undefined when there is none. */
export async function readStateFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** Puts a small file into the state directory, in one step and durably, readable for the server alone. */
export async function writeStateFile(path: string, data: string): Promise<void> {
  await mkdir(dirname(path), { recursive: true, mode: 0o700 })
  await replaceFile(path, data, 0o600)
}

/** Writes the file of `--ready-file`. */
export async function writeReadyFile(path: string, note: ReadyNote): Promise<void> {
  await replaceFile(path, `${JSON.stringify(note)}\n`, 0o644)
}

/** Notes this running server for `overlayd status`; returns the path of the note. */
export async function writeRunNote(stateDir: string, note: RunNote): Promise<string | undefined> {
  const directory = join(stateDir, RUN_DIR)
  const path = join(directory, `${note.pid}.json`)
  const write = async () => {
    await mkdir(directory, { recursive: true, mode: 0o700 })
    await replaceFile(path, `${JSON.stringify(note)}\n`, 0o600)
    return path
  }
  const written = await write().catch(unlessNoRoom)
  return written === NO_ROOM ? undefined : written
}

const NO_ROOM = Symbol('no room')

/** A full disk, or one that has turned read-only, keeps nobody from being served. */
function unlessNoRoom(error: unknown): typeof NO_ROOM {
  if (['ENOSPC', 'EDQUOT', 'EROFS'].includes(codeOf(error) ?? '')) return NO_ROOM
  throw error
}

/** The notes of servers that still run. Those of dead ones, left by a crash, are taken away where that is allowed. */
export async function readRunNotes(stateDir: string): Promise<RunNote[]> {
  const directory = join(stateDir, RUN_DIR)
  const notes: RunNote[] = []
  for (const name of await listIfAny(directory)) {
    const match = /^([1-9]\d*)\.json$/.exec(name)
    if (match === null) continue
    const path = join(directory, name)
    if (isRunning(Number(match[1]))) notes.push(...parseNote(await readFile(path, 'utf8')))
    else await rm(path, { force: true })
  }
  return notes
}

/** The note, or nothing when it is not whole: it was written by hand or by a machine that then lost power. */
function parseNote(text: string): RunNote[] {
  try {
    return [JSON.parse(text)]
  } catch (error) {
    if (error instanceof SyntaxError) return []
    throw error
  }
}

async function listIfAny(directory: string): Promise<string[]> {
  try {
    return await readdir(directory)
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return []
    throw new OptionError('--state-dir', `cannot read ${directory} (${codeOf(error)}); choose another directory`)
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch (error) {
    return codeOf(error) === 'EPERM'
  }
}

/**
 * Where an overlay without upper keeps the memory of its file handles: a directory that belongs to these layers in this order. Made when
 * missing; `undo` takes away what was made. Undefined where there is no room for one: handles then last as long as the process.
 */
export async function makeHandleDir(
  stateDir: string,
  layers: readonly string[],
): Promise<{ path: string; undo: () => Promise<void> } | undefined> {
  const path = handleDirOf(stateDir, layers)
  const first = await mkdir(path, { recursive: true, mode: 0o700 }).catch(unlessNoRoom)
  if (first === NO_ROOM) return undefined
  return { path, undo: async () => (first === undefined ? undefined : rm(first, { recursive: true })) }
}

/**
 * After a remount: what the overlay remembers of its file handles, at `path`, is found by a later start with the layers that it has now. Returns its
 * new place. What was kept there changes places with it.
 */
export async function moveHandleDir(stateDir: string, path: string, layers: readonly string[]): Promise<string> {
  const target = handleDirOf(stateDir, layers)
  if (target === path) return path
  const aside = asideName(path)
  await rename(path, aside)
  try {
    await rename(target, path)
  } catch (error) {
    if (codeOf(error) !== 'ENOENT') throw error
  }
  await rename(aside, target)
  return target
}

function handleDirOf(stateDir: string, layers: readonly string[]): string {
  return statePath(stateDir, 'handles', [layers.join('\0')])
}

/**
 * Makes the directories of the sample overlay and returns them. The lower ships with the package. With an `owner`, as whom root's clients act,
 * all of it is that user's, and the lower a copy: only the listeners lead there, as `sample` is 0700.
 */
export async function makeSampleDirs(
  stateDir: string,
  owner: { readonly uid: number; readonly gid: number } | undefined,
): Promise<{ lower: string; upper: string; work: string }> {
  const sample = join(stateDir, 'sample')
  const upper = join(sample, 'upper')
  const work = join(sample, 'work')
  await mkdir(sample, { recursive: true, mode: 0o700 })
  for (const directory of [upper, work]) await mkdir(directory, { recursive: true })
  const lower = await sampleLower()
  if (owner === undefined) return { lower, upper, work }
  await chown(upper, owner.uid, owner.gid)
  const copy = join(sample, 'lower')
  if ((await nearestExisting('--sample', copy)) !== copy) await copyFor(owner, lower, copy)
  return { lower: copy, upper, work }
}

/** Copies a tree, which then is the user's; there is no half a copy under the name `to`. */
async function copyFor(owner: { readonly uid: number; readonly gid: number }, from: string, to: string): Promise<void> {
  const making = asideName(to)
  await cp(from, making, { recursive: true, preserveTimestamps: true })
  const entries = await readdir(making, { recursive: true })
  for (const entry of ['', ...entries]) await lchown(join(making, entry), owner.uid, owner.gid)
  await rename(making, to)
}

/** `deploy/sample/lower` of the package: one level up from the sources, two from the built files. */
async function sampleLower(): Promise<string> {
  for (const up of ['..', '../..']) {
    const candidate = join(import.meta.dirname, up, 'deploy/sample/lower')
    if ((await nearestExisting('--sample', candidate)) === candidate) return candidate
  }
  throw new OptionError('--sample', 'the sample tree is missing from this installation; use -o lowerdir=DIR')
}

/** Takes away what a running server left for others to find. */
export async function removeNotes(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true })
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}
