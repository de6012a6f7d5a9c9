import { constants } from 'node:fs'
import { access, chown, cp, lchown, link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { isUnwritable, OptionError } from '../overlay-core/index.ts'
import { makeDirectory } from './make-directory.ts'
import type { RandomBytes } from './random.ts'
import { isRunning } from './running-process.ts'
import { statePath } from './state-path.ts'
import { asideName, replaceFile, writeWhole } from './whole-file.ts'

const KEY_BYTES = 32
const KEY_FILE = 'nfs-handle-key'
const RUN_DIR = 'run'

/** The contents of `--ready-file`. A listener that is off is null. */
export interface ReadyFile {
  /** URL of the first view. */
  readonly webdav: string | null
  readonly nfs: { readonly host: string; readonly port: number; readonly export: string } | null
}

/** The contents of the run file of a server. Only the server's user and root can read it. */
export interface RunFile extends ReadyFile {
  readonly pid: number
  /** Names of its overlays. */
  readonly views: readonly string[]
  /** The configuration file that it serves. Absolute. */
  readonly config?: string
  /** The path of the socket of its admin listener, which only the server's user and root can use. */
  readonly admin: { readonly socket: string; readonly url?: string }
}

/**
 * Checks, without creating anything, that `directory` exists or can be created, and that it is writable. A read-only disk passes.
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
    if (!isUnwritable(error))
      throw new OptionError(option, `cannot write to ${at} (${codeOf(error)}); choose another directory`)
  }
}

/** Checks that a file can be created at `path`. @throws OptionError its directory is missing or not writable */
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
 * The key that authenticates NFS file handles, created at the first call for `stateDir`. If two servers start at once, both get the
 * same key, because a complete file is linked into place. If the disk is full or read-only, calls `notKept` and returns a key for this run.
 *
 * @throws OptionError the file is damaged, readable by others, or cannot be created
 */
export async function loadHandleKey(
  stateDir: string,
  random: RandomBytes,
  notKept: () => void = () => undefined,
): Promise<Uint8Array> {
  const path = join(stateDir, KEY_FILE)
  try {
    const present = await readKey(path)
    if (present) return present
    await makeDirectory(stateDir)
    return await makeKey(path, random)
  } catch (error) {
    if (error instanceof OptionError) throw error
    if (isUnwritable(error)) {
      notKept()
      return random(KEY_BYTES)
    }
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

/** Reads a small file of the state directory; undefined if there is none. */
export async function readStateFile(path: string): Promise<string | undefined> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return undefined
    throw error
  }
}

/** Writes a small file to the state directory, atomically and durably, readable only by the server. */
export async function writeStateFile(path: string, data: string): Promise<void> {
  await makeDirectory(dirname(path))
  await replaceFile(path, data, 0o600)
}

/** Lets a file of the state directory take its new place, where it has one and that is still free. */
export async function adoptStateFile(from: string, to: string): Promise<void> {
  if ((await readable(to)) || !(await readable(from))) return
  await rename(from, to)
}

async function readable(path: string): Promise<boolean> {
  try {
    await access(path)
    return true
  } catch (error) {
    if (codeOf(error) === 'ENOENT' || codeOf(error) === 'ENOTDIR') return false
    throw error
  }
}

/** Writes the file of `--ready-file`. False if its disk is full or read-only; then the file of an earlier run is removed if possible. */
export async function writeReadyFile(path: string, runFile: ReadyFile): Promise<boolean> {
  const written = await replaceFile(path, `${JSON.stringify(runFile)}\n`, 0o644).catch(unlessUnwritable)
  if (written !== UNWRITTEN) return true
  await rm(path, { force: true }).catch(unlessUnwritable)
  return false
}

/** Writes the run file of this server for `overlayd status` and returns its path. Undefined if the disk is full or read-only. */
export async function writeRunFile(stateDir: string, runFile: RunFile): Promise<string | undefined> {
  const directory = join(stateDir, RUN_DIR)
  const path = join(directory, `${runFile.pid}.json`)
  const write = async () => {
    await makeDirectory(directory)
    await replaceFile(path, `${JSON.stringify(runFile)}\n`, 0o600)
    return path
  }
  const written = await write().catch(unlessUnwritable)
  return written === UNWRITTEN ? undefined : written
}

const UNWRITTEN = Symbol('unwritten')

/** Ignores a full or read-only disk, which must not stop the server. */
function unlessUnwritable(error: unknown): typeof UNWRITTEN {
  if (isUnwritable(error)) return UNWRITTEN
  throw error
}

/** Reads the run files of running servers. Files left by a crash are removed if permitted. */
export async function readRunFiles(stateDir: string): Promise<RunFile[]> {
  const directory = join(stateDir, RUN_DIR)
  const runFiles: RunFile[] = []
  for (const name of await listIfAny(directory)) {
    const match = /^([1-9]\d*)\.json$/.exec(name)
    if (match === null) continue
    const path = join(directory, name)
    if (isRunning(Number(match[1]))) runFiles.push(...parseRunFile(await readFile(path, 'utf8')))
    else
      for (const left of [path, adminSocketPath(stateDir, Number(match[1]))])
        await rm(left, { force: true }).catch(unlessUnwritable)
  }
  return runFiles
}

/** Where the admin listener of a process has its socket. */
export function adminSocketPath(stateDir: string, pid: number): string {
  return join(stateDir, RUN_DIR, `${pid}.sock`)
}

/** Parses a run file. Returns nothing if it is incomplete: written by hand, or truncated by a power loss. */
function parseRunFile(text: string): RunFile[] {
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

/**
 * The directory in which an overlay without an upper stores its file handles; it belongs to these layers in this order. It is created if
 * missing; `undo` removes a created one. Undefined if there is no space: handles are then valid for this run only.
 */
export async function makeHandleDir(
  stateDir: string,
  layers: readonly string[],
  view?: string,
): Promise<{ path: string; undo: () => Promise<void> } | undefined> {
  const path = handleDirOf(stateDir, layers, view)
  const first = await makeDirectory(path).catch(unlessUnwritable)
  if (first === UNWRITTEN) return undefined
  return { path, undo: async () => (first === undefined ? undefined : rm(first, { recursive: true })) }
}

/**
 * Moves the stored file handles at `path` after a remount, so that a later start with the present layers finds them. Returns the
 * new path. An existing directory there is exchanged with it.
 */
export async function moveHandleDir(
  stateDir: string,
  path: string,
  layers: readonly string[],
  view?: string,
): Promise<string> {
  const target = handleDirOf(stateDir, layers, view)
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

/** `view` sets views on the same layers apart. */
function handleDirOf(stateDir: string, layers: readonly string[], view: string | undefined): string {
  return statePath(stateDir, 'handles', [layers.join('\0'), view === undefined ? '' : `\0\0${view}`])
}

/**
 * Creates the directories of the sample overlay and returns them. The lower is part of the package. With an `owner`, which root's clients act as,
 * everything belongs to that user and the lower is a copy. Only the listeners lead there, because `sample` has mode 0700.
 *
 * @throws OptionError the disk is full or read-only, and they do not exist yet
 */
export async function makeSampleDirs(stateDir: string, owner: Owner | undefined): Promise<SampleDirs> {
  const sample = join(stateDir, 'sample')
  try {
    return await sampleDirsIn(sample, owner)
  } catch (error) {
    if (!isUnwritable(error)) throw error
    throw new OptionError('--sample', `cannot create ${sample} (${codeOf(error)}); choose another --state-dir`)
  }
}

interface Owner {
  readonly uid: number
  readonly gid: number
}

interface SampleDirs {
  readonly lower: string
  readonly upper: string
  readonly work: string
}

async function sampleDirsIn(sample: string, owner: Owner | undefined): Promise<SampleDirs> {
  const upper = join(sample, 'upper')
  const work = join(sample, 'work')
  await makeDirectory(sample)
  for (const directory of [upper, work]) await mkdir(directory, { recursive: true })
  const lower = await sampleLower()
  if (owner === undefined) return { lower, upper, work }
  await chown(upper, owner.uid, owner.gid).catch(unlessUnwritable)
  const copy = join(sample, 'lower')
  if ((await nearestExisting('--sample', copy)) !== copy) await copyFor(owner, lower, copy)
  return { lower: copy, upper, work }
}

/** Copies a tree and makes the user its owner; `to` never names a partial copy. */
async function copyFor(owner: Owner, from: string, to: string): Promise<void> {
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

/** Removes the ready file and the run file, unless the disk has become read-only. */
export async function removeRunFiles(paths: readonly string[]): Promise<void> {
  for (const path of paths) await rm(path, { force: true }).catch(unlessUnwritable)
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}
