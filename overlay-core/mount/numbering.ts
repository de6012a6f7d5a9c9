import type { FileSystemStat } from '../sys/stat.ts'
import type { KnownFileSystem } from './identity-file.ts'

/** File ids have space for this many file systems. */
const MOST = 256
/** The maximum number of marks remembered for each file system. */
const MOST_MARKS = 32

/** A file system to be numbered. */
export interface UnnumberedFileSystem {
  /** The device number, as text. */
  readonly device: string
  /** The UUID in hex; empty if the file system has none. */
  readonly uuid: string
  /** What earlier versions took for its UUID, if different. */
  readonly formerUuid?: string
  readonly marks: readonly string[]
  /** A mark that is unique to this file system and never changes; undefined if there is none. */
  readonly exact?: string | undefined
}

/** The flags of a file system that had no number before. */
const FRESH = { marked: true, salted: true }

/** The prefix of every exact mark. */
const EXACT = '='

/** The exact mark with the content `text`. */
export function exactMark(text: string): string {
  return EXACT + text
}

/**
 * A mark by which a file system without a UUID is recognized, taken from one layer on it: the content of an image, or the path of any other.
 * `root` is the layer's root directory.
 */
export function markOf(path: string, fileSystem: FileSystemStat, root: { readonly mtime: { sec: number } }): string {
  const type = fileSystem.type.toString(16)
  const { blocks, blocksFree, files, filesFree } = fileSystem
  const image = blocks > 0 && blocksFree === 0 && filesFree === 0
  return image ? `${type}:${blocks}:${files}:${root.mtime.sec}` : `${type}:${path}`
}

/**
 * Numbers the file systems `present`. Remembered file systems keep their numbers for ever, whatever other layers the overlay has and in
 * whatever order. The number is part of every key and file id.
 *
 * A file system is recognized by its UUID. If it has none, or another one present has the same (a clone), one of its marks must match as well.
 * Returns the numbers by device, and all known file systems, the most recently used first. If there are too many, the least recently used
 * one loses its number.
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
    // More than 256 file systems at once share the last number, so their file ids may collide.
    return rest.pop()?.index ?? MOST - 1
  }
}

/**
 * Those of `others` that `known` may take over: their numbers are free, and it has no number for them yet. Of what is kept with a number, only what belongs to
 * the file system is taken.
 */
export function adoptable(known: readonly KnownFileSystem[], others: readonly KnownFileSystem[]): KnownFileSystem[] {
  const isNew = (other: KnownFileSystem) =>
    !known.some((entry) => entry.index === other.index || maybeSame(entry, other))
  return others.filter(isNew).map(({ index, uuid, marks, salted }) => ({ index, uuid, marks, ...FRESH, salted }))
}

/** Whether both have the number `index` for the same file system, so that objects on it have the same identities. */
export function agreeOn(index: number, known: readonly KnownFileSystem[], others: readonly KnownFileSystem[]): boolean {
  const one = known.find((entry) => entry.index === index)
  const other = others.find((entry) => entry.index === index)
  if (!one || !other || one.salted !== other.salted || !maybeSame(one, other)) return false
  const isAlone = (all: readonly KnownFileSystem[]) => all.filter(({ uuid }) => uuid === one.uuid).length === 1
  return hasCommonMark(one, other) || (isAlone(known) && isAlone(others))
}

function maybeSame(one: KnownFileSystem, other: KnownFileSystem): boolean {
  return one.uuid === other.uuid && (one.uuid !== '' || hasCommonMark(one, other))
}

function hasCommonMark(one: KnownFileSystem, other: KnownFileSystem): boolean {
  return one.marks.some((mark) => other.marks.includes(mark))
}

function needsMark({ uuid, device }: UnnumberedFileSystem, present: readonly UnnumberedFileSystem[]): boolean {
  return uuid === '' || present.some((other) => other.uuid === uuid && other.device !== device)
}

/** An exact mark overrides everything else the file systems have in common. If several match it, the one with the most common marks wins. */
function findKnown(known: readonly KnownFileSystem[], fileSystem: UnnumberedFileSystem, byMark: boolean): number {
  const { uuid, formerUuid, marks, exact } = fileSystem
  const common = (entry: KnownFileSystem) => entry.marks.filter((mark) => marks.includes(mark)).length
  const best = (entries: readonly KnownFileSystem[]) =>
    entries.reduce<KnownFileSystem | undefined>((a, b) => (a && common(a) >= common(b) ? a : b), undefined)
  const same = known.filter((entry) => entry.uuid === uuid)
  const surely = exact === undefined ? undefined : best(same.filter((entry) => entry.marks.includes(exact)))
  if (surely) return known.indexOf(surely)
  // The exact mark of a file system with a UUID may be unreadable this time.
  const mayBe = (entry: KnownFileSystem) => !entry.marks.some((mark) => mark.startsWith(EXACT))
  const others = exact === undefined && uuid !== '' ? same : same.filter(mayBe)
  const [alone] = others
  if (alone && !byMark && same.length === 1) return known.indexOf(alone)
  const former = formerUuid === undefined ? [] : known.filter((entry) => entry.uuid === formerUuid)
  const marked = best([...others, ...former].filter((entry) => common(entry) > 0))
  return marked ? known.indexOf(marked) : -1
}
