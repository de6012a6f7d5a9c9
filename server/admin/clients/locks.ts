import { OptionError } from '../../../overlay-core/index.ts'
import type { HeldLock } from '../../../protocols/nfs/index.ts'
import type { DavLock } from '../../../protocols/webdav/index.ts'
import type { RunningServer } from '../../running-server.ts'

/** Which locks are wanted. */
export interface LocksOrder {
  /** A view, or a template with all its views. */
  readonly view?: string
  /** The address of an NFS client. */
  readonly client?: string
  /** Whose WebDAV locks. */
  readonly user?: string
  /** At most so many; 1000 by default. */
  readonly limit?: number
}

/** A lock of a client. */
export interface LockRow {
  /** Names it for `lock break`. */
  readonly id: string
  readonly door: 'nfs' | 'webdav'
  readonly kind: 'exclusive' | 'shared'
  /** `NAME`, or `TEMPLATE/NAME`; absent: it is not served any more. */
  readonly view?: string
  /** Over WebDAV: the path in the view. */
  readonly path?: string
  /** Over WebDAV: whether everything below the path is locked too. */
  readonly deep?: boolean
  /** Over NFS: the number of the file, as `ls -i` of a client shows it. */
  readonly file?: number
  /** Over NFS: the bytes, from and to; without an end the rest of the file. In decimal, because they may be larger than a number of JSON. */
  readonly start?: string
  readonly end?: string
  /** Over NFS: the address of the client, and what it calls itself. */
  readonly client?: string
  readonly clientName?: string
  /** Over WebDAV: the login name, or `uid N`. */
  readonly user?: string
  /** Over WebDAV: when it ends unless it is refreshed, ISO 8601. */
  readonly ends?: string
}

/** Locks, and whether there are more. */
export interface LockList {
  readonly locks: readonly LockRow[]
  readonly more: boolean
}

const USUAL = 1000
const MOST = 10_000

/** The locks of all clients that fit. Looks at so many at most that it takes a few milliseconds. */
export function locksOf(server: RunningServer, order: LocksOrder, nowMs: number): LockList {
  const limit = Math.min(order.limit ?? USUAL, MOST)
  const locks: LockRow[] = []
  for (const row of rowsOf(server, nowMs)) {
    if (!fits(row, order)) continue
    if (locks.length === limit) return { locks, more: true }
    locks.push(row)
  }
  return { locks, more: false }
}

function* rowsOf(server: RunningServer, nowMs: number): Generator<LockRow> {
  const paths = pathsById(server)
  for (const lock of server.webdav?.locks() ?? []) yield davRow(lock, paths, nowMs)
  for (const lock of server.nfs?.heldLocks.list() ?? []) yield nfsRow(lock)
}

function fits({ view = '', client, user }: LockRow, order: LocksOrder): boolean {
  if (order.view !== undefined && view !== order.view && !view.startsWith(`${order.view}/`)) return false
  if (order.client !== undefined && client !== order.client) return false
  return order.user === undefined || user === order.user
}

/** Breaks a lock. Its client is not told. @throws OptionError naming `lock`: there is none with this id */
export async function breakLock(server: RunningServer, id: string, nowMs: number): Promise<LockRow> {
  const held = server.nfs?.heldLocks.end(id)
  if (held !== undefined) return nfsRow(held)
  const dav = server.webdav?.locks().find(({ token }) => token === id)
  if (dav !== undefined && (await server.webdav?.endLock(id))) return davRow(dav, pathsById(server), nowMs)
  throw new OptionError('lock', `there is no lock ${JSON.stringify(id)}; see overlayd lock list`)
}

/** The paths of the views of templates by id. */
function pathsById({ templates }: RunningServer): ReadonlyMap<string, string> {
  const paths = new Map<string, string>()
  for (const template of templates?.list() ?? [])
    for (const { record, path } of template.list()) paths.set(record.id, path)
  return paths
}

function davRow(lock: DavLock, paths: ReadonlyMap<string, string>, nowMs: number): LockRow {
  const { token, view, path, user, login, exclusive, deep, endsInMs } = lock
  return {
    ...{ id: token, door: 'webdav', kind: exclusive ? 'exclusive' : 'shared', view: paths.get(view) ?? view },
    ...{ path, deep, user: login ?? `uid ${user}`, ends: new Date(nowMs + endsInMs).toISOString() },
  }
}

function nfsRow({ id, view, file, client, clientName, exclusive, start, end }: HeldLock): LockRow {
  return {
    ...{ id, door: 'nfs', kind: exclusive ? 'exclusive' : 'shared', file, client, clientName, start: String(start) },
    ...(view !== undefined && { view: Buffer.from(view, 'latin1').toString('utf8') }),
    ...(end !== undefined && { end: String(end) }),
  }
}
