import { link, mkdir, readdir } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import type { MountOptions } from '../../overlay-core/index.ts'
import { deleteTree } from './delete-tree.ts'
import { makeBareDirectory, writeRecord } from './view-directory.ts'
import type { ViewRecord } from './view-record.ts'

/** Where a workdir has protocol data that is too large for attributes; see overlay-core/README.md. */
const NOTES = 'notes'

/** How a fork differs from a view that a command makes. */
export interface ForkOptions {
  /** How long it exists, in ms; undefined: until it is removed. */
  readonly ttlMs?: number | undefined
  /** Whether it ends when nobody has used it for its idle time. */
  readonly ephemeral?: boolean | undefined
  /** Whether it belongs to the owner of its source, whatever its name. */
  readonly sameOwner?: boolean | undefined
}

/**
 * Makes the directories of a view on the frozen layers of another one. Large protocol data of objects in these layers is in the workdir of the other one, in
 * files that never change, so the new workdir gets links to them. The record comes last. Nothing is left after an error.
 *
 * @throws ENOSPC | EDQUOT | EROFS · OptionError
 */
export async function makeForkDirectory(
  options: MountOptions,
  record: ViewRecord,
  source: MountOptions,
): Promise<void> {
  const { uid, gid } = record
  await makeBareDirectory(options, { uid, gid })
  const own = dirname(options.upperdir as string)
  try {
    await linkNotes(join(source.workdir as string, NOTES), join(options.workdir as string, NOTES))
    await writeRecord(own, record)
  } catch (error) {
    await deleteTree(own)
    throw error
  }
}

async function linkNotes(from: string, to: string): Promise<void> {
  const names = await namesIn(from)
  if (names.length === 0) return
  await mkdir(to, { mode: 0o700 })
  for (const name of names) await unlessGone(link(join(from, name), join(to, name)))
}

async function namesIn(path: string): Promise<string[]> {
  return (await unlessGone(readdir(path))) ?? []
}

async function unlessGone<T>(work: Promise<T>): Promise<T | undefined> {
  try {
    return await work
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    return undefined
  }
}
