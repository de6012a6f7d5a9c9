import type { Latencies } from '../../overlay-core/index.ts'
import type { Metric, Observed, Sample } from './metric.ts'

/** The protocols on the port of NFS, by program number and version. */
const DOORS: Readonly<Record<string, string>> = {
  '100003.3': 'nfs3',
  '100003.4': 'nfs4',
  '100005.3': 'mount',
  '100021.4': 'nlm',
  '100024.1': 'nsm',
}

/** `NFSPROC3_` and the like, which the door says already. */
const PREFIX = /^[A-Z]+PROC[0-9]?_/

/** Values of NFS that go up and down, which are gauges of their own. */
const PRESENT = new Set(['locks', 'clients4', 'states4', 'files4', 'locksWaiting'])

/** What clients ask for, by protocol. */
export const DOOR_METRICS: readonly Metric[] = [
  {
    name: 'overlayd_request_duration_seconds',
    type: 'histogram',
    labels: ['door', 'operation'],
    meaning:
      'How long requests took. WebDAV: from the header until the answer is complete. NFS: from the call, which has arrived as a whole, until its reply is queued; calls over TCP that were executed',
    read: durations,
  },
  {
    name: 'overlayd_requests_running',
    type: 'gauge',
    labels: ['door'],
    meaning: 'Requests that are being answered now',
    read: function* ({ server: { webdav } }) {
      if (webdav !== undefined) yield [webdav.running(), 'webdav']
    },
  },
  {
    name: 'overlayd_events_total',
    type: 'counter',
    labels: ['door', 'event'],
    meaning:
      'The counters that `overlayd status` shows, by their names there, for example `calls`, `status4xx`, `faults`',
    read: events,
  },
  {
    name: 'overlayd_connections',
    type: 'gauge',
    labels: ['door'],
    meaning: 'Open connections. `http` is WebDAV with its pages',
    read: function* ({ server: { http, nfs } }) {
      if (http !== undefined) yield [http.openCount(), 'http']
      if (nfs !== undefined) yield [nfs.connectionCount(), 'nfs']
    },
  },
  {
    name: 'overlayd_received_bytes_total',
    type: 'counter',
    labels: ['door'],
    meaning: 'Bytes from clients. WebDAV: of files. NFS: of all messages',
    read: (observed) => bytes(observed, 'in'),
  },
  {
    name: 'overlayd_sent_bytes_total',
    type: 'counter',
    labels: ['door'],
    meaning: 'Bytes to clients, counted in the same way',
    read: (observed) => bytes(observed, 'out'),
  },
  {
    name: 'overlayd_locks',
    type: 'gauge',
    labels: ['door'],
    meaning: 'Locks that clients hold',
    read: function* ({ server: { webdav, nfs } }) {
      if (webdav !== undefined) yield [webdav.locks().length, 'webdav']
      if (nfs !== undefined) yield [nfs.counters.locks ?? 0, 'nfs']
    },
  },
  {
    name: 'overlayd_nfs_locks_waiting',
    type: 'gauge',
    labels: [],
    meaning: 'Requests for NFS locks that wait for another lock',
    read: (observed) => ofNfs(observed, 'locksWaiting'),
  },
  {
    name: 'overlayd_nfs4_clients',
    type: 'gauge',
    labels: [],
    meaning: 'Clients of NFSv4',
    read: (observed) => ofNfs(observed, 'clients4'),
  },
  {
    name: 'overlayd_nfs4_open_files',
    type: 'gauge',
    labels: [],
    meaning: 'Files that are held open for clients of NFSv4',
    read: (observed) => ofNfs(observed, 'files4'),
  },
]

function* durations({ server: { webdav, nfs } }: Observed): Iterable<Sample<Latencies>> {
  for (const [method, latencies] of webdav?.latencies ?? []) if (isUsed(latencies)) yield [latencies, 'webdav', method]
  for (const { program, version, procedure, latencies } of nfs?.latencies() ?? [])
    if (isUsed(latencies)) yield [latencies, DOORS[`${program}.${version}`] ?? 'other', procedure.replace(PREFIX, '')]
}

/** What nobody has asked for is left out: a histogram has twenty lines. */
function isUsed({ counts }: Latencies): boolean {
  return counts.some((count) => count > 0)
}

function* events({ server }: Observed): Iterable<Sample<number>> {
  const { webdav, nfs, boot } = server.status().doors
  const all = { webdav: webdav?.counters, nfs: nfs?.counters, boot: boot?.counters, http: server.status().http }
  for (const [door, counters] of Object.entries(all))
    for (const [event, count] of Object.entries(counters ?? {}))
      if (typeof count === 'number' && !(door === 'nfs' && PRESENT.has(event))) yield [count, door, event]
}

function* bytes({ server: { webdav, nfs } }: Observed, direction: 'in' | 'out'): Iterable<Sample<number>> {
  if (webdav !== undefined) yield [webdav.counters[direction === 'in' ? 'bytesIn' : 'bytesOut'] ?? 0, 'webdav']
  if (nfs !== undefined) yield [nfs.bytes()[direction], 'nfs']
}

function* ofNfs({ server: { nfs } }: Observed, name: string): Iterable<Sample<number>> {
  if (nfs !== undefined) yield [nfs.counters[name] ?? 0]
}
