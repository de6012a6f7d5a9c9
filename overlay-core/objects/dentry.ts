import { FileType, type Inode, type Name, type Time } from '../api/types.ts'
import type { LargeMap } from '../base/large-map.ts'
import { newLock, type RwLock } from '../base/lock.ts'
import type { Real } from '../layer/layer.ts'
import type { CheckedAttr } from '../layer/object-attr.ts'
import type { Rights } from '../layer/object-rights.ts'
import type { Listing } from '../stack/merged-listing.ts'
import type { RealFile } from './file-cache.ts'
import type { LeafList } from './leaf-list.ts'

/** A name of an object in a directory of the overlay. */
export interface Alias {
  readonly dir: OvlInode
  readonly name: Name
}

/** An open handle. If it reads a lower's data, it switches to the upper at its next read, or before the last name is removed. */
export interface LowerHandle {
  /** Whether it was opened for writing. */
  readonly writes: boolean
  beforeLastName(): Promise<void>
}

/** Rarely needed fields: locks, and what only directories, hard links and files being changed have. */
class Extra {
  dataReal: Real | undefined = undefined
  bareAt = -1
  timesKept = 0
  writing = 0
  nlinkDelta: number | undefined = undefined
  indexName: string | undefined = undefined
  lowerNlink = 0
  listing: Listing | undefined = undefined
  lowerHandles: Set<LowerHandle> | undefined = undefined
  copying: Promise<void> | undefined = undefined
  dirLock: RwLock | undefined = undefined
  nodeLock: RwLock | undefined = undefined
  checkedAtMs = 0
  lowerChanged: Time | undefined = undefined
  seenVersion = 0
}

const UNUSED = new Extra()
const FIELDS = Object.keys(UNUSED) as (keyof Extra)[]

const METACOPY = 1
const UNLINKED = 2
const RETAINED = 4
const HAS_ORIGIN = 8
const RECHECK = 16

const NONE: readonly never[] = []

/**
 * An object of the overlay (like `struct ovl_inode`): its identity and its real objects. A directory merges `upper` and all of
 * `lowers`; for anything else only the topmost counts, and `lowers` has at most one entry, the one to copy up from.
 *
 * There is one inode for each cached name, so every field matters: see docs/performance.md before adding one.
 */
export class OvlInode implements Inode {
  readonly key: number
  readonly type: FileType
  // Signed 32-bit integers, which V8 stores without a number object.
  readonly #generation: number
  readonly #fileIdHi: number
  readonly #fileIdLo: number

  upper: Real | undefined
  #lowers: Real | readonly Real[]
  #aliases: Alias | readonly Alias[] = NONE
  #flags = 0

  /** The attributes as last read; undefined if they must be read again. Every change through the core drops them. */
  attr: CheckedAttr | undefined = undefined
  /** ACLs and recorded owner; undefined if they were never read. Changes of other attributes do not drop them. */
  rights: Rights | undefined = undefined
  /** The stack of layers in which it was last looked up (`SuperBlock.stackVersion`). */
  stackVersion = 0
  /** Counts changes, so that attributes read before a change are not kept after it. */
  changes = 0
  /** The cached dentries in a directory, including negative ones. */
  children: LargeMap<Name, Dentry> | undefined = undefined
  file: RealFile | undefined = undefined
  #extra: Extra | undefined = undefined

  constructor(
    identity: { key: number; generation: number; type: FileType; fileIdHi: number; fileIdLo: number },
    upper: Real | undefined,
    lowers: readonly Real[],
  ) {
    this.key = identity.key
    this.type = identity.type
    this.#generation = identity.generation | 0
    this.#fileIdHi = identity.fileIdHi | 0
    this.#fileIdLo = identity.fileIdLo | 0
    this.upper = upper
    this.#lowers = NONE
    this.lowers = lowers
  }

  get generation(): number {
    return this.#generation >>> 0
  }

  /** High and low word of the file id that clients see. */
  get fileIdHi(): number {
    return this.#fileIdHi >>> 0
  }

  get fileIdLo(): number {
    return this.#fileIdLo >>> 0
  }

