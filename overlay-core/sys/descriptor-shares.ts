/** The number of descriptors for purposes other than caches and connections: standard streams, listeners, journals, layers, and the runtime. */
const OWN = 48
const MOST_CONNECTIONS = 6000
const MOST_FILES = 4096

/** Below this limit of the process, threads that make system calls would use the descriptors that files need. */
const ENOUGH_FOR_THREADS = 128

/** How the descriptors of the process are shared. The rest is for running operations. */
export interface DescriptorShares {
  /** Directories that caches keep open, of all overlays. */
  readonly directories: number
  /** Files that caches keep open, of all overlays. */
  readonly files: number
  /** Client connections of all protocols. */
  readonly connections: number
}

/** Divides the `limit` of the process (RLIMIT_NOFILE), so that connections leave enough for files, and caches leave enough for operations. */
export function shareDescriptors(limit: number): DescriptorShares {
  const rest = Math.max(16, limit - OWN)
  few = limit < ENOUGH_FOR_THREADS
  return {
    directories: Math.max(4, Math.floor(rest * 0.3)),
    files: Math.max(2, Math.min(MOST_FILES, Math.floor(rest * 0.15))),
    connections: Math.max(4, Math.min(MOST_CONNECTIONS, Math.floor(rest * 0.3))),
  }
}

let few = false

/** Whether the process has so few descriptors that it should use none to be faster. */
export function descriptorsAreFew(): boolean {
  return few
}

const holders = new Set<() => void>()

/** Registers `yieldSome`, which must close descriptors kept only for speed, for when an open finds no descriptor. Returns a function that unregisters it. */
export function onDescriptorShortage(yieldSome: () => void): () => void {
  holders.add(yieldSome)
  return () => holders.delete(yieldSome)
}

/** How often a call that found no descriptor is repeated, each time after `afterShortage`. */
export const SHORTAGE_ATTEMPTS = 100
const SHORTAGE_WAIT_MS = 10

/** Asks all caches to close descriptors that they do not need, and gives them time to do so. */
export async function afterShortage(): Promise<void> {
  for (const yieldSome of holders) yieldSome()
  await new Promise((resolve) => setTimeout(resolve, SHORTAGE_WAIT_MS))
}
