/** The public interface of overlay-core. No other file may be imported from outside. */

export { activity } from './api/activity.ts'
export { ERRNO, type Errno, isErrno, isUnwritable, OverlayError } from './api/errno.ts'
export type { Journal, LiveRecords } from './api/journal.ts'
export { LATENCY_BOUNDS_MS, Latencies } from './api/latencies.ts'
export { after } from './api/maybe-promise.ts'
export type { Overlay, Squash, Stack, StackMemory } from './api/overlay-api.ts'
export { type MountOptions, nearestWord, OptionError, parseOptions } from './api/params.ts'
export {
  Access,
  type Attr,
  type AttrChange,
  type ChangeInfo,
  type CreateOptions,
  type Cred,
  type CredOf,
  type DirEntry,
  type DirEntryPlus,
  FileType,
  type Foreseen,
  type FreshUpper,
  type Inode,
  type LookupAttrs,
  type MaybePromise,
  type Name,
  type OpenFile,
  type Provenance,
  type PublishOptions,
  type ResumableOptions,
  type ResumableStage,
  type SetTime,
  type Stability,
  type StagedFile,
  type StatFs,
  type Time,
} from './api/types.ts'
export { FairTurns, TooManyWaiting } from './base/fair-turns.ts'
export { LargeMap } from './base/large-map.ts'
export { loopBudget } from './base/loop-turn.ts'
export { Quota, type QuotaLimits, type QuotaState, type Usage } from './base/quota.ts'
export { RecordJournal } from './base/record-journal.ts'
export { sortInTurns } from './base/sort-in-turns.ts'
export { type ChangeGuard, guardChanges } from './change-guard.ts'
export { type CheckedPaths, type CheckedUsage, checkUpper } from './check/check-upper.ts'
export type { Finding } from './check/finding.ts'
export { compare } from './compare/compare.ts'
export type { Aspect, Difference } from './compare/difference.ts'
export { type Budgets, type CacheLimits, createBudgets, limitCaches } from './mount/budgets.ts'
export { settleFreeze } from './mount/frozen-place.ts'
export { mount } from './mount/mount.ts'
export { openStack } from './mount/stack.ts'
export { openStackMemory } from './mount/stack-memory.ts'
export { BaseChanges } from './rebase/base-changes.ts'
export { buildUpper } from './rebase/build-upper.ts'
export { isConflict, type PathOutcome, STRATEGIES, type Strategy, type StrategyOf } from './rebase/outcome.ts'
export { outcomesOf } from './rebase/outcomes.ts'
export { gateLoad } from './sys/call.ts'
export { actsAsRoot, giveUpExceedingQuotas, mayExceedQuotas } from './sys/capabilities.ts'
export { claimDirectory } from './sys/claim.ts'
export { giveMemoryBack } from './sys/free-memory.ts'
export { keepOnExecute, type ListeningAddress, listeningAddress, sendDatagram } from './sys/inherited-socket.ts'
export { createOwnRoots } from './sys/new-own-roots.ts'
export { openPersistentMemory, type PersistentMemory } from './sys/persistent-memory.ts'
export { liesIn, type Place, placesOf, showsInnerMounts } from './sys/place.ts'
export { connectionsAllowed, duplicateDescriptor } from './sys/process.ts'
export {
  limitProject,
  limitsProjects,
  type ProjectLimits,
  type ProjectUsage,
  projectOf,
  projectUsage,
  setProject,
} from './sys/project-quota.ts'
export { mergeTree } from './trees/merge-tree.ts'
export { readChanges } from './trees/read-changes.ts'
export { type ReadTreeOptions, readTree } from './trees/read-tree.ts'
export { readView } from './trees/read-view.ts'
export { stripMarks } from './trees/strip-marks.ts'
export type { TreeEntry, TreeEntryType, TreeItem } from './trees/tree-entry.ts'
export { type TreeTotals, TreeWriter } from './trees/write-tree.ts'
