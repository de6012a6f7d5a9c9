import { type Course, RESOLUTIONS, type Resolution } from '../../history.ts'
import { count, flag, listOf, objectOf, oneOf, type Schema, text, time } from '../api/schema.ts'
import { verb } from '../api/verb.ts'
import { type QuotaOrder, type QuotaReport, quotaOf, type SetQuotaOrder, setQuota } from '../usage/quota.ts'
import { type StackLayer, type StackPicture, stackOf } from '../usage/stack.ts'
import { type UsageOrder, type UsageReport, usageOf, type ViewUsage } from '../usage/usage.ts'
import type { PathUsage } from '../usage/walk.ts'
import { VIEW_PATH } from './view-verbs.ts'

const QUOTA_REPORT = objectOf<QuotaReport>(
  {
    view: text('The view.'),
    user: text('The user.'),
    bytes: count('Bytes used.'),
    files: count('Objects used.'),
    hardBytes: count('The limit of bytes.'),
    softBytes: count('The soft limit of bytes.'),
    hardFiles: count('The limit of objects.'),
    softFiles: count('The soft limit of objects.'),
    bytesAboveSince: time('Since when the soft limit of bytes is exceeded.'),
    filesAboveSince: time('Since when the soft limit of objects is exceeded.'),
    own: flag('Whether the view has limits of its own instead of those of its template.'),
  },
  ...(['view', 'user', 'hardBytes', 'softBytes', 'hardFiles', 'softFiles'] as const),
  ...(['bytesAboveSince', 'filesAboveSince'] as const),
)

const VIEW_USAGE = objectOf<ViewUsage>(
  {
    view: text('The view.'),
    bytes: count('Bytes used.'),
    files: count('Objects used.'),
    hardBytes: count('The limit of bytes.'),
    grown: { type: 'integer', description: 'Bytes more than at `since`.' },
    since: time('When it was looked at first, at most a day ago.'),
  },
  ...(['hardBytes', 'grown', 'since'] as const),
)

const PATH_USAGE = objectOf<PathUsage>({
  path: text('From the root of the view.'),
  kind: oneOf('What it is.', 'directory', 'file'),
  bytes: count('The sizes of the files.'),
  files: count('Objects.'),
})

const NUMBERS = (description: string): Schema => ({ type: 'array', items: { type: 'number' }, description })

const LAYER = objectOf<StackLayer>(
  {
    kind: oneOf('What it is.', 'upper', 'frozen', 'lower', 'data'),
    path: text('Its directory.'),
    snapshots: { type: 'array', items: { type: 'string' }, description: 'The snapshots that begin here.' },
  },
  'snapshots',
)

/** Space: quotas, the largest views and paths, and how it went. */
export const USAGE_VERBS = [
  verb({
    name: 'quota show',
    summary: 'What a view or a user uses, and the limits.',
    changes: false,
    answer: 'result',
    order: objectOf<QuotaOrder>(
      { view: VIEW_PATH, user: text('A user, over all views.') },
      ...(['view', 'user'] as const),
    ),
    result: QUOTA_REPORT,
    run: ({ server }, order) => quotaOf(server, order),
  }),
  verb({
    name: 'quota set',
    summary: 'Gives a view limits of its own, at once and durably.',
    changes: true,
    answer: 'result',
    order: objectOf<SetQuotaOrder>(
      {
        view: VIEW_PATH,
        bytes: count('The limit of bytes; 0: none.'),
        softBytes: count('The soft limit of bytes; 0: none.'),
        files: count('The limit of objects; 0: none.'),
        softFiles: count('The soft limit of objects; 0: none.'),
        graceSeconds: count('How long a soft limit may be exceeded.'),
        inherit: flag('Gives it the limits of the template again.'),
      },
      ...(['bytes', 'softBytes', 'files', 'softFiles', 'graceSeconds', 'inherit'] as const),
    ),
    result: QUOTA_REPORT,
    run: ({ server }, order) => setQuota(server, order),
  }),
  verb({
    name: 'usage',
    summary: 'The largest views, or the largest paths of one view.',
    changes: false,
    answer: 'job',
    order: objectOf<UsageOrder>(
      {
        template: text('Only views of this template.'),
        view: text('The largest paths of this view instead: of what was changed in it.'),
        limit: { type: 'integer', minimum: 1, maximum: 10_000, description: 'At most so many; 20 by default.' },
        count: flag('Walks the views whose usage is not known, because they have no quota.'),
      },
      ...(['template', 'view', 'limit', 'count'] as const),
    ),
    result: objectOf<UsageReport>(
      {
        views: listOf(VIEW_USAGE).schema,
        paths: listOf(PATH_USAGE).schema,
        bytes: count('Bytes of all together.'),
        files: count('Objects of all together.'),
        unknown: count('Views whose usage is not known.'),
      },
      ...(['views', 'paths'] as const),
    ),
    run: ({ server, signal, progress }, order) => usageOf(server, order, { signal, progress }),
  }),
  verb({
    name: 'view stack',
    summary: 'The layers of a view or snapshot, topmost first.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly view: string }>({ view: text('A view, or a snapshot `TEMPLATE/NAME@SNAPSHOT`.') }),
    result: objectOf<StackPicture>({
      view: text('The view.'),
      readOnly: flag('Whether nothing can be changed in it.'),
      layers: listOf(LAYER).schema,
    }),
    run: ({ server }, { view }) => stackOf(server, view),
  }),
  verb({
    name: 'history',
    summary: 'Throughput, connections, memory and open views over the last hour or the last two days.',
    changes: false,
    answer: 'result',
    order: objectOf<{ readonly resolution?: Resolution }>(
      { resolution: oneOf('An hour in steps of 10 seconds, or two days in steps of 5 minutes.', ...RESOLUTIONS) },
      'resolution',
    ),
    result: objectOf<Course>({
      stepSeconds: count('The length of a step.'),
      atMs: NUMBERS('The end of each step, in ms since the epoch.'),
      nfsCalls: NUMBERS('NFS calls per second.'),
      webdavRequests: NUMBERS('WebDAV requests per second.'),
      bytesIn: NUMBERS('Bytes per second from clients.'),
      bytesOut: NUMBERS('Bytes per second to clients.'),
      busy: NUMBERS('The part of the time in which the event loop was busy, from 0 to 1.'),
      memoryBytes: NUMBERS('Resident memory.'),
      connections: NUMBERS('Open connections.'),
      openViews: NUMBERS('Open views of templates.'),
    }),
    run: async ({ server }, { resolution = 'fine' }): Promise<Course> => server.history.course(resolution),
  }),
] as const
