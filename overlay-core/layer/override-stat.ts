import { FileType, type Ownership } from '../api/types.ts'

/**
 * The attribute in which rootless container tools (containers/storage, fuse-overlayfs) store the owner, group, mode and type that a
 * server without root cannot set on an object on disk.
 */
export const OVERRIDE_STAT = 'user.containers.override_stat'

/** Owner, group and mode of an object, and its device number if it is a device. */
export interface NodeOwnership extends Ownership {
  readonly rdevMajor: number
  readonly rdevMinor: number
}

/** The content of `OVERRIDE_STAT`. */
export interface OverrideStat extends NodeOwnership {
  /** Undefined if the record does not contain it. */
  readonly type: FileType | undefined
}

const FORMAT = /^(\d{1,10}):(\d{1,10}):([0-7]{1,7})(?::([a-z]+)(?:-(\d{1,10})-(\d{1,10}))?.*)?$/
const LARGEST_ID = 0xfffffffe
const WORDS: ReadonlyMap<string, FileType> = new Map([
  ['file', FileType.regular],
  ['dir', FileType.directory],
  ['symlink', FileType.symlink],
  ['pipe', FileType.fifo],
  ['socket', FileType.socket],
  ['block', FileType.block],
  ['char', FileType.character],
])

/** Decodes `UID:GID:MODE[:TYPE]`: decimal ids, octal mode, and `file`, `dir`, `pipe`, `char-MAJOR-MINOR`, …; undefined if it is malformed. */
export function parseOverrideStat(value: Uint8Array): OverrideStat | undefined {
  const match = FORMAT.exec(Buffer.from(value).toString('latin1'))
  if (!match) return undefined
  const [uid, gid] = [Number(match[1]), Number(match[2])]
  if (uid > LARGEST_ID || gid > LARGEST_ID) return undefined
  // Some tools also include the type in the mode.
  const mode = Number.parseInt(match[3] as string, 8) & 0o7777
  const type = match[4] === undefined ? undefined : WORDS.get(match[4])
  return { uid, gid, mode, type, rdevMajor: Number(match[5] ?? 0), rdevMinor: Number(match[6] ?? 0) }
}

/**
 * The device, fifo or socket that an empty file with this record represents, because a server without root cannot create one or give it away;
 * undefined if the file represents only itself. It never represents a whiteout.
 */
export function standsFor(record: OverrideStat | undefined): FileType | undefined {
  if (!record || !isSpecial(record.type)) return undefined
  const whiteout = record.type === FileType.character && record.rdevMajor === 0 && record.rdevMinor === 0
  return whiteout ? undefined : record.type
}

/** Whether the type is a device, fifo or socket. */
export function isSpecial(type: FileType | undefined): boolean {
  return type !== undefined && ![FileType.regular, FileType.directory, FileType.symlink].some((plain) => plain === type)
}

/** Encodes a record in the format of containers/storage. */
export function formatOverrideStat(record: OverrideStat): Uint8Array {
  const { uid, gid, mode, type } = record
  let text = `${uid}:${gid}:${mode.toString(8).padStart(4, '0')}`
  for (const [word, of] of WORDS) if (of === type) text += `:${word}`
  if (type === FileType.block || type === FileType.character) text += `-${record.rdevMajor}-${record.rdevMinor}`
  return Buffer.from(text, 'latin1')
}
