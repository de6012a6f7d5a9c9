import { createHash, type Hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Attr, FairTurns, type Inode, isErrno } from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import type { DavContext, DavView } from './context.ts'
import { FileSum } from './file-sum.ts'

/** The namespace of ownCloud's properties. */
export const OWNCLOUD_NAMESPACE = 'http://owncloud.org/ns'

const SLOT = 'sum'
const REMEMBERED = 10_000
/** The number of files read concurrently. */
const READ_AT_ONCE = 2

/** Algorithm names of clients, with those of node:crypto. */
const ALGORITHMS: Readonly<Record<string, string>> = { SHA256: 'sha256', SHA1: 'sha1', MD5: 'md5' }
/** The algorithms computed on request, which rclone and ownCloud clients use for comparisons. */
const ASKED = ['SHA1', 'MD5']

/** Checksums by algorithm, in lower case hex. */
export type Sums = Readonly<Record<string, string>>

/** Parses an OC-Checksum field to a known algorithm and the sum. Undefined if missing or of an unknown algorithm. @throws DavError 400 */
export function parseOcChecksum(field: string | string[] | undefined): { algorithm: string; sum: string } | undefined {
  if (field === undefined) return undefined
  const [, name, sum] = /^\s*([\w-]+):([0-9A-Fa-f]+)\s*$/.exec(String(field)) ?? []
  if (name === undefined || sum === undefined) throw badRequest('the OC-Checksum field is malformed')
  const algorithm = name.toUpperCase()
  return ALGORITHMS[algorithm] === undefined ? undefined : { algorithm, sum: sum.toLowerCase() }
}

/** Hashes data that arrives in pieces, by several algorithms at once. */
export class Summer {
  readonly #hashes: readonly (readonly [string, Hash])[]

  constructor(algorithms: readonly string[]) {
    this.#hashes = algorithms.map((name) => [name, createHash(ALGORITHMS[name] as string)])
  }

  add(piece: Uint8Array): void {
    for (const [, hash] of this.#hashes) hash.update(piece)
  }

  end(): Sums {
    return Object.fromEntries(this.#hashes.map(([name, hash]) => [name, hash.digest('hex')]))
  }
}

/** The content of `checksums`, for example `<oc:checksum>SHA1:… MD5:…</oc:checksum>`. */
export function checksumXml(sums: Sums): string {
  const text = Object.entries(sums).map(([name, sum]) => `${name}:${sum}`)
  return `<oc:checksum xmlns:oc="${OWNCLOUD_NAMESPACE}">${text.join(' ')}</oc:checksum>`
}

/**
 * Checksums of files. They are computed once and kept while the entity tag stays the same: in memory, and as protocol data if that needs no copy-up and
 * the user may write. Two files are read at a time, and requested files take turns, so that a large one delays nobody.
 */
export class Checksums {
  readonly #known = new LRUCache<string, Sums>({ max: REMEMBERED })
  readonly #turns = new FairTurns(READ_AT_ONCE)
  /** Checksums being computed. */
  readonly #running = new Map<string, FileSum>()

  /** The checksums that are known without reading the file. */
  async known(view: DavView, inode: Inode, attr: Attr): Promise<Sums | undefined> {
    const etag = etagOf(inode, attr)
    const key = `${view.id}/${etag}`
    const remembered = this.#known.get(key)
    if (remembered !== undefined) return remembered
    const note = await view.overlay.getProtocolData(view.cred, inode, SLOT)
    const kept = note && readNote(note, etag)
    if (kept !== undefined) this.#known.set(key, kept)
    return kept
  }

  /**
   * The checksums of the file, which is read if necessary. Only known checksums if the file must not be read, changes meanwhile, is too large or takes too long.
   * @throws ClientGone
   */
  async compute(ctx: DavContext, view: DavView, inode: Inode, attr: Attr): Promise<Sums | undefined> {
    const known = await this.known(view, inode, attr)
    if (known !== undefined && ASKED.every((name) => name in known)) return known
    if (attr.size > ctx.services.limits.checksumBytes) return known
    try {
      const found = await this.#read(ctx, view, inode, attr)
      if (found === undefined) return known
      const sums = { ...known, ...found }
      const now = await view.overlay.getattr(inode)
      if (etagOf(inode, now) !== etagOf(inode, attr)) return undefined
      await this.keep(view, inode, attr, sums)
      return sums
    } catch (error) {
      if (isErrno(error)) return known
      throw error
    }
  }

  /** Stores the checksums of the file with these attributes. */
  async keep(view: DavView, inode: Inode, attr: Attr, sums: Sums): Promise<void> {
    const etag = etagOf(inode, attr)
    this.#known.set(`${view.id}/${etag}`, sums)
    try {
      await view.overlay.setProtocolData(view.cred, inode, SLOT, Buffer.from(JSON.stringify({ etag, sums })), 'upper')
    } catch (error) {
      if (!isErrno(error)) throw error
    }
  }

  /** The checksums of the content, from a read in progress or a new one. */
  async #read(ctx: DavContext, view: DavView, inode: Inode, attr: Attr): Promise<Sums | undefined> {
    const key = `${view.id}/${etagOf(inode, attr)}`
    const running = this.#running.get(key)
    running?.join(ctx)
    const job = running ?? new FileSum(ctx, { view, inode }, new Summer(ASKED), this.#turns)
    if (running === undefined) {
      this.#running.set(key, job)
      const end = () => void this.#running.delete(key)
      job.sums.then(end, end)
    }
    return await untilGone(ctx, job.sums)
  }
}

/** Waits for `work` unless the client disconnects first. @throws ClientGone */
async function untilGone<T>({ res }: DavContext, work: Promise<T>): Promise<T> {
  let leave: () => void = () => undefined
  const gone = new Promise<never>((_, reject) => {
    leave = () => reject(new ClientGone())
    res.once('close', leave)
    if (res.destroyed) leave()
  })
  try {
    return await Promise.race([work, gone])
  } finally {
    res.off('close', leave)
  }
}

/** Parses stored checksums; undefined if they are not for this entity tag. */
function readNote(note: Uint8Array, etag: string): Sums | undefined {
  try {
    const value = JSON.parse(Buffer.from(note).toString('utf8')) as { etag?: unknown; sums?: unknown }
    return value.etag === etag && isSums(value.sums) ? value.sums : undefined
  } catch {
    return undefined
  }
}

function isSums(value: unknown): value is Sums {
  if (typeof value !== 'object' || value === null) return false
  return Object.entries(value).every(
    ([name, sum]) => Object.hasOwn(ALGORITHMS, name) && /^[0-9a-f]+$/.test(String(sum)),
  )
}

/** Refuses an upload whose checksum differs from the client's. @throws DavError 400 */
export function requireSum(promised: { algorithm: string; sum: string }, sums: Sums): void {
  if (sums[promised.algorithm] === promised.sum) return
  throw new DavError(400, 'the checksum of the content differs from OC-Checksum')
}
