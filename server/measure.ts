import { performance } from 'node:perf_hooks'
import type { Measured } from './history.ts'
import type { RunningServer } from './running-server.ts'

/** Measures a server, for its history. Costs a little for each connection. */
export function measure({ nfs, webdav, http, templates }: RunningServer): Measured {
  const nfsBytes = nfs?.bytes() ?? { in: 0, out: 0 }
  const dav = webdav?.counters ?? {}
  return {
    nfsCalls: nfs?.counters.calls ?? 0,
    webdavRequests: dav.requests ?? 0,
    bytesIn: nfsBytes.in + (dav.bytesIn ?? 0),
    bytesOut: nfsBytes.out + (dav.bytesOut ?? 0),
    busyMs: performance.eventLoopUtilization().active,
    memoryBytes: process.memoryUsage.rss(),
    connections: (nfs?.connectionCount() ?? 0) + (http?.openCount() ?? 0),
    openViews: templates?.pool.size ?? 0,
  }
}

/** Notes what the open views with quotas use. */
export function noteGrowth({ templates, growth }: RunningServer): void {
  for (const template of templates?.list() ?? [])
    for (const view of template.list()) {
      const used = view.quota?.state
      if (used !== undefined) growth.note(view.record.id, used.bytes)
    }
}
