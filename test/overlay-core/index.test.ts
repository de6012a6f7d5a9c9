import { readFile } from 'node:fs/promises'
import t from 'tap'
import * as core from '../../overlay-core/index.ts'

/** What adapters may rely on. Adding to it is a decision; taking away breaks them. */
const VALUES = [
  'Access',
  'ERRNO',
  'FairTurns',
  'FileType',
  'LargeMap',
  'OptionError',
  'OverlayError',
  'Quota',
  'RecordJournal',
  'TooManyWaiting',
  'TreeWriter',
  'actsAsRoot',
  'after',
  'claimDirectory',
  'compare',
  'connectionsAllowed',
  'createBudgets',
  'createOwnRoots',
  'duplicateDescriptor',
  'giveMemoryBack',
  'giveUpExceedingQuotas',
  'guardChanges',
  'isErrno',
  'isUnwritable',
  'keepOnExecute',
  'liesIn',
  'limitCaches',
  'limitProject',
  'limitsProjects',
  'listeningAddress',
  'loopBudget',
  'mayExceedQuotas',
  'mergeTree',
  'mount',
  'nearestWord',
  'openPersistentMemory',
  'openStack',
  'openStackMemory',
  'parseOptions',
  'placesOf',
  'projectOf',
  'projectUsage',
  'readChanges',
  'readTree',
  'readView',
  'sendDatagram',
  'setProject',
  'settleFreeze',
  'showsInnerMounts',
  'sortInTurns',
]
const TYPES = [
  ...[
    'Aspect',
    'Attr',
    'AttrChange',
    'Budgets',
    'CacheLimits',
    'ChangeGuard',
    'ChangeInfo',
    'CreateOptions',
    'Cred',
    'CredOf',
    'Difference',
    'DirEntry',
    'DirEntryPlus',
    'Errno',
    'FileType',
    'Foreseen',
    'Inode',
    'Journal',
    'ListeningAddress',
    'LiveRecords',
    'ProjectLimits',
    'ProjectUsage',
    'QuotaLimits',
    'QuotaState',
    'ResumableOptions',
    'ResumableStage',
    'LookupAttrs',
    'MaybePromise',
    'MountOptions',
  ],
  ...[
    'Name',
    'OpenFile',
    'Overlay',
    'PersistentMemory',
    'Place',
    'Provenance',
    'PublishOptions',
    'ReadTreeOptions',
    'SetTime',
    'Stability',
    'StagedFile',
    'Stack',
    'StackMemory',
    'StatFs',
    'Time',
    'TreeEntry',
    'TreeEntryType',
    'TreeItem',
    'TreeTotals',
    'Usage',
  ],
]

t.test('the values that overlay-core exports are exactly those agreed', async (t) => {
  t.same(Object.keys(core).sort(), VALUES)
})

t.test('the names that overlay-core exports, types too, are exactly those agreed', async (t) => {
  const text = await readFile(new URL('../../overlay-core/index.ts', import.meta.url), 'utf8')
  const lists = [...text.matchAll(/^export (?:type )?\{([^}]*)\}/gm)].map(([, names]) => names!.split(','))
  const names = lists
    .flat()
    .map((name) => name.trim().replace(/^type /, ''))
    .filter((name) => name !== '')
  t.same([...new Set(names)].sort(), [...new Set([...VALUES, ...TYPES])].sort())
  t.notMatch(text, /export \*/)
})
