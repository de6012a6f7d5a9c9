import { OptionError } from '../../../overlay-core/index.ts'
import type { ReloadReport } from '../../reload.ts'
import type { ServerStatus, ViewStatus } from '../../status.ts'
import type { RemountRequest } from '../../views.ts'
import { COUNTERS, count, flag, NO_ORDER, objectOf, type Schema, text } from '../api/schema.ts'
import { verb } from '../api/verb.ts'

const VIEW = objectOf<ViewStatus>(
  {
    name: text('The name of the view or template.'),
    readOnly: flag('Whether nothing can be changed in it.'),
    template: objectOf<NonNullable<ViewStatus['template']>>({
      kind: text('`per-user` or `per-machine`.'),
      views: count('How many views it has made.'),
      open: count('How many of them are open.'),
    }).schema,
  },
  'template',
)

const DOOR_ADDRESS: Schema = {
  type: 'object',
  description: 'Where it listens, and its counters.',
  additionalProperties: { description: 'The URL, host or port, or the counters.' },
}

const STATUS = objectOf<ServerStatus>({
  version: text('The version of overlayd.'),
  pid: count('The process.'),
  uptimeSeconds: count('Seconds since the start.'),
  memoryBytes: count('Resident memory in bytes.'),
  views: { type: 'array', items: VIEW.schema },
  doors: {
    type: 'object',
    description: 'The listeners by name: `webdav`, `nfs`.',
    additionalProperties: DOOR_ADDRESS,
  },
  http: COUNTERS,
  admin: COUNTERS,
  log: COUNTERS,
  faults: COUNTERS,
})

const LINES: Schema = { type: 'array', items: { type: 'string' } }

const REPORT = objectOf<ReloadReport>(
  {
    refused: text('Why nothing has changed, one error per line; absent: the file is valid.'),
    applied: LINES,
    restart: LINES,
    failed: LINES,
  },
  'refused',
)

/** What concerns the server as a whole. */
export const SERVER_VERBS = [
  verb({
    name: 'status',
    summary: 'The version, views, listeners and counters of the server.',
    changes: false,
    answer: 'result',
    order: NO_ORDER,
    result: STATUS,
    run: async ({ server }) => server.status(),
  }),
  verb({
    name: 'reload',
    summary: 'Reads the configuration file again, and applies what can be applied.',
    changes: true,
    answer: 'result',
    order: NO_ORDER,
    result: REPORT,
    run: async ({ server }) => {
      if (server.reload !== undefined) return await server.reload()
      throw new OptionError(
        'reload',
        'this server has no configuration file; start it with overlayd serve --config FILE',
      )
    },
  }),
  verb({
    name: 'remount',
    summary: 'Changes layers or options of a view that all clients share.',
    changes: true,
    answer: 'result',
    order: objectOf<RemountRequest>({
      view: text('The name of the view.'),
      options: text('The options to change, in the syntax of `-o`.'),
      cwd: text('The directory in which relative paths in the options begin.'),
    }),
    result: objectOf<Record<never, never>>({}),
    run: async ({ server }, order) => {
      await server.remount(order)
      return {}
    },
  }),
] as const
