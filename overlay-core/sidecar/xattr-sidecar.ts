import { bestEffort, isErrno } from '../api/errno.ts'
import type { MaybePromise, Name } from '../api/types.ts'
import type { Descriptors } from '../layer/descriptors.ts'
import type { Restored, UpperName } from '../layer/intent-log.ts'
import type { InodeNumbers, Real } from '../layer/layer.ts'
import { OVERRIDE_STAT } from '../layer/override-stat.ts'
import { diskXattrs, type XattrStore } from '../layer/xattr-store.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH } from '../sys/flags.ts'
import { closeSync, openAt } from '../sys/open.ts'
import { type Stat, statxAt } from '../sys/stat.ts'
import { type SidecarLine, SidecarLog, type SidecarPath } from './sidecar-log.ts'
import {
  applyLine,
  FIRST_INODE_NUMBER,
  growAt,
  holdsAny,
  linesOf,
  moveNode,
  nextNumber,
  nodeAt,
  type PendingLine,
  replay,
  SidecarNode,
} from './sidecar-tree.ts'

/** The mount rewrites the log if it has more than this many times the lines needed. */
const SLACK = 2
const UPPER = 'upper'
const WORKDIR = 'workdir'

/** The directories that a sidecar describes, and where it is stored. */
export interface SidecarPlace {
  readonly upper: Real
  readonly workdir: Real
  readonly descriptors: Descriptors
  /** `trusted.overlay.` or `user.overlay.`. */
  readonly prefix: string
}

/**
 * The overlay's own attributes of upper objects, for a file system without extended attributes: origins, redirects, recorded owners, protocol data.
 * They are stored by the names of the objects, in a log in the workdir and in memory, and follow every change of names. So they are also valid for a
 * copy of upper and workdir, and with made-up inode numbers. All other attributes are left to the file system.
 */
export class XattrSidecar implements XattrStore, InodeNumbers {
  readonly byName = true
  readonly #place: SidecarPlace
  readonly #log: SidecarLog
  readonly #top: SidecarNode
  readonly #nodes = new WeakMap<Real, SidecarNode>()
  #moves = 0
  #nextIno: number
  /** Whether new numbers are valid only during this run. */
  readonly #passing: boolean

  private constructor(
    place: SidecarPlace,
    log: SidecarLog,
    { top, nextIno, passing }: { top: SidecarNode; nextIno: number; passing: boolean },
  ) {
    this.#place = place
    this.#log = log
    this.#top = top
    this.#nextIno = nextIno
    this.#passing = passing
  }

