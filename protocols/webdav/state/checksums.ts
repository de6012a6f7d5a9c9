import { createHash, type Hash } from 'node:crypto'
import { LRUCache } from 'lru-cache'
import { type Attr, type Inode, isErrno, loopBudget } from '../../../overlay-core/index.ts'
import { ClientGone } from '../http/client-gone.ts'
import { badRequest, DavError } from '../http/dav-error.ts'
import { etagOf } from '../http/etag.ts'
import type { DavContext, DavView } from '../state/context.ts'

/** The namespace of ownCloud's properties. */
export const OWNCLOUD_NAMESPACE = 'http://owncloud.org/ns'

const SLOT = 'sum'
const REMEMBERED = 10_000
/** Hashed in one go between two turns of the event loop, bytes: about a millisecond. */
const SLICE_BYTES = 256 * 1024

/** The names that clients use, with those of node:crypto. */
const ALGORITHMS: Readonly<Record<string, string>> = { SHA256: 'sha256', SHA1: 'sha1', MD5: 'md5' }
/** Computed when a client asks: what rclone and ownCloud clients compare by. */
const ASKED = ['SHA1', 'MD5']

/** Checksums by algorithm, in lower case hex. */
export type Sums = Readonly<Record<string, string>>

/** What an OC-Checksum field promises: an algorithm that is known here, and the sum. Undefined when absent or of another algorithm. @throws DavError 400 */
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
 * Checksums of files: computed once and kept for as long as the entity tag stays, in memory, and as a note where that needs no copy-up and
 * the user may write. One file is read at a time.
 */
export class Checksums {
  readonly #known = new LRUCache<string, Sums>({ max: REMEMBERED })
  #running: Promise<unknown> = Promise.resolve()

  /** What is known without reading the file. */
  async known(view: DavView, inode: Inode, attr: Attr): Promise<Sums | undefined> {
    const etag = etagOf(inode, attr)
    const key = `${view.name}/${etag}`
    const remembered = this.#known.get(key)
    if (remembered !== undefined) return remembered
    const note = await view.overlay.getProtocolData(view.cred, inode, SLOT)
    const kept = note && readNote(note, etag)
    if (kept !== undefined) this.#known.set(key, kept)
    return kept
  }

  /** Reads the file when nothing is known; undefined when it may not be read or changes meanwhile. @throws ClientGone */
  async compute(ctx: DavContext, view: DavView, inode: Inode, attr: Attr): Promise<Sums | undefined> {
    const known = await this.known(view, inode, attr)
    if (known !== undefined && ASKED.every((name) => name in known)) return known
    const turn = this.#running.then(() => this.#read(ctx, view, inode, attr, known ?? {}))
    this.#running = turn.catch(() => undefined)
    return await turn
  }

  /** Keeps what was found out about the file with these attributes. */
  async keep(view: DavView, inode: Inode, attr: Attr, sums: Sums): Promise<void> {
    const etag = etagOf(inode, attr)
    this.#known.set(`${view.name}/${etag}`, sums)
    try {
      await view.overlay.setProtocolData(view.cred, inode, SLOT, Buffer.from(JSON.stringify({ etag, sums })), 'upper')
    } catch (error) {
      if (!isErrno(error)) throw error
    }
  }

  async #read(ctx: DavContext, view: DavView, inode: Inode, attr: Attr, before: Sums): Promise<Sums | undefined> {
    const known = this.#known.get(`${view.name}/${etagOf(inode, attr)}`)
    if (known !== undefined && ASKED.every((name) => name in known)) return known
    try {
      const sums = { ...before, ...(await sumFile(ctx, view, inode)) }
      const now = await view.overlay.getattr(inode)
      if (etagOf(inode, now) !== etagOf(inode, attr)) return undefined
      await this.keep(view, inode, attr, sums)
      return sums
    } catch (error) {
      if (isErrno(error)) return undefined
      throw error
    }
  }
}

async function sumFile(ctx: DavContext, view: DavView, inode: Inode): Promise<Sums> {
  const summer = new Summer(ASKED)
  const file = await view.overlay.open(view.cred, inode, { read: true })
  const buffer = ctx.services.buffers.take()
  try {
    for (let at = 0; ; ) {
      if (ctx.res.destroyed) throw new ClientGone()
      const read = await file.read(buffer, 0, Math.min(SLICE_BYTES, buffer.length), at)
      if (read === 0) return summer.end()
      summer.add(buffer.subarray(0, read))
      at += read
      await loopBudget.rest()
    }
  } finally {
    ctx.services.buffers.release(buffer)
    file.close()
  }
}

/** The sums in a note, when it speaks of the file with this entity tag. */
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

/** Refuses an upload whose content is not what the client said it is. @throws DavError 400 */
export function requireSum(promised: { algorithm: string; sum: string }, sums: Sums): void {
  if (sums[promised.algorithm] === promised.sum) return
  throw new DavError(400, 'the content has not the checksum of the OC-Checksum field')
}
