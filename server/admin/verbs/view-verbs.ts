import type { ViewDescription, ViewOrder } from '../../registry/view-requests.ts'
import { count, flag, listOf, objectOf, oneOf, type Schema, text, time } from '../api/schema.ts'
import { type VerbContext, verb } from '../api/verb.ts'

/** The usage and limits of a view or user. */
export const QUOTA: Schema = objectOf<NonNullable<ViewDescription['quota']>>(
  {
    bytes: count('Bytes used.'),
    files: count('Objects used.'),
    bytesAboveSinceMs: count('Since when the soft limit of bytes is exceeded, in ms since the epoch.'),
    filesAboveSinceMs: count('The same for files.'),
    hardBytes: count('The limit of bytes.'),
    softBytes: count('The soft limit of bytes.'),
    hardFiles: count('The limit of objects.'),
    softFiles: count('The soft limit of objects.'),
    graceMs: count('How long a soft limit may be exceeded, in ms.'),
  },
  ...([
    'bytesAboveSinceMs',
    'filesAboveSinceMs',
    'hardBytes',
    'softBytes',
    'hardFiles',
    'softFiles',
    'graceMs',
  ] as const),
).schema

export const VIEW_STATE = oneOf('What it is at present.', 'in use', 'open', 'closed', 'failed')

const VIEW = objectOf<ViewDescription>(
  {
    path: text('`TEMPLATE/NAME`.'),
    template: text('The template that made it.'),
    name: text('The name of its user or machine.'),
    id: text('Its id, which is never used again.'),
    uid: count('The user that owns it.'),
    gid: count('The group that owns it.'),
    created: time('When it was made.'),
    state: VIEW_STATE,
    directory: text('Where its changes are.'),
    failure: text('Why it could not be opened when that was last tried.'),
    quota: QUOTA,
    project: count('Its project in the quotas of the file system.'),
    user: QUOTA,
    trashed: flag('Whether it was removed and can be restored.'),
  },
  ...(['failure', 'quota', 'project', 'user', 'trashed'] as const),
)

/** Names a view of a template. */
export const VIEW_PATH = text('The view: `TEMPLATE/NAME`.')

async function only({ server }: VerbContext, order: ViewOrder): Promise<ViewDescription> {
  const [found] = await server.changeViews(order)
  return found as ViewDescription
}

/** The views of templates: list, make, rename, remove. */
export const VIEW_VERBS = [
  verb({
    name: 'view list',
    summary: 'The views of one template, or of all.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly template?: string }>({ template: text('Only views of this template.') }, 'template'),
    result: listOf(VIEW),
    run: async ({ server }, { template }) =>
      await server.changeViews({ verb: 'list', ...(template !== undefined && { view: template }) }),
  }),
  verb({
    name: 'view show',
    summary: 'One view, with its usage and limits.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: VIEW,
    run: (context, { view }) => only(context, { verb: 'show', view }),
  }),
  verb({
    name: 'view create',
    summary: 'Makes a view.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: VIEW,
    run: (context, { view }) => only(context, { verb: 'create', view }),
  }),
  verb({
    name: 'view rename',
    summary: 'Gives a view another name. Its owner, file handles and locks stay.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly view: string; readonly to: string }>({ view: VIEW_PATH, to: text('The new name.') }),
    result: VIEW,
    run: (context, { view, to }) => only(context, { verb: 'rename', view, to }),
  }),
  verb({
    name: 'view remove',
    summary: 'Deletes a view with everything in it.',
    changes: true,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: VIEW_PATH }),
    result: VIEW,
    run: (context, { view }) => only(context, { verb: 'remove', view }),
  }),
] as const
