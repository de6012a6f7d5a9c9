import { dirname, join } from 'node:path'
import { OverlayError } from '../api/errno.ts'
import { OptionError } from '../api/params.ts'
import { FileType, type Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import { encodeLowerIdentity } from '../layer/identity.ts'
import { type Found, type Layer, Real } from '../layer/layer.ts'
import { type LinkCounts, showLinks } from '../layer/true-links.ts'
import { deltaOfFrozen, frozenCopy, isHardLink, separatesLinks } from '../lookup/hardlink.ts'
import { identitySource } from '../lookup/iget.ts'
import { readFileMarks, readMarks } from '../lookup/marks.ts'
import { writeIdentityMark } from '../lookup/origin.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { isMarker } from '../sidecar/protocol-data-store.ts'
import { syncfs } from '../sys/data.ts'
import { linkAt, mkdirAt, mknodAt, readdirFd } from '../sys/dir.ts'
import { O_DIRECTORY, O_NOFOLLOW, O_PATH, O_RDONLY, S_IFCHR } from '../sys/flags.ts'
import { closeLater, closeSync, openAt, openRoot, reopen } from '../sys/open.ts'
import { statxFd } from '../sys/stat.ts'
import { dressLike } from './fresh-upper.ts'
import { FROZEN_INDEX, FROZEN_UPPER } from './frozen-place.ts'
import { searchSquashed } from './squash-search.ts'

/** The mode of a merged directory until it gets that of the topmost one. */
const PRIVATE = 0o700
/** The number of names of a directory that are merged at the same time. */
const AT_ONCE = 16

/** A directory that is still to be merged. */
interface Directory {
  /** In the merged layer. */
  readonly to: Real
  /** The directories of the squashed layers and below that merge, topmost first. */
  readonly from: readonly Real[]
  /** Whether nothing below the squashed layers merges with it. */
  readonly ends: boolean
}

/** A frozen layer, and its path. */
export interface SquashedLayer {
  readonly layer: Layer
  readonly path: string
}

/** The merge of adjacent frozen layers, while it is being made. */
export class Merge {
  readonly #of: readonly SquashedLayer[]
  readonly #below: readonly Layer[]
  /** The overlay with `#squashed` and the layers below them alone. */
  readonly #sb: SuperBlock
  /** The layers, opened for the merge alone: files get no further names through the private mounts of the overlay. */
  #squashed: ReadonlySet<Layer> = new Set()
  readonly #isMounted: () => boolean
  /** The link counts that clients see. */
  readonly #counts: LinkCounts['counts'] = new Map()
  #end = (): void => undefined
  /** The number of names in the merged layer of each hard link. */
  readonly #links = new Map<number, number>()

  /** @param squashed adjacent frozen layers on one file system, topmost first, with their paths */
  constructor(sb: SuperBlock, squashed: readonly SquashedLayer[], isMounted: () => boolean) {
    this.#of = squashed
    this.#isMounted = isMounted
    const first = sb.lowers.indexOf(squashed[0]?.layer as Layer)
    this.#below = sb.lowers.slice(first + squashed.length)
    // What is above the squashed layers does not matter.
    this.#sb = { ...sb, lowers: this.#below }
  }

  /** @see Squash.make */
  async make(directory: string): Promise<void> {
    const fd = await openRoot(directory)
    const opened: Layer[] = []
    try {
      for (const { layer, path } of this.#of) opened.push(layerAt(layer, await openRoot(path), path))
      this.#squashed = new Set(opened)
      this.#sb.lowers = [...opened, ...this.#below]
      await mkdirAt(fd, FROZEN_UPPER, PRIVATE)
      const rootFd = await openAt(fd, FROZEN_UPPER, O_PATH | O_DIRECTORY | O_NOFOLLOW)
      const merged = layerAt(opened[0] as Layer, rootFd, undefined)
      opened.push(merged)
      const { devMajor, devMinor } = statxFd(rootFd)
      this.#end = showLinks({ devMajor, devMinor, counts: this.#counts })
      await this.#tree(merged.root)
      await this.#index(fd)
      const disk = await reopen(rootFd, O_RDONLY)
      await syncfs(disk).finally(() => closeLater(disk))
    } finally {
      this.#sb.descriptors.dropLayers(new Set(opened))
      closeSync(fd)
    }
  }

  /** The merged layer has taken the place of the squashed ones, which are being deleted. */
  adopted(): void {
    for (const [ino, links] of this.#links) this.#counts.set(ino, links)
  }

  /** Ends what `make` began, when either the squashed layers or the merge are deleted. */
  end(): void {
    this.#end()
  }

  async #tree(to: Real): Promise<void> {
    const roots = this.#sb.lowers.map(({ root }) => root)
    const waiting: Directory[] = [{ to, from: roots, ends: false }]
    for (let next = waiting.pop(); next; next = waiting.pop()) await this.#directory(next, waiting)
  }

  async #directory(directory: Directory, waiting: Directory[]): Promise<void> {
    const { descriptors } = this.#sb
    const top = directory.from[0] as Real
    let marked = false
    const names = await this.#inRun(() => this.#names(directory))
    let some: [Name, number][] = []
    const mergeSome = async () => {
      const done = await this.#inRun(() => Promise.all(some.map(([name, at]) => this.#name(directory, name, at))))
      for (const { inside, isMarked } of done) {
        if (inside) waiting.push(inside)
        marked ||= isMarked
      }
      some = []
    }
    for (const entry of names) {
      if (some.push(entry) < AT_ONCE) continue
      await mergeSome()
      if (loopBudget.spent) await loopBudget.rest()
    }
    await mergeSome()
    await this.#inRun(async () => {
      const fd = await descriptors.of(directory.to)
      if (marked) await this.#mark(fd, '', this.#sb.overlayXattrs.impure, Buffer.from('y'))
      await dressLike(this.#sb, await descriptors.of(top), fd)
      await this.#keepProtocolData(fd, '', directory.to.ino)
    })
    for (const real of [directory.to, ...directory.from]) if (real.parent) descriptors.drop(real)
  }

  /** The names in the squashed layers, each with the first of `from` that has it. */
  async #names({ from }: Directory): Promise<Map<Name, number>> {
    const names = new Map<Name, number>()
    for (const [at, real] of from.entries()) {
      if (!this.#squashed.has(real.layer)) break
      await readMarks(this.#sb, real)
      for (const { name } of await readdirFd(await this.#sb.descriptors.of(real))) {
        if (!names.has(name) && !real.layer.marks.reserves(name)) names.set(name, at)
        if (loopBudget.spent) await loopBudget.rest()
      }
    }
    return names
  }

  async #name(
    directory: Directory,
    name: Name,
    at: number,
  ): Promise<{ readonly inside?: Directory; readonly isMarked: boolean }> {
    const sb = this.#sb
    const { from, to } = directory
    const { found, ends, redirect } = await searchSquashed(sb, this.#squashed, from.slice(at), name)
    const [first] = found
    if (!first) {
      if (!directory.ends) await mknodAt(await sb.descriptors.of(to), name, S_IFCHR, 0, 0)
      return { isMarked: false }
    }
    if (first.stat.type !== FileType.directory) return { isMarked: await this.#file(directory, name, first) }
    const inside = await this.#newDirectory(directory, name, found)
    const fd = await sb.descriptors.of(inside)
    if (ends) await this.#mark(fd, '', sb.overlayXattrs.opaque, Buffer.from('y'))
    else if (redirect !== undefined && redirect !== name)
      await this.#mark(fd, '', sb.overlayXattrs.redirect, Buffer.from(redirect, 'latin1'))
    return { inside: { to: inside, from: found.map(({ real }) => real), ends }, isMarked: true }
  }

  async #newDirectory({ from, to }: Directory, name: Name, found: readonly Found[]): Promise<Real> {
    const sb = this.#sb
    const fd = await sb.descriptors.of(to)
    await mkdirAt(fd, name, PRIVATE)
    const probe = await sb.descriptors.probe(to, name)
    if (!probe) throw new OverlayError('ESTALE', 'squash', name)
    const { real } = sb.descriptors.found(to, name, probe)
    const [{ origin, identity: own, stat }] = found as readonly [Found, ...Found[]]
    const entry = { upper: undefined, origin, identity: own, lowers: found, data: undefined }
    const { identity } = await identitySource(sb, { lowers: from }, name, entry, stat.type)
    const value = encodeLowerIdentity(identity, stat.nlink)
    await writeIdentityMark(sb, await sb.descriptors.of(real), '', { name: sb.overlayXattrs.identity, value })
    return real
  }

  /** Gives a file its name in the merged layer. Returns whether it has marks. */
  async #file({ from, to }: Directory, name: Name, first: Found): Promise<boolean> {
    const sb = this.#sb
    const linked = isHardLink(first.stat)
    if (linked && separatesLinks(sb, first.real.layer))
      throw new OptionError(
        'index',
        `${JSON.stringify(name)} has several names, which are separate files with index=off, so its layers cannot be merged; mount with index=on`,
      )
    const found = linked ? await frozenCopy(sb, first) : first
    const { origin, identity: own, stat } = found
    const place = await this.#placeOf(found)
    if (origin && !own) {
      const entry = { upper: undefined, origin, identity: own, lowers: [found], data: undefined }
      const { identity, lowerNlink } = await identitySource(sb, { lowers: from }, name, entry, stat.type)
      const value = encodeLowerIdentity(identity, lowerNlink ?? stat.nlink)
      await writeIdentityMark(sb, place.fd, place.name, { name: sb.overlayXattrs.identity, value })
    }
    await this.#keepProtocolData(place.fd, place.name, stat.ino)
    await this.#link(found, await sb.descriptors.of(to), name, linked)
    return (origin ?? own) !== undefined
  }

  /** @param linked whether it may get more or fewer names than it has, because it is shown for other objects, or in an index */
  async #link(found: Found, toFd: number, name: Name, linked: boolean): Promise<void> {
    const { stat } = found
    const place = await this.#placeOf(found)
    this.#counts.set(stat.ino, stat.nlink)
    if (linked) {
      const links = stat.nlink + ((await deltaOfFrozen(this.#sb, found)) ?? 0)
      await this.#mark(place.fd, place.name, this.#sb.overlayXattrs.links, Buffer.from(String(links)))
      this.#links.set(stat.ino, (this.#links.get(stat.ino) ?? 0) + 1)
    }
    await linkAt(place.fd, place.name, toFd, name)
  }

  /** Merges the indexes of hard links. */
  async #index(fd: number): Promise<void> {
    const sb = this.#sb
    let indexFd = -1
    const done = new Set<Name>()
    try {
      for (const { frozenIndex } of this.#squashed) {
        if (!frozenIndex) continue
        const names = await this.#inRun(async () => await readdirFd(await sb.descriptors.of(frozenIndex)))
        for (const { name } of names) {
          if (loopBudget.spent) await loopBudget.rest()
          if (done.has(name)) continue
          done.add(name)
          if (indexFd < 0) {
            await mkdirAt(fd, FROZEN_INDEX, PRIVATE)
            indexFd = await openAt(fd, FROZEN_INDEX, O_PATH | O_DIRECTORY | O_NOFOLLOW)
          }
          await this.#inRun(() => this.#indexEntry(frozenIndex, name, indexFd))
        }
      }
    } finally {
      if (indexFd >= 0) closeSync(indexFd)
    }
  }

  async #indexEntry(index: Real, name: Name, toFd: number): Promise<void> {
    const { descriptors } = this.#sb
    const probe = await descriptors.probe(index, name)
    if (!probe) return
    const entry = descriptors.found(index, name, probe)
    // These belong to the kernel's NFS export.
    if (entry.stat.type === FileType.directory || entry.stat.type === FileType.character) {
      descriptors.drop(entry.real)
      return
    }
    const { origin, identity } = await readFileMarks(this.#sb, await descriptors.of(index), entry)
    await this.#link(await frozenCopy(this.#sb, { ...entry, origin, identity }), toFd, name, true)
  }

  /** Large protocol data of a copy may be stored for an object that is in no layer any more. */
  async #keepProtocolData(fd: number, name: Name, ino: number): Promise<void> {
    const { protocolData, overlayXattrs, xattrStore } = this.#sb
    if (!protocolData?.isUsed) return
    for (const attr of await xattrStore.list(fd, name)) {
      const slot = overlayXattrs.slotOf(attr)
      const value = slot === undefined ? undefined : await xattrStore.get(fd, name, attr)
      if (slot !== undefined && value && isMarker(value)) await protocolData.keepFor(fd, name, ino, slot, value)
    }
  }

  async #placeOf({ real }: Found): Promise<{ readonly fd: number; readonly name: Name }> {
    return { fd: await this.#sb.descriptors.of(real.parent as Real), name: real.name }
  }

  async #mark(fd: number, name: Name, attr: string, value: Uint8Array): Promise<void> {
    await this.#sb.xattrStore.set(fd, name, attr, value)
  }

  /** Descriptors stay open during one step, after which the overlay may be unmounted. */
  async #inRun<T>(work: () => Promise<T>): Promise<T> {
    if (!this.#isMounted()) throw new OverlayError('ESTALE', 'squash')
    return await this.#sb.descriptors.run(work)
  }
}

/** A layer like `layer` whose root is open as `fd`; `path`: where it is, with its index beside it. */
function layerAt(layer: Layer, fd: number, path: string | undefined): Layer {
  const made = { ...layer, shared: false, descriptors: undefined, frozenIndex: undefined as Real | undefined }
  const { ino, devMajor, devMinor } = statxFd(fd)
  const root = new Real(made, undefined, '', ino)
  root.fd = fd
  if (layer.frozenIndex && path !== undefined) {
    made.frozenIndex = new Real(made, undefined, '', layer.frozenIndex.ino)
    made.frozenIndex.place = { path: join(dirname(path), FROZEN_INDEX), devMajor, devMinor }
  }
  return Object.assign(made, { root })
}
