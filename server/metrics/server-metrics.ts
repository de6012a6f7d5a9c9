import { performance } from 'node:perf_hooks'
import { activity, gateLoad } from '../../overlay-core/index.ts'
import type { Metric } from './metric.ts'

/** What the server does with views, disks and the processor. */
export const SERVER_METRICS: readonly Metric[] = [
  {
    name: 'overlayd_info',
    type: 'gauge',
    labels: ['version'],
    meaning: 'Always 1',
    read: ({ server }) => [[1, server.status().version]],
  },
  {
    name: 'overlayd_uptime_seconds',
    type: 'gauge',
    labels: [],
    meaning: 'Seconds since the start',
    read: ({ server }) => [[server.status().uptimeSeconds]],
  },
  {
    name: 'overlayd_views',
    type: 'gauge',
    labels: ['template'],
    meaning: 'Views of each template, open or not',
    read: function* ({ server: { templates } }) {
      for (const template of templates?.list() ?? []) yield [template.size, template.name]
    },
  },
  {
    name: 'overlayd_open_views',
    type: 'gauge',
    labels: ['template'],
    meaning: 'Views of each template that are open',
    read: function* ({ server: { templates } }) {
      for (const template of templates?.list() ?? []) yield [openOf(template.list()), template.name]
    },
  },
  {
    name: 'overlayd_copy_ups_total',
    type: 'counter',
    labels: ['result'],
    meaning: 'Objects that were copied from a layer to an upper (`done`), and failures (`failed`)',
    read: () => [
      [activity.copyUps, 'done'],
      [activity.copyUpsFailed, 'failed'],
    ],
  },
  {
    name: 'overlayd_quota_refusals_total',
    type: 'counter',
    labels: [],
    meaning: 'Changes that a quota of overlayd has refused',
    read: () => [[activity.quotaRefusals]],
  },
  {
    name: 'overlayd_fsync_duration_seconds',
    type: 'histogram',
    labels: [],
    meaning: 'How long the fsync and fdatasync calls on uppers took, with their wait for a thread',
    read: () => [[activity.syncs]],
  },
  {
    name: 'overlayd_cache_requests_total',
    type: 'counter',
    labels: ['cache', 'result'],
    meaning: 'Looks into the cache of small files for WebDAV (`contents`): `hit` or `miss`',
    read: function* ({ server: { webdav } }) {
      if (webdav === undefined) return
      yield [webdav.cache.hits, 'contents', 'hit']
      yield [webdav.cache.misses, 'contents', 'miss']
    },
  },
  {
    name: 'overlayd_cache_bytes',
    type: 'gauge',
    labels: ['cache'],
    meaning: 'Bytes in a cache',
    read: function* ({ server: { webdav } }) {
      if (webdav !== undefined) yield [webdav.cache.size, 'contents']
    },
  },
  {
    name: 'overlayd_system_calls',
    type: 'gauge',
    labels: ['state'],
    meaning: 'System calls on threads that run (`running`), and those that wait for one (`waiting`)',
    read: () => {
      const { inFlight, queued } = gateLoad()
      return [
        [inFlight, 'running'],
        [queued, 'waiting'],
      ]
    },
  },
  {
    name: 'overlayd_jobs_running',
    type: 'gauge',
    labels: [],
    meaning: 'Jobs of administrators that run',
    read: ({ server: { jobs } }) => [[jobs.running]],
  },
  {
    name: 'overlayd_log_lines_dropped_total',
    type: 'counter',
    labels: ['reason'],
    meaning: 'Log lines that were counted instead of written (`repeated`), or could not be written (`lost`)',
    read: function* ({ server }) {
      for (const [reason, count] of Object.entries(server.status().log)) yield [Number(count), reason]
    },
  },
  {
    name: 'overlayd_faults_total',
    type: 'counter',
    labels: ['kind'],
    meaning: 'Errors that nothing has handled: bugs',
    read: function* ({ server }) {
      for (const [kind, count] of Object.entries(server.status().faults)) yield [Number(count), kind]
    },
  },
  {
    name: 'overlayd_event_loop_busy_seconds_total',
    type: 'counter',
    labels: [],
    meaning: 'Seconds in which the event loop had work',
    read: () => [[performance.eventLoopUtilization().active / 1000]],
  },
  {
    name: 'overlayd_event_loop_lag_seconds',
    type: 'gauge',
    labels: ['of'],
    meaning:
      'How late timers were since the last scrape: `median`, `p99`, `max`; 0 at the first scrape, which begins to measure',
    read: ({ lag }) => Object.entries(lag.take()).map(([of, seconds]) => [seconds, of] as const),
  },
  {
    name: 'process_cpu_seconds_total',
    type: 'counter',
    labels: [],
    meaning: 'Processor time of all threads, user and system',
    read: () => {
      const { user, system } = process.cpuUsage()
      return [[(user + system) / 1e6]]
    },
  },
  {
    name: 'process_resident_memory_bytes',
    type: 'gauge',
    labels: [],
    meaning: 'Resident memory',
    read: () => [[process.memoryUsage.rss()]],
  },
]

function openOf(views: Iterable<{ readonly overlay: unknown }>): number {
  let open = 0
  for (const { overlay } of views) if (overlay !== undefined) open++
  return open
}
