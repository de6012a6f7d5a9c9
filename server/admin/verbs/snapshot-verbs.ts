import type { Deduplicated } from '../../registry/dedupe.ts'
import type { SnapshotDescription, SnapshotOrder } from '../../registry/snapshot-requests.ts'
import type { Squashed } from '../../registry/squashes.ts'
import { count, flag, listOf, listOfTexts, objectOf, text, time } from '../api/schema.ts'
import { type VerbContext, verb } from '../api/verb.ts'
import { VIEW_PATH } from './view-verbs.ts'

const SNAPSHOT = objectOf<SnapshotDescription>(
  {
    path: text('`TEMPLATE/NAME@SNAPSHOT`; of a fork or a reset view `TEMPLATE/NAME`.'),
    name: text('Its name.'),
    created: time('When it was made.'),
    inUse: flag('Whether the view lies on it: removing it frees nothing.'),
    aside: text('Where a rollback or reset has kept what the view contained; absent if that was let go.'),
    released: count('How many layers were deleted with it.'),
    layers: objectOf<Squashed>({
      before: count('Frozen layers before.'),
      after: count('Frozen layers after.'),
    }).schema,
    directory: text('The directory of a fork.'),
    count: count('How many objects were put back.'),
    beside: listOfTexts('Where copies of what was at the paths are, in the view.'),
    dropped: objectOf<Deduplicated>({
      count: count('Files and symlinks dropped from the upper.'),
      bytes: count('Their sizes together.'),
    }).schema,
    lowerdir: listOfTexts('The layers below the upper of a fork, topmost first.'),
    userxattr: flag('Whether its marks are `user.overlay.*`.'),
    ends: time('When a fork ends by itself.'),
  },
  ...(['inUse', 'aside', 'released', 'layers', 'directory', 'count'] as const),
  ...(['beside', 'dropped', 'lowerdir', 'userxattr', 'ends'] as const),
)

const SNAPSHOT_PATH = text('The snapshot: `TEMPLATE/NAME@SNAPSHOT`.')
const DROP = flag('Lets go of what the view contains now, instead of keeping it as a snapshot.')

async function only({ server }: VerbContext, order: SnapshotOrder): Promise<SnapshotDescription> {
  const [found] = await server.changeSnapshots(order)
  return found as SnapshotDescription
}

const PATHS = listOfTexts('Paths from the root of the view.')
const BESIDE = flag('Copies what is at each path beside it.')

export interface Paths extends Back {
  readonly paths?: readonly string[]
  readonly beside?: boolean
}

export interface Fork {
  readonly view: string
  readonly name: string
  readonly ttlMs?: number
  readonly ephemeral?: boolean
  readonly sameOwner?: boolean
}

export interface Back {
  readonly view: string
  readonly drop?: boolean
}

/** States of views: keep, return to, remove; and forks. */
export const SNAPSHOT_VERBS = [
  verb({
    name: 'snapshot take',
    summary: 'Keeps the present state of a view under a name.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly view: string; readonly name?: string }>(
      { view: VIEW_PATH, name: text('The name of the snapshot; by default the time.') },
      'name',
    ),
    result: SNAPSHOT,
    run: (context, order) => only(context, { verb: 'take', ...order }),
  }),
  verb({
    name: 'snapshot list',
    summary: 'The snapshots of a view.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: listOf(SNAPSHOT),
    run: async ({ server }, { view }) => await server.changeSnapshots({ verb: 'list', view }),
  }),
  verb({
    name: 'snapshot remove',
    summary: 'Removes a snapshot, and frees what only that had.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: SNAPSHOT_PATH }),
    result: SNAPSHOT,
    run: (context, { view }) => only(context, { verb: 'remove', view }),
  }),
  verb({
    name: 'view rollback',
    summary: 'Gives a view the content that it had at a snapshot.',
    changes: true,
    answer: 'result',
    order: objectOf<Back>({ view: SNAPSHOT_PATH, drop: DROP }, 'drop'),
    result: SNAPSHOT,
    run: (context, order) => only(context, { verb: 'rollback', ...order }),
  }),
  verb({
    name: 'view reset',
    summary: 'Takes all changes of a view back, or those at some paths.',
    changes: true,
    answer: 'result',
    order: objectOf<Paths>(
      { view: VIEW_PATH, paths: PATHS, beside: BESIDE, drop: DROP },
      ...(['paths', 'beside', 'drop'] as const),
    ),
    result: SNAPSHOT,
    run: (context, order) => only(context, { verb: 'reset', ...order }),
  }),
  verb({
    name: 'view restore',
    summary: 'Gives paths of a view the content that they had at a snapshot.',
    changes: true,
    answer: 'result',
    order: objectOf<Paths & { readonly paths: readonly string[] }>(
      { view: SNAPSHOT_PATH, paths: PATHS, beside: BESIDE, drop: DROP },
      ...(['beside', 'drop'] as const),
    ),
    result: SNAPSHOT,
    run: (context, order) => only(context, { verb: 'restore', ...order }),
  }),
  verb({
    name: 'view dedupe',
    summary: 'Drops files from the upper of a view that equal what is below them.',
    changes: true,
    answer: 'job',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: SNAPSHOT,
    run: (context, { view }) => only(context, { verb: 'dedupe', view }),
  }),
  verb({
    name: 'view merge',
    summary: 'Gives a view what was changed in a fork of it.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly view: string; readonly name: string }>({
      view: text('The fork: `TEMPLATE/NAME`.'),
      name: text('The view that gets its changes: `TEMPLATE/NAME`.'),
    }),
    result: SNAPSHOT,
    run: (context, order) => only(context, { verb: 'merge', ...order }),
  }),
  verb({
    name: 'view fork',
    summary: 'Makes a view with the present content of another one.',
    changes: true,
    answer: 'result',
    order: objectOf<Fork>(
      {
        view: VIEW_PATH,
        name: text('The name of the new view.'),
        ttlMs: count('How long it exists, in ms; by default until it is removed.'),
        ephemeral: flag('Whether it ends when nobody has used it for its idle time.'),
        sameOwner: flag('Whether it belongs to the owner of the view, whatever its name.'),
      },
      ...(['ttlMs', 'ephemeral', 'sameOwner'] as const),
    ),
    result: SNAPSHOT,
    run: (context, order) => only(context, { verb: 'fork', ...order }),
  }),
  verb({
    name: 'view squash',
    summary: 'Merges the frozen layers of a view that no snapshot or fork needs.',
    changes: true,
    answer: 'job',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: SNAPSHOT,
    run: (context, { view }) => only(context, { verb: 'squash', view }),
  }),
] as const
