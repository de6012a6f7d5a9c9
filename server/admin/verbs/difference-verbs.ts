import type { DifferenceLine, DiffOrder, LastLine } from '../../diff/view-differences.ts'
import { count, flag, objectOf, type Schema, type SchemaOf, text, time } from '../api/schema.ts'
import { verb } from '../api/verb.ts'
import { VIEW_PATH } from './view-verbs.ts'

const SIDE: Schema = objectOf<NonNullable<DifferenceLine['before']>>(
  {
    mode: count('The mode bits.'),
    uid: count('The user.'),
    gid: count('The group.'),
    size: count('Bytes.'),
    mtime: time('When the content was changed.'),
    content: text('The content of a small file or the target of a symlink, in base64.'),
  },
  'content',
).schema

const DIFFERENCE = objectOf<DifferenceLine>(
  {
    kind: text('`added`, `removed`, `changed`, `renamed` or `same`.'),
    path: text('The path, without a slash at either end.'),
    pathBytes: text('The exact bytes of the path in base64, if they are not UTF-8.'),
    from: text('The earlier path.'),
    aspects: { type: 'array', items: { type: 'string' }, description: 'What differs.' },
    type: text('`regular`, `directory`, `symlink` and so on.'),
    before: SIDE,
    after: SIDE,
  },
  ...(['pathBytes', 'from', 'before', 'after'] as const),
)

const LAST: Schema = {
  anyOf: [
    objectOf<{ readonly done: number }>({ done: count('How many differences there were.') }).schema,
    objectOf<{ readonly error: string }>({ error: text('Why the rest is missing.') }).schema,
  ],
}

const LINE: SchemaOf<DifferenceLine | LastLine> = { schema: { anyOf: [DIFFERENCE.schema, LAST] } }

/** What was changed in views. */
export const DIFFERENCE_VERBS = [
  verb({
    name: 'view diff',
    summary:
      'What was changed in a view. The last line says how many differences there were, or why the rest is missing.',
    changes: false,
    answer: 'lines',
    order: objectOf<DiffOrder>(
      {
        view: VIEW_PATH,
        against: text('Another view or snapshot; by default the layers of the template.'),
        paths: { type: 'array', items: { type: 'string' }, description: 'Only what is there or below.' },
        contents: flag('Whether the content of small files is wanted.'),
        same: flag('Whether objects that equal those below are wanted too.'),
      },
      ...(['against', 'paths', 'contents', 'same'] as const),
    ),
    result: LINE,
    run: async ({ server }, order) => {
      const { viewDifferences } = await import('../../diff/view-differences.ts')
      return await viewDifferences(server, order)
    },
  }),
] as const
