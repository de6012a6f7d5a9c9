import { lstat, open, readdir, rm, rmdir, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { Identity } from '../../config/index.ts'
import { isUnwritable, type MountOptions } from '../../overlay-core/index.ts'
import { isThere } from '../make-directory.ts'
import { makeUpper } from '../new-upper.ts'
import { readStateFile, writeStateFile } from '../state-dir.ts'
import { deleteTree } from './delete-tree.ts'
import { decodeLine, encodeLine, isViewId, type ViewRecord } from './view-record.ts'

/** The record of a view in its own directory, from which a damaged registry is mended. */
const RECORD_FILE = 'view.json'

/** The mount options of one view of a template. */
export function optionsOf(template: MountOptions, directory: string, id: string): MountOptions {
  const own = join(directory, id)
  return { ...template, upperdir: join(own, 'upper'), workdir: join(own, 'work') }
}

/**
 * Makes the directories of a view, mode 0700, with an upper that has the mode of the lower root and belongs to `owner`, and makes them durable. Nothing is left
 * after an error.
 *
 * @throws ENOSPC | EDQUOT | EROFS · OptionError
 */
export async function makeViewDirectory(options: MountOptions, record: ViewRecord, owner: Identity): Promise<void> {
  const own = dirname(options.upperdir as string)
  try {
    if (!(await makeUpper(options, owner))) throw noRoom(own)
    await writeRecord(own, record)
    await syncDirectory(own)
    await syncDirectory(dirname(own))
  } catch (error) {
    await rm(own, { recursive: true, force: true }).catch((second) => {
      if (!isUnwritable(second)) throw second
    })
    throw error
  }
}

/** Makes the directories of a view that is not kept. Nothing is left after an error. @throws as `makeViewDirectory` */
export async function makeEphemeralDirectory(options: MountOptions, owner: Identity): Promise<void> {
  const own = dirname(options.upperdir as string)
  try {
    if (!(await makeUpper(options, owner))) throw noRoom(own)
  } catch (error) {
    await deleteTree(own)
    throw error
  }
}

/** Saves the record in the view's own directory. */
export async function writeRecord(own: string, record: ViewRecord): Promise<void> {
  await writeStateFile(join(own, RECORD_FILE), `${encodeLine({ kind: 'made', view: record })}\n`)
}

/** The view whose directory this is, according to its own record; undefined if it has none. */
export async function readRecord(directory: string, id: string): Promise<ViewRecord | undefined> {
  const line = decodeLine((await readStateFile(join(directory, id, RECORD_FILE))) ?? '')
  return line?.kind === 'made' && line.view.id === id ? line.view : undefined
}

/**
 * Deletes the directory of a view that was being made when the server was killed: it has no record yet, and nothing in its upper. Returns false if it is
 * another one.
 */
export async function deleteUnfinished(directory: string, id: string): Promise<boolean> {
  const own = join(directory, id)
  if ((await isThere(join(own, RECORD_FILE))) || (await isFilled(join(own, 'upper')))) return false
  await deleteViewDirectory(directory, id)
  return true
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

async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, 'r')
  try {
    await directory.sync()
  } finally {
    await directory.close()
  }
}

function noRoom(path: string): Error {
  return Object.assign(new Error(`no space for ${path}`), { code: 'ENOSPC', path })
}