  /** For a directory, always the same list until another one is set. */
  get lowers(): readonly Real[] {
    return isList(this.#lowers) ? this.#lowers : [this.#lowers]
  }

  set lowers(lowers: readonly Real[]) {
    this.#lowers = this.type === FileType.directory ? lowers : oneOrMore(lowers)
  }

  /** The topmost lower. */
  get lower(): Real | undefined {
    return isList(this.#lowers) ? this.#lowers[0] : this.#lowers
  }

  /** The topmost real object, which provides the attributes and the data. */
  get real(): Real {
    return this.upper ?? (this.lower as Real)
  }

  /** The names known to the core; the first is the one to copy up. A directory has exactly one; an unlinked object has none. */
  get aliases(): readonly Alias[] {
    return isList(this.#aliases) ? this.#aliases : [this.#aliases]
  }

  set aliases(aliases: readonly Alias[]) {
    this.#aliases = oneOrMore(aliases)
  }

  /** The first of `aliases`. */
  get alias(): Alias | undefined {
    return isList(this.#aliases) ? this.#aliases[0] : this.#aliases
  }

  /** Whether the topmost real object has only attributes, with the data in `dataReal`. */
  get metacopy(): boolean {
    return (this.#flags & METACOPY) !== 0
  }

  set metacopy(metacopy: boolean) {
    this.#setFlag(METACOPY, metacopy)
  }

  /** Whether no name is left, so that only open files can be used. */
  get unlinked(): boolean {
    return (this.#flags & UNLINKED) !== 0
  }

  set unlinked(unlinked: boolean) {
    this.#setFlag(UNLINKED, unlinked)
  }

  /** Whether a client knows the identity, which must then always lead back here. */
  get retained(): boolean {
    return (this.#flags & RETAINED) !== 0
  }

  set retained(retained: boolean) {
    this.#setFlag(RETAINED, retained)
  }

  /** Whether the upper object carries an origin; a directory that receives it becomes impure. */
  get hasOrigin(): boolean {
    return (this.#flags & HAS_ORIGIN) !== 0
  }

  set hasOrigin(hasOrigin: boolean) {
    this.#setFlag(HAS_ORIGIN, hasOrigin)
  }

  /** Whether a layer has changed where it was found, so that it must be looked up again. */
  get recheck(): boolean {
    return (this.#flags & RECHECK) !== 0
  }

  set recheck(recheck: boolean) {
    this.#setFlag(RECHECK, recheck)
  }

  /** When it was last compared with its lowers, in ms of the clock (option `revalidate`). */
  get checkedAtMs(): number {
    return this.#extra?.checkedAtMs ?? 0
  }

  set checkedAtMs(checkedAtMs: number) {
    this.#more.checkedAtMs = checkedAtMs
  }

  /** The version of its lowers (`versionOf`) at which names in it were last forgotten, or at which it was found. */
  get seenVersion(): number {
    return this.#extra?.seenVersion ?? 0
  }

  set seenVersion(seenVersion: number) {
    if (this.#extra || seenVersion !== 0) this.#more.seenVersion = seenVersion
  }

  /** The latest ctime of a changed lower of a directory, if a change was noticed. */
  get lowerChanged(): Time | undefined {
    return this.#extra?.lowerChanged
  }

  set lowerChanged(lowerChanged: Time | undefined) {
    if (this.#extra || lowerChanged) this.#more.lowerChanged = lowerChanged
  }

  /** The real object with the data of a regular file, if not the topmost one. */
  get dataReal(): Real | undefined {
    return this.#extra?.dataReal
  }

  set dataReal(dataReal: Real | undefined) {
    if (this.#extra || dataReal) this.#more.dataReal = dataReal
  }

  /** The value of `changes` at which the object has no extended attributes to copy to a file that replaces it; -1: unknown. */
  get bareAt(): number {
    return this.#extra?.bareAt ?? -1
  }

  set bareAt(bareAt: number) {
    this.#more.bareAt = bareAt
  }

  /** Counts how often the times of a directory were restored; incremented before and after. */
  get timesKept(): number {
    return this.#extra?.timesKept ?? 0
  }

  set timesKept(timesKept: number) {
    this.#more.timesKept = timesKept
  }

  /** The number of writes in progress, for weak cache consistency. */
  get writing(): number {
    return this.#extra?.writing ?? 0
  }

  set writing(writing: number) {
    this.#more.writing = writing
  }

  /** The overlay's link count minus the upper's (`overlay.nlink`); undefined if not indexed. */
  get nlinkDelta(): number | undefined {
    return this.#extra?.nlinkDelta
  }

  set nlinkDelta(nlinkDelta: number | undefined) {
    if (this.#extra || nlinkDelta !== undefined) this.#more.nlinkDelta = nlinkDelta
  }

  /** The hex name in the index directory, for an indexed hard link. */
  get indexName(): string | undefined {
    return this.#extra?.indexName
  }

  set indexName(indexName: string | undefined) {
    if (this.#extra || indexName !== undefined) this.#more.indexName = indexName
  }

  /** The link count of the lower object of an indexed hard link. */
  get lowerNlink(): number {
    return this.#extra?.lowerNlink ?? 0
  }

  set lowerNlink(lowerNlink: number) {
    this.#more.lowerNlink = lowerNlink
  }

  get listing(): Listing | undefined {
    return this.#extra?.listing
  }

  set listing(listing: Listing | undefined) {
    if (this.#extra || listing) this.#more.listing = listing
  }

  /** Open handles; undefined if there are none. */
  get lowerHandles(): ReadonlySet<LowerHandle> | undefined {
    return this.#extra?.lowerHandles
  }

  addLowerHandle(handle: LowerHandle): void {
    const extra = this.#more
    extra.lowerHandles ??= new Set()
    extra.lowerHandles.add(handle)
  }

  /** After the last one, a file that was only read takes no more memory than before. */
  removeLowerHandle(handle: LowerHandle): void {
    const extra = this.#extra
    if (!extra?.lowerHandles?.delete(handle) || extra.lowerHandles.size > 0) return
    extra.lowerHandles = undefined
    if (FIELDS.every((field) => extra[field] === UNUSED[field])) this.#extra = undefined
  }

  get copying(): Promise<void> | undefined {
    return this.#extra?.copying
  }

  set copying(copying: Promise<void> | undefined) {
    if (this.#extra || copying) this.#more.copying = copying
  }

  /** Guards the names in this directory. */
  get dirLock(): RwLock {
    const extra = this.#more
    extra.dirLock ??= newLock('directory', this)
    return extra.dirLock
  }

  /** Guards the object's attributes, links and location. */
  get nodeLock(): RwLock {
    const extra = this.#more
    extra.nodeLock ??= newLock('node', this)
    return extra.nodeLock
  }

  /** Drops the cached attributes after a change. */
  changed(): void {
    this.attr = undefined
    this.changes++
  }

  addAlias(dir: OvlInode, name: Name): void {
    for (const alias of this.aliases) if (alias.dir === dir && alias.name === name) return
    // The cached dentry serves as the alias.
    const dentry = dir.children?.get(name)
    const alias = dentry?.inode === this ? dentry : { dir, name }
    this.aliases = [...this.aliases, alias]
  }

  /** Uses `dentry`, which names this object, as its alias, to save memory. */
  shareAlias(dentry: Dentry): void {
    const alias = this.#aliases
    if (!isList(alias) && alias.dir === dentry.dir && alias.name === dentry.name) this.#aliases = dentry
  }

  /** Records that it was looked up at this name, which is then the one to copy up (like the dentry of a system call in the kernel). */
  foundAt(dir: OvlInode, name: Name): void {
    const aliases = this.#aliases
    if (!Array.isArray(aliases) || aliases.length < 2) return
    const at = aliases.findIndex((alias) => alias.dir === dir && alias.name === name)
    if (at > 0) this.#aliases = [aliases[at] as Alias, ...aliases.toSpliced(at, 1)]
  }

  removeAlias(dir: OvlInode, name: Name): void {
    this.aliases = this.aliases.filter((alias) => alias.dir !== dir || alias.name !== name)
  }

  get #more(): Extra {
    this.#extra ??= new Extra()
    return this.#extra
  }

  #setFlag(flag: number, on: boolean): void {
    this.#flags = on ? this.#flags | flag : this.#flags & ~flag
  }
}

function isList<T>(value: T | readonly T[]): value is readonly T[] {
  return Array.isArray(value)
}

/** A list with one element is stored as the element. */
function oneOrMore<T>(list: readonly T[]): T | readonly T[] {
  return list.length === 1 ? (list[0] as T) : list.length === 0 ? NONE : list
}

/** A name in a directory: either an object, or a cached absence (negative dentry). */
export class Dentry implements Alias {
  readonly dir: OvlInode
  readonly name: Name
  readonly inode: OvlInode | undefined
  /** The list of the cache that contains it; only the cache uses this. */
  list: LeafList | undefined = undefined
  older: Dentry | undefined = undefined
  newer: Dentry | undefined = undefined

  constructor(dir: OvlInode, name: Name, inode: OvlInode | undefined) {
    this.dir = dir
    this.name = name
    this.inode = inode
  }
}
