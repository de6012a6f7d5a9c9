import { OptionError } from '../../overlay-core/index.ts'
import { OVERLAY_OPTIONS } from '../mount-words.ts'
import { CONFLICT_RULES } from './conflict-rules.ts'
import type { Key, Table } from './key.ts'
import { QUOTA_KEYS } from './quota-keys.ts'
import { IDENTITY, PATH } from './server-tables.ts'
import { SNAPSHOT_KEYS } from './snapshot-keys.ts'
import { choiceType, listType, SWITCH, textType, type ValueType, wholeType } from './value-types.ts'

/** The kinds of upper for a template. */
export const UPPERS = ['none', 'shared', 'per-user', 'per-machine', 'ephemeral'] as const

const TEXT = textType('"NAME"', 'a name', (text) => text)
const NAMES = listType(TEXT, 1)

/** The key of a mount option, with the same name, choices and default as in `-o`. */
function mountKey<Word extends string>(name: string, words: readonly Word[]): Key<Word> {
  const spec = OVERLAY_OPTIONS.find((option) => option.name === name)
  if (spec === undefined) throw new Error(`there is no mount option ${name}`)
  return {
    type: choiceType(words),
    option: `-o ${name}`,
    meaning: spec.meaning.replace('(#lowers-that-change)', '(cli.md#lowers-that-change)'),
    ...(spec.default !== undefined && { default: `"${spec.default}"` }),
    ...(spec.otherwise !== undefined && { otherwise: spec.otherwise }),
  }
}

/** `"never"`, `"always"`, or a number of seconds. */
const REVALIDATE: ValueType<string | number> = {
  shown: '"never"|"always"|SECONDS',
  wanted: '"never", "always" or a whole number of seconds from 1 to 86400',
  json: { anyOf: [{ enum: ['never', 'always'] }, { type: 'integer', minimum: 1, maximum: 86_400 }] },
  read(node, complain) {
    const value = node.kind === 'scalar' ? node.value : undefined
    const seconds = Number(value)
    if (value === 'never' || value === 'always') return value
    if (typeof value === 'number' && Number.isInteger(seconds) && seconds >= 1 && seconds <= 86_400) return seconds
    complain(node, `must be ${REVALIDATE.wanted}`)
    return undefined
  },
}

/** A number of seconds, minutes or hours as a text, in ms. */
export const TIME = textType('"TIME"', 'a time', (text) => {
  const [, count, unit = 's'] = /^(\d{1,6})(s|m|h)?$/.exec(text) ?? []
  const seconds = Number(count) * { s: 1, m: 60, h: 3600 }[unit as 's' | 'm' | 'h']
  if (count === undefined || seconds < 1 || seconds > 86_400)
    throw new OptionError(
      'idle',
      `${JSON.stringify(text)} is not a time from 1s to 24h; use for example "60s" or "10m"`,
    )
  return { ms: seconds * 1000, text }
})

export const LAYERS = {
  name: 'layers',
  named: true,
  meaning:
    'A layer is a directory tree that is only read. Stacks refer to it by its name. A directory that is named here is used in place: do not change it while views are in use ([what that costs](layers.md#directories-in-place)). Layers with versions need no table: stacks name them as `layer:NAME`.',
  own: {
    directory: {
      type: PATH,
      meaning:
        'The layer store: the directory of the layers with versions, which `overlayd layer add` fills. See [layers.md](layers.md).',
      otherwise: 'the directory `layers` in `server.state_dir`',
      example: '"/srv/layers"',
    },
  },
  keys: {
    path: {
      type: PATH,
      meaning: 'The directory. It must exist; it is used in place.',
      example: '"/srv/courses/2026"',
      required: true,
    },
  },
} as const satisfies Table

