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

/** The maximum number of names and of entries in listings. A name takes about 800 bytes, an entry about 100. */
const MOST = { names: 250_000, listings: 800_000 }

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

let ofProcess: Budgets | undefined

/** The budgets of all overlays that are not given others. */
export function processBudgets(): Budgets {
  ofProcess ??= createBudgets()
  return ofProcess
}
