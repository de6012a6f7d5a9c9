import type { PeerUse } from '../../../protocols/nfs/index.ts'
import type { RunningServer } from '../../running-server.ts'

/** A client of a server, by its address and the protocol. */
export interface ClientRow {
  readonly door: 'nfs' | 'webdav'
  readonly address: string
  /** Login names and owners of certificates; `uid N` where nobody has proved who it is. */
  readonly users: readonly string[]
  /** The views that it has used: `NAME`, or `TEMPLATE/NAME`. */
  readonly views: readonly string[]
  readonly connections: number
  /** Requests in progress. NFS calls are not told apart from connections. */
  readonly running: number
  /** Locks: over NFS those of the client, over WebDAV those of its users. */
  readonly locks: number
  /** Whether its connections are encrypted. */
  readonly encrypted: boolean
  /** ISO 8601. */
  readonly lastSeen: string
}

/** Which clients are wanted. */
export interface WhoOrder {
  readonly view?: string
  readonly user?: string
  readonly client?: string
  /** Only those that have been seen in the last so many seconds. */
  readonly seconds?: number
}

interface Row {
  readonly users: Set<string>
  readonly views: Set<string>
  connections: number
  running: number
  locks: number
  encrypted: boolean
  lastMs: number
}

/** The clients that are connected or were seen lately, the latest first. */
export function clientsOf(server: RunningServer, order: WhoOrder, nowMs: number): ClientRow[] {
  const rows = [...nfsRows(server, nowMs), ...webdavRows(server, nowMs)]
  return rows
    .filter(({ address }) => order.client === undefined || address === order.client)
    .filter(({ users }) => order.user === undefined || users.includes(order.user))
    .filter(({ views }) => order.view === undefined || views.some((view) => isIn(order.view ?? '', view)))
    .filter(({ lastSeen }) => order.seconds === undefined || nowMs - Date.parse(lastSeen) <= order.seconds * 1000)
    .sort((a, b) => (a.lastSeen < b.lastSeen ? 1 : a.lastSeen > b.lastSeen ? -1 : 0))
}

/** Whether a view is the one that is named, or one of the named template. */
function isIn(named: string, view: string): boolean {
  return view === named || view.startsWith(`${named}/`)
}

function nfsRows({ nfs }: RunningServer, nowMs: number): ClientRow[] {
  const rows = new Map<string, Row>()
  for (const { peer, quietMs, uses } of nfs?.connections() ?? []) {
    const row = rowOf(rows, peer.address)
    row.connections++
    row.encrypted ||= peer.security !== 'none'
    row.lastMs = Math.max(row.lastMs, nowMs - quietMs)
    if (peer.identity !== undefined) row.users.add(peer.identity.name)
    for (const use of uses) noteUse(row, use, peer.identity === undefined)
  }
  for (const [client, locks] of nfs?.heldLocks.byClient ?? []) {
    const row = rows.get(client)
    if (row !== undefined) row.locks = locks
  }
  return describe('nfs', rows)
}

/** Names are bytes there. Users without a certificate are what the client says. */
function noteUse(row: Row, { uid, view }: PeerUse, unproved: boolean): void {
  row.views.add(Buffer.from(view, 'latin1').toString('utf8'))
  if (unproved) row.users.add(`uid ${uid}`)
}

function webdavRows({ http, webdav, presence }: RunningServer, nowMs: number): ClientRow[] {
  const rows = new Map<string, Row>()
  for (const { address, user, view, lastMs } of presence.list()) {
    const row = rowOf(rows, address)
    row.users.add(user)
    row.views.add(view)
    row.lastMs = Math.max(row.lastMs, lastMs)
  }
  for (const { connection, address, requests } of http?.open() ?? []) {
    const row = rowOf(rows, presence.of(connection)?.address ?? address)
    row.connections++
    row.running += requests
    row.encrypted ||= 'encrypted' in connection
    if (row.lastMs === 0) row.lastMs = nowMs
  }
  const locks = Map.groupBy(webdav?.locks() ?? [], ({ login, user }) => login ?? `uid ${user}`)
  for (const row of rows.values()) for (const user of row.users) row.locks += locks.get(user)?.length ?? 0
  return describe('webdav', rows)
}

function rowOf(rows: Map<string, Row>, address: string): Row {
  let row = rows.get(address)
  if (row === undefined) {
    row = { users: new Set(), views: new Set(), connections: 0, running: 0, locks: 0, encrypted: false, lastMs: 0 }
    rows.set(address, row)
  }
  return row
}

function describe(door: ClientRow['door'], rows: ReadonlyMap<string, Row>): ClientRow[] {
  return [...rows].map(([address, { users, views, lastMs, ...numbers }]) => ({
    ...{ door, address, ...numbers, users: [...users].sort(), views: [...views].sort() },
    lastSeen: new Date(lastMs).toISOString(),
  }))
}
