import { CacheBudget } from '../base/cache-budget.ts'
import { shareDescriptors } from '../sys/descriptor-shares.ts'
import { raiseFileLimit } from '../sys/process.ts'

/** The limits that all overlays of a process share. Each overlay may have lower limits of its own. */
export interface Budgets {
  /** Names in the dentry caches; directories with cached names are not counted. */
  readonly names: CacheBudget
  /** Entries of cached listings. */
  readonly listings: CacheBudget
  /** Open descriptors of directories. */
  readonly directories: CacheBudget
  /** Open real files. */
  readonly files: CacheBudget
}

/**
 * The maximum number of names and of entries in listings. A name takes about 800 bytes, an entry about 100. Names also cost time: the last step of a garbage collection stops
 * the event loop for longer the more there are.
 */
const MOST = { names: 150_000, listings: 800_000 }

/** Creates budgets for overlays that share them. Descriptors get their parts of the limit of the process. */
export function createBudgets({ names = MOST.names, listings = MOST.listings }: Partial<typeof MOST> = {}): Budgets {
  const shares = shareDescriptors(raiseFileLimit())
  return {
    names: new CacheBudget(() => names),
    listings: new CacheBudget(() => listings),
    directories: new CacheBudget(() => shares.directories),
    files: new CacheBudget(() => shares.files),
  }
}

/** Limits for what all overlays of a process cache; what is undefined has its default. Those of descriptors can only be below it. */
export interface CacheLimits {
  readonly names?: number | undefined
  /** Entries of listings. */
  readonly listings?: number | undefined
  readonly directories?: number | undefined
  readonly files?: number | undefined
}

let given: CacheLimits = {}

/** Changes the limits of all overlays that share those of the process. Resolves when what is beyond a lower one is given up, apart from what is in use. */
export async function limitCaches(limits: CacheLimits): Promise<void> {
  given = limits
  for (const budget of Object.values(ofProcess ?? {})) await budget.applyLower()
}

let ofProcess: Budgets | undefined

/** The budgets of all overlays that are not given others. */
export function processBudgets(): Budgets {
  if (ofProcess !== undefined) return ofProcess
  const { names, listings, directories, files } = createBudgets()
  const below = (key: 'directories' | 'files', own: CacheBudget) =>
    new CacheBudget(() => Math.min(own.limit, given[key] ?? own.limit))
  ofProcess = {
    names: new CacheBudget(() => given.names ?? names.limit),
    listings: new CacheBudget(() => given.listings ?? listings.limit),
    directories: below('directories', directories),
    files: below('files', files),
  }
  return ofProcess
}
