import type { KeptReport } from '../../rebase/conflict-file.ts'
import type { RebaseOrder } from '../../rebase/rebase-requests.ts'
import type { RebaseReport } from '../../rebase/report.ts'
import { flag, listOf, objectOf, type SchemaOf } from '../api/schema.ts'
import { verb } from '../api/verb.ts'
import { VIEW_PATH } from './view-verbs.ts'

const REPORT: SchemaOf<RebaseReport> = {
  schema: { description: 'What comes of the changes in a view: `view`, `state`, `from`, `to`, `counts`, `conflicts`.' },
}
const KEPT: SchemaOf<KeptReport> = {
  schema: {
    description: 'What came of the changes in a view at its last rebase: `view`, `at`, `counts`, `conflicts`.',
  },
}

/** Views on new versions of their layers. */
export const REBASE_VERBS = [
  verb({
    name: 'rebase',
    summary: 'Puts views on the newest versions of their layers, or tells what would come of that.',
    changes: true,
    answer: 'job',
    order: objectOf<RebaseOrder>(
      {
        views: { type: 'array', items: { type: 'string' }, description: '`TEMPLATE/NAME`, or `TEMPLATE` for all.' },
        dryRun: flag('Changes nothing.'),
        atNextOpen: flag('Puts each view there when it is opened next.'),
      },
      ...(['dryRun', 'atNextOpen'] as const),
    ),
    result: listOf(REPORT),
    run: ({ server, signal, progress }, order) => server.rebases.rebase(order, { signal, progress }),
  }),
  verb({
    name: 'rebase conflicts',
    summary: 'The conflicts of the last rebase of a view.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: KEPT,
    run: ({ server }, { view }) => server.rebases.conflicts(view),
  }),
] as const
