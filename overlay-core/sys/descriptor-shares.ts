/** What a server holds beside caches and connections: its standard streams, listeners, journals, layers, and what the runtime needs. */
const OWN = 44
const MOST_CONNECTIONS = 6000
const MOST_FILES = 4096

/** Who may hold how many of the descriptors that the process may have. The rest is for operations under way. */
export interface DescriptorShares {
  /** Directories that caches keep open, of all overlays. */
  readonly directories: number
  /** Files that caches keep open, of all overlays. */
  readonly files: number
  /** Client connections of all protocols. */
  readonly connections: number
}

/** Shares out the `limit` of the process (RLIMIT_NOFILE): connections never take what files need, and no cache takes what operations need. */
export function shareDescriptors(limit: number): DescriptorShares {
  const rest = Math.max(16, limit - OWN)
  return {
    directories: Math.max(4, Math.floor(rest * 0.3)),
    files: Math.max(2, Math.min(MOST_FILES, Math.floor(rest * 0.15))),
    connections: Math.max(4, Math.min(MOST_CONNECTIONS, Math.floor(rest * 0.3))),
  }
}

const holders = new Set<() => void>()

/** Has `yieldSome` called when an open fails for want of a descriptor: it lets go of what is only kept for speed. Returns how to end that. */
export function onDescriptorShortage(yieldSome: () => void): () => void {
  holders.add(yieldSome)
  return () => holders.delete(yieldSome)
}

/** The part of `share` that each of those who registered for a shortage may have. */
export function partOf(share: number): number {
  return Math.max(2, Math.floor(share / Math.max(1, holders.size)))
}

/** How often a call that found no descriptor is made again, each time after `afterShortage`. */
export const SHORTAGE_ATTEMPTS = 100
const SHORTAGE_WAIT_MS = 10

/** Has all caches let go of descriptors that they can do without, and gives them the time to do so. */
export async function afterShortage(): Promise<void> {
  for (const yieldSome of holders) yieldSome()
  await new Promise((resolve) => setTimeout(resolve, SHORTAGE_WAIT_MS))
}
