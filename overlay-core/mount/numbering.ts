import type { FileSystemStat } from '../sys/stat.ts'
import type { KnownFileSystem } from './identity-file.ts'

/** File ids have room for so many file systems. */
const MOST = 256
/** So many places of a file system are remembered. */
const MOST_MARKS = 32

/** A file system that is to get its number. */
export interface UnnumberedFileSystem {
  /** Device number, as text. */
  readonly device: string
  /** Hex; empty where it has none. */
  readonly uuid: string
  readonly marks: readonly string[]
}

/**
 * What a file system without a UUID is known by, through one layer on it: an image by its content, any other by where it is mounted.
 * `root` is the layer's root directory.
 */
export function markOf(path: string, fileSystem: FileSystemStat, root: { readonly mtime: { sec: number } }): string {
  const type = fileSystem.type.toString(16)
  const { blocks, blocksFree, files, filesFree } = fileSystem
  const image = blocks > 0 && blocksFree === 0 && filesFree === 0
  return image ? `${type}:${blocks}:${files}:${root.mtime.sec}` : `${type}:${path}`
}

/**
 * Numbers the file systems `present` by what is known of earlier mounts, so that one keeps its number for ever, in whatever order and
 * company its layers are. The number is part of every key and file id.
 *
 * A file system is known by its UUID; where it has none, or another one present has the same (a clone), also by one of its marks. Returns the numbers by
 * device, and all that is known then, used last first; when there are too many, the one not used for longest gives its number away.
 */
export function numberFileSystems(
  known: readonly KnownFileSystem[],
  present: readonly UnnumberedFileSystem[],
): { numbers: Map<string, number>; known: KnownFileSystem[] } {
  const numbers = new Map<string, number>()
  const rest = [...known]
  const used: KnownFileSystem[] = []
  const fresh: UnnumberedFileSystem[] = []
  for (const fileSystem of present) {
    const at = findKnown(rest, fileSystem, needsMark(fileSystem, present))
    const [entry] = at < 0 ? [] : rest.splice(at, 1)
    if (entry) take(entry.index, fileSystem, entry.marks)
    else fresh.push(fileSystem)
  }
  for (const fileSystem of fresh) take(freeIndex(), fileSystem, [])
  return { numbers, known: [...used, ...rest] }

  function take(index: number, fileSystem: UnnumberedFileSystem, before: readonly string[]): void {
    numbers.set(fileSystem.device, index)
    const marks = new Set([...fileSystem.marks, ...before])
    used.push({ index, uuid: fileSystem.uuid, marks: [...marks].slice(0, MOST_MARKS) })
  }

  function freeIndex(): number {
    const taken = new Set([...used, ...rest].map(({ index }) => index))
    for (let index = 0; index < MOST; index++) if (!taken.has(index)) return index
    // More than 256 file systems at once share the last number: their file ids may then be the same.
    return rest.pop()?.index ?? MOST - 1
  }
}

function needsMark({ uuid, device }: UnnumberedFileSystem, present: readonly UnnumberedFileSystem[]): boolean {
  return uuid === '' || present.some((other) => other.uuid === uuid && other.device !== device)
}

function findKnown(known: readonly KnownFileSystem[], { uuid, marks }: UnnumberedFileSystem, byMark: boolean): number {
  const sameUuid = known.filter((entry) => entry.uuid === uuid)
  const alone = !byMark && sameUuid.length === 1
  return known.findIndex((entry) => entry.uuid === uuid && (alone || entry.marks.some((mark) => marks.includes(mark))))
}
