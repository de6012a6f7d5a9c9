import { logFileNames, readOld, takeOver } from '../base/log-file.ts'
import { readRecordFile, syncRecordFile, writeFirstRecordFile, writeRecordFile } from '../base/record-file.ts'
import type { Identity } from '../layer/identity.ts'
import { pread } from '../sys/data.ts'

const NAME = 'identity.log'
const KIND = 'identity'
/** The file of earlier versions, with the same content as text. */
const OLD_NAME = 'identity'
/** More than 255 file systems with their marks need less than this. */
const MAX_BYTES = 4 * 1024 * 1024

/** The names that the file can have in its directory. */
export const IDENTITY_FILE_NAMES: readonly string[] = [...logFileNames(NAME), ...logFileNames(OLD_NAME)]

/** A file system that holds layers of the overlay, or held them earlier. */
export interface KnownFileSystem {
  /** Its number in file ids and keys, 0…255; it never changes. */
  readonly index: number
  /** The UUID in hex; empty if the file system has none. */
  readonly uuid: string
  /** Other features by which it is recognized (see `numberFileSystems`). */
  readonly marks: readonly string[]
  /** Whether the index contains hard links of this file system, under its UUID. */
  readonly indexed?: boolean | undefined
  /** Whether the generations of objects identified by name include its number (`Layer.salt`); false if an earlier version assigned the number. */
  readonly salted?: boolean | undefined
  /** Whether all copies of its objects in the upper carry their identity, so that none must be led back by UUID and file handle. */
  readonly marked?: boolean | undefined
}

/** The data that must survive a restart so that objects keep their identities, whatever layers the overlay has then. */
export interface KeptIdentity {
  /** The most recently used first. */
  readonly fileSystems: readonly KnownFileSystem[]
  /** For an overlay without an upper: its UUID in hex, and the identity of its root. Both outlive the lowers that they were derived from. */
  readonly uuid?: string | undefined
  readonly root?: Identity | undefined
  /** A digest of the layers of the last mount or remount, and since when they have been in use, in ms since the epoch; 0: since the first mount. */
  readonly stack?: { readonly layers: string; readonly sinceMs: number } | undefined
}

export const NOTHING_KEPT: KeptIdentity = { fileSystems: [] }

/** Reads the file in the directory `dirFd`; `isOld` means an earlier version wrote it. A missing or damaged file counts as empty. */
export async function readIdentityFile(dirFd: number): Promise<{ kept: KeptIdentity; isOld: boolean }> {
  // If both files exist, a crash happened before the old one was removed, or an earlier version has run since.
  const old = await readOldFile(dirFd)
  if (old !== undefined) return { kept: old, isOld: true }
  const records = await readRecordFile(dirFd, NAME, KIND, MAX_BYTES)
  const last = records?.at(-1)
  return { kept: (last && parse(last.toString('utf8'))) ?? NOTHING_KEPT, isOld: false }
}

async function readOldFile(dirFd: number): Promise<KeptIdentity | undefined> {
  let kept: KeptIdentity | undefined
  await readOld(dirFd, OLD_NAME, async (fd, size) => {
    if (size > MAX_BYTES) return
    const bytes = Buffer.alloc(size)
    kept = parse(bytes.toString('utf8', 0, await pread(fd, bytes, 0, size, 0)))
  })
  return kept
}

/** Writes the first file of a directory, not durably. */
export async function writeFirstIdentityFile(dirFd: number, kept: KeptIdentity): Promise<void> {
  await writeFirstRecordFile(dirFd, NAME, KIND, [encode(kept)])
}

/** Makes the file durable. */
export async function syncIdentityFile(dirFd: number): Promise<void> {
  await syncRecordFile(dirFd, NAME)
}

/** Replaces the file by one rename, durably, and then removes the file of an earlier version. */
export async function writeIdentityFile(dirFd: number, kept: KeptIdentity): Promise<void> {
  await writeRecordFile(dirFd, NAME, KIND, [encode(kept)])
  await takeOver(dirFd, OLD_NAME, async () => undefined)
}

function encode(kept: KeptIdentity): Buffer {
  return Buffer.from(JSON.stringify(kept))
}

function parse(text: string): KeptIdentity | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
  if (!isObject(value) || !Array.isArray(value.fileSystems)) return undefined
  if (!value.fileSystems.every(isFileSystem)) return undefined
  const uuid = typeof value.uuid === 'string' && /^[0-9a-f]{32}$/.test(value.uuid) ? value.uuid : undefined
  const root = isIdentity(value.root) ? value.root : undefined
  const stack = isStack(value.stack) ? value.stack : undefined
  return { fileSystems: value.fileSystems, uuid, root, stack }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function isFileSystem(value: unknown): value is KnownFileSystem {
  if (!isObject(value) || typeof value.uuid !== 'string' || !Array.isArray(value.marks)) return false
  const { index } = value
  return Number.isInteger(index) && Number(index) >= 0 && Number(index) <= 255
}

function isStack(value: unknown): value is { layers: string; sinceMs: number } {
  return isObject(value) && typeof value.layers === 'string' && Number.isSafeInteger(value.sinceMs)
}

function isIdentity(value: unknown): value is Identity {
  if (!isObject(value)) return false
  return ['key', 'generation', 'fileIdHi', 'fileIdLo'].every((name) => Number.isSafeInteger(value[name]))
}
