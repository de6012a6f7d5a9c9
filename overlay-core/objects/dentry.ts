import { FileType, type Inode, type Name, type Time } from '../api/types.ts'
import type { LargeMap } from '../base/large-map.ts'
import { newLock, type RwLock } from '../base/lock.ts'
import type { Real } from '../layer/layer.ts'
import type { RealFile } from './file-cache.ts'
import type { LeafList } from './leaf-list.ts'
import type { Listing } from './listing.ts'
import type { CheckedAttr } from './permission.ts'
import type { Rights } from './rights.ts'

/** A name of an object in a directory of the overlay. */
export interface Alias {
  readonly dir: OvlInode
  readonly name: Name
}

/** What most objects never need: locks, and what only directories, hard links and files being changed have. */
class Extra {
  dataReal: Real | undefined = undefined
  bareAt = -1
  timesKept = 0
  writing = 0
  nlinkDelta: number | undefined = undefined
  indexName: string | undefined = undefined
  lowerNlink = 0
  listing: Listing | undefined = undefined
  lowerHandles: Set<{ beforeLastName(): Promise<void> }> | undefined = undefined
  copying: Promise<void> | undefined = undefined
  dirLock: RwLock | undefined = undefined
  nodeLock: RwLock | undefined = undefined
  checkedAtMs = 0
  lowerChanged: Time | undefined = undefined
}

const METACOPY = 1
const UNLINKED = 2
const RETAINED = 4
const HAS_ORIGIN = 8
const RECHECK = 16

const NONE: readonly never[] = []

/**
 * An object of the overlay (as `struct ovl_inode`): its identity and what it is made of. Directories merge `upper` and all of
 * `lowers`; of anything else only the topmost counts, and `lowers` has at most one entry, the one to copy up from.
 *
 * There is one for each cached name, so every field counts: see docs/performance.md before adding one.
 */
export class OvlInode implements Inode {
  readonly key: number
  readonly type: FileType
  // As signed 32-bit integers, which V8 keeps without a number object.
  readonly #generation: number
  readonly #fileIdHi: number
  readonly #fileIdLo: number

  upper: Real | undefined
  #lowers: Real | readonly Real[]
  #aliases: Alias | readonly Alias[] = NONE
  #flags = 0

  /** Attributes as last read; undefined when they must be read anew. Every change through the core drops them. */
  attr: CheckedAttr | undefined = undefined
  /** ACLs and recorded owner; undefined when they were never read. They outlive changes of other attributes. */
  rights: Rights | undefined = undefined
  /** The stack of layers that it was looked up in last (`SuperBlock.stackVersion`). */
  stackVersion = 0
  /** Counts changes, so that attributes read before a change are not kept after it. */
  changes = 0
  /** Cached dentries below a directory, negative ones included. */
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

  /** Of a directory the list that was set, until another one is. */
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

  /** The topmost real object: the one whose attributes and data count. */
  get real(): Real {
    return this.upper ?? (this.lower as Real)
  }

  /** The names known to the core, the one for copy-up first. Exactly one for a directory; empty once unlinked. */
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

  /** The upper object, or the topmost lower, holds attributes only: its data is in `dataReal`. */
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

