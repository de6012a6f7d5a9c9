const NAMES = [
  'requests',
  'status2xx',
  'status3xx',
  'status4xx',
  'status5xx',
  'badRequests',
  'faults',
  'abortedUploads',
  'abortedDownloads',
  'slowUploads',
  'bytesIn',
  'bytesOut',
] as const

/** The totals of this adapter: requests, responses by class, faults, aborted transfers, transferred file bytes. */
export type Counters = Record<(typeof NAMES)[number], number>

/** Totals, all zero. */
export function newCounters(): Counters {
  return Object.fromEntries(NAMES.map((name) => [name, 0])) as Counters
}
