import { lstat, readdir, rmdir, stat } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import type { Identity } from '../../config/index.ts'
import {
  claimDirectory,
  createOwnRoots,
  isUnwritable,
  type MountOptions,
  OptionError,
} from '../../overlay-core/index.ts'
import { isThere, makeDirectory } from '../make-directory.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'
import { sync } from '../whole-file.ts'
import { deleteTree } from './delete-tree.ts'
import { isViewId } from './view-id.ts'
import { decodeLine, encodeLine, type ViewRecord } from './view-record.ts'

/** The record of a view in its own directory, from which a damaged registry is mended. */
const RECORD_FILE = 'view.json'
/** The directory for what the views know of the lowers together. */
const STACK_DIRECTORY = 'stack'

/** The mount options of one view of a template, above its frozen layers. */
export function optionsOf(
  template: MountOptions,
  directory: string,
  id: string,
  frozen: readonly string[] = [],
): MountOptions {
  const own = join(directory, id)
  const lowerdir = [...frozen, ...template.lowerdir]
  return { ...template, lowerdir, frozen: frozen.length, upperdir: join(own, 'upper'), workdir: join(own, 'work') }
}

/**
 * Makes the directories of a view, mode 0700, with an upper that has the mode of the lower root and belongs to `owner`. The record comes last: with it the
 * view outlives the process. Nothing is synced, and nothing is left after an error.
 *
 * @throws ENOSPC | EDQUOT | EROFS · OptionError
 */
export async function makeViewDirectory(options: MountOptions, record: ViewRecord, owner: Identity): Promise<void> {
  await make(options, owner, { name: RECORD_FILE, content: Buffer.from(textOf(record), 'utf8') })
}

/** Makes the directories of a view without its record: one that is not kept, or gets it later. Nothing is left after an error. @throws as `makeViewDirectory` */
export async function makeBareDirectory(options: MountOptions, owner: Identity): Promise<void> {
  await make(options, owner, undefined)
}

async function make(
  { upperdir = '', lowerdir }: MountOptions,
  owner: Identity,
  record: { readonly name: string; readonly content: Uint8Array } | undefined,
): Promise<void> {
  const own = dirname(upperdir)
  try {
    const { mode } = await stat(lowerdir[0] as string)
    const upper = { mode: mode & 0o7777, ...owner }
    await createOwnRoots({ parent: dirname(own), name: basename(own), upper, record })
  } catch (error) {
    await deleteTree(own).catch((second) => {
      if (!isUnwritable(second)) throw second
    })
    const { code } = error as NodeJS.ErrnoException
    if (code === undefined || isUnwritable(error)) throw error
    throw new OptionError('directory', `${own} cannot be created (${code}); choose another directory`)
  }
}

/** Makes the directories and the record of a view durable, except for the name of its directory. One that is gone need not be. */
export async function syncViewDirectory(directory: string, id: string): Promise<void> {
  try {
    // Together, so that the journal of the file system commits them together.
    await Promise.all([sync(join(directory, id)), sync(join(directory, id, RECORD_FILE))])
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    if (code !== 'ENOENT' && code !== 'ENOTDIR') throw error
  }
}

/** Saves the record in the view's own directory. */
export async function writeRecord(own: string, record: ViewRecord): Promise<void> {
  await writeStateFile(join(own, RECORD_FILE), textOf(record))
}

function textOf(view: ViewRecord): string {
  return `${encodeLine({ kind: 'made', view })}\n`
}

/** The view whose directory this is, according to its own record; undefined if it has none. */
export async function readRecord(directory: string, id: string): Promise<ViewRecord | undefined> {
  const line = decodeLine((await readStateFile(join(directory, id, RECORD_FILE))) ?? '')
  return line?.kind === 'made' && line.view.id === id ? line.view : undefined
}

/**
 * Deletes the directory of a view that was being made when the server was killed or the machine stopped: its record is missing or cut short, and nothing is in
 * its upper. Returns false if it is another one.
 */
export async function deleteUnfinished(directory: string, id: string): Promise<boolean> {
  const own = join(directory, id)
  const text = await readStateFile(join(own, RECORD_FILE))
  if (text?.endsWith('\n') || (await isFilled(join(own, 'upper')))) return false
  await deleteViewDirectory(directory, id)
  return true
}

/** Whether a view was changed since its upper was made or frozen. */
export async function hasChanges(directory: string, id: string): Promise<boolean> {
  return await isFilled(join(directory, id, 'upper'))
}

async function isFilled(path: string): Promise<boolean> {
  return (await isThere(path)) && (await readdir(path)).length > 0
}

/** The directory of a view. */
export function pathOfView(directory: string, id: string): string {
  return join(directory, id)
}

/** Whether this is a directory that only the user of the server can enter. */
export async function isPrivate(path: string): Promise<boolean> {
  const found = await lstat(path)
  return found.isDirectory() && found.uid === process.geteuid?.() && (found.mode & 0o077) === 0
}

/** Removes a directory unless there is something in it. */
export async function removeEmptyDirectory(path: string): Promise<void> {
  await rmdir(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOTEMPTY') throw error
  })
}

/** Keeps other servers out of the directory of a template. Returns what ends that. @throws OptionError another server uses it */
export async function claimViews(directory: string): Promise<() => void> {
  const release = await claimDirectory(directory)
  if (release === undefined)
    throw new OptionError('directory', `another server uses ${directory}; choose another directory`)
  return release
}

/** Makes the directory in which a template keeps what its views know of the lowers together, and returns its path. */
export async function makeStackDirectory(directory: string): Promise<string> {
  const path = join(directory, STACK_DIRECTORY)
  await makeDirectory(path)
  return path
}

/** The ids of the views that have a directory. */
export async function viewDirectories(directory: string): Promise<string[]> {
  return (await readdir(directory)).filter(isViewId)
}

/** The owner of a directory. */
export async function ownerOfDirectory(path: string): Promise<Identity> {
  const { uid, gid } = await stat(path)
  return { uid, gid }
}

/** Whether the upper of a view is still there. */
export function hasUpper({ upperdir }: MountOptions): Promise<boolean> {
  return isThere(upperdir as string)
}

/** Deletes everything in a view. */
export async function deleteViewDirectory(directory: string, id: string): Promise<void> {
  await deleteTree(join(directory, id))
}

/** The error of a view whose upper somebody has taken away. */
export function upperIsGone({ upperdir }: MountOptions): Error {
  return new Error(`its upper ${upperdir} is gone; put it back, or remove the view`)
}
