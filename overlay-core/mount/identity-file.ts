import { logFileNames, readOld, takeOver } from '../base/log-file.ts'
import { readRecordFile, writeRecordFile } from '../base/record-file.ts'
import type { Identity } from '../layer/identity.ts'
import { pread } from '../sys/data.ts'

const NAME = 'identity.log'
const KIND = 'identity'
/** Of earlier versions: the same as text. */
const OLD_NAME = 'identity'
/** More than 255 file systems with their marks never need so much. */
const MAX_BYTES = 4 * 1024 * 1024

/** The names of the file in its directory. */
export const IDENTITY_FILE_NAMES: readonly string[] = [...logFileNames(NAME), ...logFileNames(OLD_NAME)]

/** A file system that layers of the overlay lie or lay on. */
export interface KnownFileSystem {
  /** What stands for it in file ids and keys: 0…255, given once. */
  readonly index: number
  /** Hex; empty where it has none. */
  readonly uuid: string
  /** What else it is known by (see `FileSystemNumbers`). */
  readonly marks: readonly string[]
  /** The index holds hard links of it, under its UUID. */
  readonly indexed?: boolean | undefined
  /** Its number goes into the generations of names that are objects of their own (`Layer.salt`); not where earlier versions gave the number. */
  readonly salted?: boolean | undefined
  /** All copies of its objects in the upper bear their identity: none needs to be led back by UUID and file handle. */
  readonly marked?: boolean | undefined
}

/** What must survive a restart for objects to keep their identities, whatever layers the overlay then has. */
export interface KeptIdentity {
  /** Used last first. */
  readonly fileSystems: readonly KnownFileSystem[]
  /** Of an overlay without upper: its uuid in hex, and the identity of its root, which outlive the lowers that they were made of. */
  readonly uuid?: string | undefined
  readonly root?: Identity | undefined
  /** A digest of the layers of the last mount or remount, and since when they have been the layers, in ms of the epoch; 0: since the first mount. */
  readonly stack?: { readonly layers: string; readonly sinceMs: number } | undefined
}

export const NOTHING_KEPT: KeptIdentity = { fileSystems: [] }

/** What is kept in the directory `dirFd`, and whether it is an earlier version's; a missing or damaged file says nothing. */
export async function readIdentityFile(dirFd: number): Promise<{ kept: KeptIdentity; isOld: boolean }> {
  // Where both are there a crash has come before the old one was removed, or an earlier version has run since.
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

/** Puts the file into its place by one rename, durably; then that of an earlier version is removed. */
export async function writeIdentityFile(dirFd: number, kept: KeptIdentity): Promise<void> {
  await writeRecordFile(dirFd, NAME, KIND, [Buffer.from(JSON.stringify(kept))])
  await takeOver(dirFd, OLD_NAME, async () => undefined)
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