export const STACKS = {
  name: 'stacks',
  named: true,
  meaning: 'A stack is an ordered list of layers, with the options for reading them. Views are built on it.',
  keys: {
    layers: {
      type: NAMES,
      option: '-o lowerdir',
      meaning:
        'The names of its layers, topmost first. `layer:NAME` is a layer of the [layer store](layers.md): each view of a user or machine keeps the newest version of the time at which it was made; a view without an upper has the newest one of the last start or reload. `layer:NAME@VERSION` is that version for all views.',
      example: '["patches", "layer:release"]',
      required: true,
    },
    data_layers: {
      type: listType(TEXT),
      option: '-o datadir+',
      meaning:
        'The names of data-only layers, which are below all others and contain only the data of metadata-only files.',
      default: '[]',
    },
    lower_whiteouts: mountKey('lower_whiteouts', ['auto', 'files']),
    metacopy: mountKey('metacopy', ['on', 'off']),
    redirect_dir: mountKey('redirect_dir', ['on', 'follow', 'nofollow', 'off']),
    revalidate: { ...mountKey('revalidate', ['never']), type: REVALIDATE, example: '60' },
    userxattr: {
      type: SWITCH,
      option: '-o userxattr',
      meaning: "Whether the overlay's attributes are stored as `user.overlay.*` instead of `trusted.overlay.*`.",
      otherwise: '`true` unless root runs the server',
    },
    xino: mountKey('xino', ['on', 'auto', 'off']),
  },
} as const satisfies Table

export const VIEWS = {
  name: 'views',
  named: true,
  meaning:
    'A view is a stack and an upper; the table is the template for views. *NAME* is the path of the URL and of the NFS export: up to 64 letters, digits, `.`, `_` and `-`. Names that differ only in case are refused.',
  keys: {
    stack: { type: TEXT, meaning: 'The name of its stack.', example: '"course"', required: true },
    upper: {
      type: choiceType(UPPERS),
      meaning:
        'Where changes go. `"none"`: nowhere; the view is read-only. `"shared"`: to one upper for all clients. `"per-user"`: each user has a view with its own upper, as `/NAME/USER` over NFS and `/NAME/~USER/` over WebDAV. `"per-machine"`: so has each client machine, as `/NAME/ADDRESS` or `/NAME/self` over NFS and `/NAME/` over WebDAV. `"ephemeral"`: so has each user or machine, but the changes are gone when nobody has used the view for the time `idle`, and when the server stops. See [views.md](views.md).',
      default: '"none"',
    },
    per: {
      type: choiceType(['user', 'machine']),
      meaning:
        'Whether each user or each client machine has an ephemeral view; its paths are those of `"per-user"` or `"per-machine"`. Only with `"ephemeral"`.',
      default: '"user"',
    },
    directory: {
      type: PATH,
      meaning:
        'The directory for a shared upper: `DIRECTORY/upper` takes every change, and `DIRECTORY/work` is only for the server. Missing directories are created at startup; the upper gets the mode and owner of the root of the topmost layer. The directory must not be inside a layer.\n\nFor `"per-user"` and `"per-machine"` it contains a directory for each view, and the registry of the views (`views.log`). Only one server can use it. For `"ephemeral"` the server deletes everything in it that has the form of a view; without it, the views are in memory, below /dev/shm, and `quota` is required.',
      example: '"/srv/views/course"',
    },
    upperdir: {
      type: PATH,
      option: '-o upperdir',
      meaning: 'An existing upper, instead of `directory`. Requires `workdir`.',
    },
    workdir: {
      type: PATH,
      option: '-o workdir',
      meaning: 'A directory on the file system of `upperdir`, for the private use of the server.',
    },
    owner: {
      type: IDENTITY,
      meaning:
        'The owner of the root of an upper that is created in `directory`. An existing upper is not changed. Only root can set another user. With `"per-user"` and `"ephemeral"` it owns all views, and their users need no account on the server.',
      otherwise:
        'the owner of the root of the topmost layer; with `"per-user"` the user of each view; the user of the server unless root runs it',
      example: '"1000:1000"',
    },
    read_only: {
      type: SWITCH,
      option: '-o ro',
      meaning: 'Whether the view is read-only. The upper is then the topmost layer, and nothing is written to it.',
      default: 'false',
    },
    index: mountKey('index', ['on', 'off']),
    whiteouts: mountKey('whiteouts', ['auto', 'device', 'files']),
    fsync: mountKey('fsync', ['auto', 'strict', 'volatile']),
    uuid: mountKey('uuid', ['on', 'auto', 'null', 'off']),
    ...QUOTA_KEYS,
    ...SNAPSHOT_KEYS,
    create: {
      type: SWITCH,
      meaning:
        'Whether the first request of a user or machine makes its view: a mount over NFS, or a request over WebDAV. One address can make 100 views at once and 100 more each minute. Otherwise `overlayd view create` makes views. Only where each user or machine has a view.',
      otherwise: '`true` with `"ephemeral"`, else `false`',
    },
    owners: {
      type: listType(textType('"USER"|"@GROUP"', 'a user', (text) => text)),
      meaning:
        'The users who may use all views of the template, for example the teachers of a course. Login names, or `@GROUP` for the members of a group. Requires a [login](#login). Only with `"per-user"` and `"per-machine"`.',
      default: '[]',
      example: '["teacher", "@staff"]',
    },
    conflicts: {
      type: CONFLICT_RULES,
      meaning:
        'What `overlayd rebase` does where a user and a new version of a layer have changed the same path. See [publish.md](publish.md). Each rule is a strategy, and a path or name for which it holds: `mine` (what the user has stays), `theirs` (the new version is shown), `both` (what the user has stays, and the new version is put beside as `NAME.base-VERSION`), `fail` (the view is not put on the new version), `replace` (the new version is shown always, also where only the user has changed something). A path begins with `/` and counts for what is below, too; a name counts in all directories. `*` and `?` stand for anything but `/`, `**` for anything. Without a path a rule holds for all. The first rule that matches counts. Only with `"per-user"` and `"per-machine"`.',
      otherwise: 'what the user has stays',
      example: '["replace /var/lib/dpkg", "both *.ipynb"]',
    },
    idle: {
      type: TIME,
      meaning:
        'How long a view stays open when nobody uses it: a number of seconds (`"60s"`), minutes (`"10m"`) or hours. File handles, locks and uploads stay valid while it is closed; an ephemeral view is deleted instead. Only where each user or machine has a view.',
      otherwise: '`"1h"` with `"ephemeral"`, else `"60s"`',
      example: '"10m"',
    },
    max_views: {
      type: wholeType(1, 100_000),
      meaning: 'The maximum number of views. Only where each user or machine has a view.',
      default: '10000',
    },
    squash_above: {
      type: wholeType(0, 499),
      meaning:
        'The number of frozen layers of a view above which they are merged. This happens in the background, to those that no snapshot and no fork needs, see [snapshots.md](snapshots.md#squash). 0: only by `overlayd squash`.',
      default: '32',
    },
  },
} as const satisfies Table