  /** A client has been given the identity: it must lead back here for ever. */
  get retained(): boolean {
    return (this.#flags & RETAINED) !== 0
  }

  set retained(retained: boolean) {
    this.#setFlag(RETAINED, retained)
  }

  /** The upper object carries an origin: a directory that takes it in becomes impure. */
  get hasOrigin(): boolean {
    return (this.#flags & HAS_ORIGIN) !== 0
  }

  set hasOrigin(hasOrigin: boolean) {
    this.#setFlag(HAS_ORIGIN, hasOrigin)
  }

  /** A layer was changed where it was found: it has to be looked up again. */
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

  /** The latest ctime of a lower of a directory, if that was seen to change. */
  get lowerChanged(): Time | undefined {
    return this.#extra?.lowerChanged
  }

  set lowerChanged(lowerChanged: Time | undefined) {
    if (this.#extra || lowerChanged) this.#more.lowerChanged = lowerChanged
  }

  /** Where the data of a regular file is when that is not the topmost real object. */
  get dataReal(): Real | undefined {
    return this.#extra?.dataReal
  }

  set dataReal(dataReal: Real | undefined) {
    if (this.#extra || dataReal) this.#more.dataReal = dataReal
  }

  /** The value of `changes` for which it is known that no extended attribute would go along to a file that takes its place; -1: unknown. */
  get bareAt(): number {
    return this.#extra?.bareAt ?? -1
  }

  set bareAt(bareAt: number) {
    this.#more.bareAt = bareAt
  }

  /** Counts how often the times of a directory were put back, before it happened and after. */
  get timesKept(): number {
    return this.#extra?.timesKept ?? 0
  }

  set timesKept(timesKept: number) {
    this.#more.timesKept = timesKept
  }

  /** Writes under way, for weak cache consistency. */
  get writing(): number {
    return this.#extra?.writing ?? 0
  }

  set writing(writing: number) {
    this.#more.writing = writing
  }

  /** What the overlay's link count is above the upper's (`overlay.nlink`); undefined when not indexed. */
  get nlinkDelta(): number | undefined {
    return this.#extra?.nlinkDelta
  }

  set nlinkDelta(nlinkDelta: number | undefined) {
    if (this.#extra || nlinkDelta !== undefined) this.#more.nlinkDelta = nlinkDelta
  }

  /** Hex name in the index directory, for an indexed hard link. */
  get indexName(): string | undefined {
    return this.#extra?.indexName
  }

  set indexName(indexName: string | undefined) {
    if (this.#extra || indexName !== undefined) this.#more.indexName = indexName
  }

  /** Names of the lower object of an indexed hard link. */
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

  /** Open handles that read a lower's data: they change to the upper at their next read, or before the last name goes. */
  get lowerHandles(): Set<{ beforeLastName(): Promise<void> }> | undefined {
    return this.#extra?.lowerHandles
  }

  set lowerHandles(lowerHandles: Set<{ beforeLastName(): Promise<void> }> | undefined) {
    if (this.#extra || lowerHandles) this.#more.lowerHandles = lowerHandles
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

  /** Guards the object's attributes, links and place. */
  get nodeLock(): RwLock {
    const extra = this.#more
    extra.nodeLock ??= newLock('node', this)
    return extra.nodeLock
  }

  /** Drops what was remembered of the attributes, as they changed. */
  changed(): void {
    this.attr = undefined
    this.changes++
  }

  addAlias(dir: OvlInode, name: Name): void {
    for (const alias of this.aliases) if (alias.dir === dir && alias.name === name) return
    // The cached name itself will do.
    const dentry = dir.children?.get(name)
    const alias = dentry?.inode === this ? dentry : { dir, name }
    this.aliases = [...this.aliases, alias]
  }

  /** `dentry` names this object: it stands for its alias from now on, which saves one of the two. */
  shareAlias(dentry: Dentry): void {
    const alias = this.#aliases
    if (!isList(alias) && alias.dir === dentry.dir && alias.name === dentry.name) this.#aliases = dentry
  }

  /** It was looked up at this name: that is the one to be copied up, if any is (as the dentry of a system call in the kernel). */
  foundAt(dir: OvlInode, name: Name): void {
    const aliases = this.#aliases
    if (!isList(aliases) || aliases.length < 2) return
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

/** A list of one as that one alone. */
function oneOrMore<T>(list: readonly T[]): T | readonly T[] {
  return list.length === 1 ? (list[0] as T) : list.length === 0 ? NONE : list
}

/** A name in a directory: an object, or a remembered absence (negative dentry). */
export class Dentry implements Alias {
  readonly dir: OvlInode
  readonly name: Name
  readonly inode: OvlInode | undefined
  /** Its place in the list of the cache; nobody else's affair. */
  list: LeafList | undefined = undefined
  older: Dentry | undefined = undefined
  newer: Dentry | undefined = undefined

  constructor(dir: OvlInode, name: Name, inode: OvlInode | undefined) {
    this.dir = dir
    this.name = name
    this.inode = inode
  }
}
