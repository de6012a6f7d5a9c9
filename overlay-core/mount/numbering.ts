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
  /** What earlier versions took for its UUID, if something else. */
  readonly formerUuid?: string
  readonly marks: readonly string[]
  /** A mark that no other file system has, and that it never loses; undefined where nothing like that is known. */
  readonly exact?: string | undefined
}

/** What holds of one that had no number before. */
const FRESH = { marked: true, salted: true }

/** What every exact mark begins with. */
const EXACT = '='

/** The exact mark that says `text`. */
export function exactMark(text: string): string {
  return EXACT + text
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
    if (entry) take(entry.index, fileSystem, entry)
    else fresh.push(fileSystem)
  }
  for (const fileSystem of fresh) take(freeIndex(), fileSystem)
  return { numbers, known: [...used, ...rest] }

  function take(index: number, fileSystem: UnnumberedFileSystem, before?: KnownFileSystem): void {
    const { device, uuid, exact, marks: now } = fileSystem
    numbers.set(device, index)
    const marks = [...new Set([...(exact === undefined ? [] : [exact]), ...now, ...(before?.marks ?? [])])]
    const { indexed, marked, salted } = before ?? { indexed: undefined, ...FRESH }
    used.push({ index, uuid, marks: marks.slice(0, MOST_MARKS), indexed, marked, salted })
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

/** One that is known by an exact mark is no other one, whatever else they have in common; where several are, it is the one with the most marks. */
function findKnown(known: readonly KnownFileSystem[], fileSystem: UnnumberedFileSystem, byMark: boolean): number {
  const { uuid, formerUuid, marks, exact } = fileSystem
  const common = (entry: KnownFileSystem) => entry.marks.filter((mark) => marks.includes(mark)).length
  const best = (entries: readonly KnownFileSystem[]) =>
    entries.reduce<KnownFileSystem | undefined>((a, b) => (a && common(a) >= common(b) ? a : b), undefined)
  const same = known.filter((entry) => entry.uuid === uuid)
  const surely = exact === undefined ? undefined : best(same.filter((entry) => entry.marks.includes(exact)))
  if (surely) return known.indexOf(surely)
  // Where there is a UUID, it may be that the exact mark cannot be read this time.
  const mayBe = (entry: KnownFileSystem) => !entry.marks.some((mark) => mark.startsWith(EXACT))
  const others = exact === undefined && uuid !== '' ? same : same.filter(mayBe)
  const [alone] = others
  if (alone && !byMark && same.length === 1) return known.indexOf(alone)
  const former = formerUuid === undefined ? [] : known.filter((entry) => entry.uuid === formerUuid)
  const marked = best([...others, ...former].filter((entry) => common(entry) > 0))
  return marked ? known.indexOf(marked) : -1
}