export const EXPORTS = {
  name: 'exports',
  named: true,
  meaning:
    'An export says which clients reach a view, by which door (protocol), and as which user. *NAME* is used only in messages. A file without exports serves every view by both doors, as the command line does: over NFS to this machine, and over WebDAV to all clients that can reach the listener. If there is an export, only exported views are served.',
  keys: {
    view: { type: TEXT, meaning: 'The name of the view.', example: '"course"', required: true },
    door: {
      type: choiceType(['nfs', 'webdav']),
      meaning: 'The protocol. A view has at most one export for WebDAV.',
      required: true,
    },
    clients: {
      type: listType(
        textType('"CLIENT(OPTION,…)"', 'a client', (text) => text),
        1,
      ),
      option: '--export',
      meaning:
        'Who may mount over NFS, in the syntax of exports(5): see [EXPORTS](cli.md#exports). The most specific match wins; the clients of several exports of a view count together. Not allowed with `door = "webdav"`: `webdav.listen` defines who can reach WebDAV.',
      otherwise:
        '`["127.0.0.1(rw,root_squash,secure,sync)"]` when root runs the server, else `["127.0.0.1(rw,root_squash,insecure,sync)"]`',
      example: '["192.168.1.0/24(rw)", "*(ro,all_squash)"]',
    },
    as: {
      type: IDENTITY,
      meaning:
        'The user and group that all clients act as. Over WebDAV it overrides `webdav.as`; over NFS it is the same as `all_squash,anonuid=UID,anongid=GID` for all clients of the export without such options.',
      otherwise: 'over NFS the user that the client names',
      example: '"1000:1000"',
    },
  },
} as const satisfies Table
