import { isErrno } from '../api/errno.ts'
import type { Identity } from '../layer/identity.ts'
import { fsync, pread, pwrite } from '../sys/data.ts'
import { renameAt } from '../sys/dir.ts'
import { O_CREAT, O_NOFOLLOW, O_RDONLY, O_TRUNC, O_WRONLY } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'

const NAME = 'identity'
const NEW_NAME = 'identity.new'
/** More than 255 file systems with their marks never need so much. */
const MAX_BYTES = 4 * 1024 * 1024

/** The names of the file in its directory. */
export const IDENTITY_FILE_NAMES: readonly string[] = [NAME, NEW_NAME]

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

/** Reads the file in the directory `dirFd`; a missing or damaged one says nothing. */
export async function readIdentityFile(dirFd: number): Promise<KeptIdentity> {
  let fd: number
  try {
    fd = await openAt(dirFd, NAME, O_RDONLY | O_NOFOLLOW)
  } catch (error) {
    if (isErrno(error, 'ENOENT', 'ELOOP')) return NOTHING_KEPT
    throw error
  }
  try {
    const { size } = statxFd(fd)
    if (size > MAX_BYTES) return NOTHING_KEPT
    const bytes = Buffer.alloc(size)
    const read = await pread(fd, bytes, 0, size, 0)
    return parse(bytes.toString('utf8', 0, read)) ?? NOTHING_KEPT
  } finally {
    closeSync(fd)
  }
}

/** Puts the file into its place by one rename, durably. */
export async function writeIdentityFile(dirFd: number, kept: KeptIdentity): Promise<void> {
  const fd = await openAt(dirFd, NEW_NAME, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW, 0o600)
  try {
    await pwrite(fd, Buffer.from(`${JSON.stringify(kept)}\n`), 0)
    await fsync(fd)
  } finally {
    closeSync(fd)
  }
  await renameAt(dirFd, NEW_NAME, dirFd, NAME)
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