  /**
   * Reads the log or creates it. Must be called after what a crash left has been repaired and the work directory is empty. Changes of names
   * that the crash interrupted are completed or dropped according to the disk; `restored` are the objects put back from the work directory.
   */
  static async open(place: SidecarPlace, restored: readonly Restored[]): Promise<XattrSidecar> {
    const { log, lines } = await SidecarLog.open(place.workdir.fd, false)
    try {
      const top = new SidecarNode(undefined, '')
      const pending = await replay(top, lines)
      const sidecar = new XattrSidecar(place, log, { top, nextIno: nextNumber(lines), passing: false })
      const back = new Set(restored.map(({ to }) => [UPPER, ...to].join('/')))
      for (const line of pending) await sidecar.#settle(line, back)
      for (const { held, to } of restored) {
        const path = [WORKDIR, 'work', held]
        if (nodeAt(top, path)) moveNode(top, path, [UPPER, ...to])
      }
      nodeAt(top, [WORKDIR, 'work'])?.cut()
      const live: SidecarLine[] = [{ op: 'next', ino: sidecar.#nextIno }, ...(await linesOf(top))]
      const isStale = pending.length > 0 || restored.length > 0 || log.isDamaged
      if (isStale || lines.length > live.length * SLACK) await log.rewrite(live)
      place.descriptors.follow()
      return sidecar
    } catch (error) {
      log.close()
      throw error
    }
  }

  /**
   * Reads the attributes from a read-only file system. Objects without an inode number get one for this run only, starting at `firstPassing`, in a
   * range that no other run uses. `givesNumbers`: inode numbers have been assigned by name before.
   */
  static async openReadOnly(
    place: SidecarPlace,
    firstPassing: number,
  ): Promise<{ sidecar: XattrSidecar; givesNumbers: boolean }> {
    const { log, lines } = await SidecarLog.open(place.workdir.fd, true)
    try {
      const top = new SidecarNode(undefined, '')
      const pending = await replay(top, lines)
      const sidecar = new XattrSidecar(place, log, { top, nextIno: firstPassing, passing: true })
      for (const line of pending) await sidecar.#settle(line, new Set())
      place.descriptors.follow()
      return { sidecar, givesNumbers: nextNumber(lines) > FIRST_INODE_NUMBER }
    } catch (error) {
      log.close()
      throw error
    }
  }

  readonly all = true
  readonly key = undefined

  /** Replaces the inode number of the disk by the one assigned to the name, which follows the name when it moves. */
  withStableNumber(dir: Real, name: Name, stat: Stat): MaybePromise<Stat> {
    const node = this.#grow(dir, name)
    if (node.ino !== undefined) return withNumber(stat, node.ino)
    const ino = this.#nextIno++
    node.ino = ino
    if (this.#passing) return withNumber(stat, ino)
    return this.#log.append({ op: 'number', at: node.path, ino }).then(() => withNumber(stat, ino))
  }

  /** Whether owners and modes are recorded here, because the disk does not hold them; its abilities do not matter then. */
  get keepsOwners(): boolean {
    return holdsAny(this.#top, OVERRIDE_STAT)
  }

  async get(dirFd: number, name: string, attr: string): Promise<Uint8Array | undefined> {
    const own = this.#realOf(dirFd)?.layer.isUpper ? this.#ownName(attr) : undefined
    if (own === undefined) return await diskXattrs.get(dirFd, name, attr)
    return this.#find(dirFd, name)?.record?.get(own)
  }

  async set(dirFd: number, name: string, attr: string, value: Uint8Array, flags?: number): Promise<void> {
    const own = this.#ownName(attr)
    const real = this.#realOf(dirFd)
    if (own === undefined || real?.layer.isUpper === false) {
      return await diskXattrs.set(dirFd, name, attr, value, flags)
    }
    // Attributes of an open file without a name are not stored.
    if (!real) return
    const node = this.#grow(real, name)
    const bytes = Uint8Array.from(value)
    await this.#log.append({ op: 'set', at: node.path, attr: own, value: Buffer.from(bytes).toString('base64') })
    node.record ??= new Map()
    node.record.set(own, bytes)
  }

  async remove(dirFd: number, name: string, attr: string): Promise<void> {
    const own = this.#ownName(attr)
    if (own === undefined) return await diskXattrs.remove(dirFd, name, attr)
    const node = this.#find(dirFd, name)
    if (!node?.record?.has(own)) return
    await this.#log.append({ op: 'remove', at: node.path, attr: own })
    node.record.delete(own)
  }

  async list(dirFd: number, name: string): Promise<string[]> {
    const disk = await diskXattrs.list(dirFd, name)
    if (!this.#realOf(dirFd)?.layer.isUpper) return disk
    const record = this.#find(dirFd, name)?.record
    return record ? [...disk, ...[...record.keys()].map((own) => this.#fullName(own))] : disk
  }

  async moving(from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void> {
    await this.#changing('move', from, to, change)
  }

  async linking(from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void> {
    // This is needed even without attributes: an attribute set later through any of the names belongs to all of them.
    this.#grow(from.dir, from.name)
    await this.#changing('link', from, to, change)
  }

  async removed({ dir, name }: UpperName): Promise<void> {
    const node = this.#nodeOf(dir)?.child(name)
    if (!node) return
    const at = node.path
    node.cut()
    // A missing record does no harm: the next object with this name gets its own attributes.
    await bestEffort(() => this.#log.append({ op: 'gone', at }))
  }

  async sync(): Promise<void> {
    await this.#log.sync()
  }

  close(): void {
    this.#log.close()
  }

  /** Logs a change of names before and after it, unless neither name has attributes. */
  async #changing(op: 'move' | 'link', from: UpperName, to: UpperName, change: () => Promise<void>): Promise<void> {
    const source = this.#nodeOf(from.dir)?.child(from.name)
    const target = this.#nodeOf(to.dir)?.child(to.name)
    if (!source && !target) return await change()
    const n = this.#moves++
    await this.#log.append({ op, n, from: this.#pathOf(from), to: this.#pathOf(to) })
    try {
      await change()
    } catch (error) {
      await bestEffort(() => this.#log.append({ op: 'end', n, done: false, from: [], to: [] }))
      throw error
    }
    // The paths are computed again, because a parent directory may have moved meanwhile.
    const paths = { from: this.#pathOf(from), to: this.#pathOf(to) }
    applyLine(this.#top, op, paths.from, paths.to)
    await bestEffort(() => this.#log.append({ op: 'end', n, done: true, ...paths }))
  }

  /**
   * Settles a change that a crash interrupted: a move has happened if the old name is free, or was until an object was put `back` there; a link has
   * happened if the new name is not free.
   */
  async #settle({ op, from, to }: PendingLine, back: ReadonlySet<string>): Promise<void> {
    const moved = back.has(from.join('/')) || !(await this.#exists(from))
    const happened = op === 'move' ? moved : await this.#exists(to)
    if (happened) applyLine(this.#top, op, from, to)
  }

  async #exists(path: SidecarPath): Promise<boolean> {
    const [top, ...names] = path
    const last = names.pop()
    let fd = top === UPPER ? this.#place.upper.fd : this.#place.workdir.fd
    const opened: number[] = []
    try {
      for (const name of names) {
        fd = await openAt(fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW)
        opened.push(fd)
      }
      if (last !== undefined) await statxAt(fd, last)
      return true
    } catch (error) {
      if (isErrno(error, 'ENOENT', 'ENOTDIR')) return false
      throw error
    } finally {
      for (const each of opened) closeSync(each)
    }
  }

  #realOf(dirFd: number): Real | undefined {
    if (dirFd === this.#place.upper.fd) return this.#place.upper
    return this.#place.descriptors.realOf(dirFd)
  }

  #find(dirFd: number, name: string): SidecarNode | undefined {
    const real = this.#realOf(dirFd)
    const node = real && this.#nodeOf(real)
    return name === '' ? node : node?.child(name)
  }

  #grow(real: Real, name: string): SidecarNode {
    const node = this.#nodeOf(real) ?? growAt(this.#top, this.#pathOfReal(real))
    if (real.parent) this.#nodes.set(real, node)
    return name === '' ? node : node.grow(name)
  }

  /** Caches the node, so that a directory that is being moved is found by its identity and not by its former name. */
  #nodeOf(real: Real): SidecarNode | undefined {
    const known = this.#nodes.get(real)
    if (known?.parent) return known
    const node = nodeAt(this.#top, this.#pathOfReal(real))
    if (node) this.#nodes.set(real, node)
    return node
  }

  #pathOf({ dir, name }: UpperName): SidecarPath {
    return [...(this.#nodeOf(dir)?.path ?? this.#pathOfReal(dir)), name]
  }

  #pathOfReal(real: Real): SidecarPath {
    const names: Name[] = []
    let at = real
    for (; at.parent; at = at.parent) names.unshift(at.name)
    return [at === this.#place.upper ? UPPER : WORKDIR, ...names]
  }

  /** The name in the sidecar; undefined for an attribute that is not the overlay's own. */
  #ownName(attr: string): string | undefined {
    if (attr === OVERRIDE_STAT) return attr
    const { prefix } = this.#place
    if (!attr.startsWith(prefix) || attr.startsWith(`${prefix}overlay.`)) return undefined
    return attr.slice(prefix.length)
  }

  #fullName(own: string): string {
    return own === OVERRIDE_STAT ? own : this.#place.prefix + own
  }
}

function withNumber(stat: Stat, ino: number): Stat {
  return { ...stat, ino, inoHi: Math.floor(ino / 2 ** 32), inoLo: ino >>> 0 }
}
