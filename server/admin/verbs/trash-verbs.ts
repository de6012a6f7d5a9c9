import type { TrashDescription } from '../../registry/trash.ts'
import { listOf, objectOf, oneOf, text, time } from '../api/schema.ts'
import { verb } from '../api/verb.ts'

const ENTRY = objectOf<TrashDescription>({
  id: text('16 hexadecimal digits.'),
  kind: oneOf('What it is.', 'view', 'snapshot'),
  path: text('`TEMPLATE/NAME` or `TEMPLATE/NAME@SNAPSHOT`.'),
  removed: time('When it was removed.'),
  ends: time('When it is deleted for good.'),
})

const TEMPLATE = text('Only what this template has.')
const ID = text('The id or the path of one entry.')

/** What was removed and can be restored. */
export const TRASH_VERBS = [
  verb({
    name: 'trash list',
    summary: 'The removed views and snapshots that can be restored.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly template?: string; readonly id?: string }>(
      { template: TEMPLATE, id: ID },
      'template',
      'id',
    ),
    result: listOf(ENTRY),
    run: async ({ server }, order) => await server.changeTrash({ verb: 'list', ...order }),
  }),
  verb({
    name: 'trash restore',
    summary: 'Brings a removed view or snapshot back.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly id: string; readonly name?: string }>(
      { id: ID, name: text('The name that it gets.') },
      'name',
    ),
    result: ENTRY,
    run: async ({ server }, order) => (await server.changeTrash({ verb: 'restore', ...order }))[0] as TrashDescription,
  }),
  verb({
    name: 'trash empty',
    summary: 'Deletes for good what is in the trash, or one entry of it.',
    changes: true,
    answer: 'job',
    order: objectOf<{ readonly template?: string; readonly id?: string }>(
      { template: TEMPLATE, id: ID },
      'template',
      'id',
    ),
    result: listOf(ENTRY),
    run: async ({ server }, order) => await server.changeTrash({ verb: 'empty', ...order }),
  }),
] as const
