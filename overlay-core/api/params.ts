import { splitLowers, splitOptions, unescaped } from './option-string.ts'

/** Mount options by the kernel's names. */
export interface MountOptions {
  /** Topmost first. Absolute paths. */
  readonly lowerdir: readonly string[]
  /** Data-only lowers (`::`), below all others. */
  readonly datadir: readonly string[]
  readonly upperdir: string | undefined
  readonly workdir: string | undefined
  readonly redirectDir: 'on' | 'follow' | 'nofollow' | 'off'
  readonly index: boolean
  readonly metacopy: boolean
  readonly xino: 'on' | 'auto' | 'off'
  readonly userxattr: boolean
  /** True with `volatile` or `fsync=volatile`: nothing is synced, and the upper must be deleted after a crash. */
  readonly volatile: boolean
  /** When a copy-up is made durable: `auto` data before publish, `strict` metadata-only copies too, `volatile` never. */
  readonly fsync: 'auto' | 'strict' | 'volatile'
  /** The format of whiteouts in the upper. `auto`: as recorded at the first mount, which chooses devices if the storage supports them. */
  readonly whiteouts: 'auto' | 'device' | 'files'
  /** Whether files `.wh.NAME` in lowers are whiteouts. `auto`: in lowers whose root has a record that says so; `files`: in all. */
  readonly lowerWhiteouts: 'auto' | 'files'
  /** Nothing may be written. At mount (`ro`), the upper is served as the topmost lower; at remount it stays the upper. */
  readonly readOnly: boolean
  /** How often lowers are checked for changes: never, at every call, or at most once in this many seconds. */
  readonly revalidate: 'never' | 'always' | number
  /** Whether the overlay keeps its own UUID in `overlay.uuid` of the upper root, as in the kernel. */
  readonly uuid: 'on' | 'auto' | 'null' | 'off'
  /**
   * How many of the topmost lowers were uppers of this overlay until they were frozen (`Overlay.freeze`). Their objects keep the identities that they had. It is no
   * option of the command line: whoever froze them knows. None by default.
   */
  readonly frozen?: number | undefined
}

/** The directory in which relative paths start, and whether `trusted.*` attributes can be written; by default those of the process. */
export interface OptionContext {
  readonly cwd: string
  readonly privileged: boolean
}

/** A wrong option: `option` is its name; the message says in one line what is wrong and how to correct it. */
export class OptionError extends Error {
  readonly option: string
  constructor(option: string, message: string) {
    super(`${option}: ${message}`)
    this.name = 'OptionError'
    this.option = option
  }

  /** The message without the option. */
  get reason(): string {
    return this.message.slice(this.option.length + 2)
  }

  /** The error for a word that is not in `known`; suggests a similar one if there is one. */
  static unknown(option: string, known: Iterable<string>, kind = 'option'): OptionError {
    const near = nearestWord(option, known)
    return new OptionError(option, near === undefined ? `unknown ${kind}` : `unknown ${kind}; did you mean ${near}?`)
  }
}

/** The word of `known` with the smallest edit distance to `word`; undefined if all are too different. */
export function nearestWord(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined
  let fewest = Math.max(1, Math.floor(word.length / 3)) + 1
  for (const candidate of known) {
    const edits = editDistance(word.toLowerCase(), candidate.toLowerCase())
    if (edits < fewest) [best, fewest] = [candidate, edits]
  }
  return best
}

/** Levenshtein distance, one row at a time. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, column) => column)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min(row[j]! + 1, next[j - 1]! + 1, row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1)))
    }
    row = next
  }
  return row[b.length]!
}

/** The maximum number of layers (OVL_MAX_STACK). */
const MAX_STACK = 500

/** Options with a fixed set of values. `nfs_export` and `verity=off` are accepted for compatibility and change nothing here. */
const CHOICES = {
  redirect_dir: ['on', 'follow', 'nofollow', 'off'],
  index: ['on', 'off'],
  metacopy: ['on', 'off'],
  xino: ['on', 'auto', 'off'],
  fsync: ['auto', 'strict', 'volatile'],
  uuid: ['on', 'auto', 'null', 'off'],
  whiteouts: ['auto', 'device', 'files'],
  lower_whiteouts: ['auto', 'files'],
  nfs_export: ['on', 'off'],
  verity: ['off'],
} as const
type ChoiceName = keyof typeof CHOICES

const DIRECTORIES = ['lowerdir', 'lowerdir+', 'datadir+', 'upperdir', 'workdir'] as const
const FLAGS = ['userxattr', 'volatile', 'ro', 'rw'] as const

/**
 * Words of mount(8) and fstab(5) that concern the mount point of a local mount, and of the kernel's overlay about the rights of local processes; a
 * server has neither, so they change nothing.
 */
const IGNORED = new Set(
  (
    'defaults noatime nodiratime relatime norelatime strictatime nostrictatime lazytime nolazytime suid nosuid dev nodev exec ' +
    'noexec async auto noauto nofail _netdev default_permissions override_creds nooverride_creds'
  ).split(' '),
)

/** The options with a meaning here; ignored fstab options are not included. */
export const OPTION_NAMES: readonly string[] = ['revalidate', ...DIRECTORIES, ...Object.keys(CHOICES), ...FLAGS]

const KNOWN: readonly string[] = [...OPTION_NAMES, ...IGNORED]

/** The options parsed so far. Later words replace earlier ones, as in mount(8). */
interface Draft {
  lowers: string[]
  data: string[]
  upperdir: string | undefined
  workdir: string | undefined
  choices: Map<ChoiceName, string>
  userxattr: boolean
  readOnly: boolean
  revalidate: MountOptions['revalidate']
}

/**
 * Parses the string of `-o` in mount(8) syntax: `lowerdir=a:b,upperdir=u,workdir=w,redirect_dir=on`. `\:` and `\,` escape.
 *
 * If an option is given twice, the last one counts; `lowerdir+=` and `datadir+=` add. Relative paths start at the current directory.
 * With `ro` the upper is served as the topmost lower. Directories are not accessed; `mount` does that.
 *
 * With `present`, the options of a mounted overlay, the string describes the changes of a remount: other options stay, `lowerdir=` replaces
 * all lowers, `lowerdir+=` adds to them, and `ro` forbids changes while the upper stays the upper.
 *
 * @throws OptionError unknown option, invalid value, or conflicting options
 * @see fs/overlayfs/params.c, ovl_parse_param and ovl_fs_params_verify
 */
export function parseOptions(
  text: string,
  context: OptionContext = processContext(),
  present?: MountOptions,
): MountOptions {
  const draft: Draft = present
    ? draftOf(present)
    : {
        lowers: [],
        data: [],
        upperdir: undefined,
        workdir: undefined,
        choices: new Map(),
        userxattr: !context.privileged,
        readOnly: false,
        revalidate: 'never',
      }
  for (const { name, value } of splitOptions(text)) {
    if (isOneOf(name, DIRECTORIES)) takeDirectory(draft, name, value, context.cwd)
    else if (isOneOf(name, Object.keys(CHOICES) as ChoiceName[])) draft.choices.set(name, choice(name, value))
    else if (isOneOf(name, FLAGS)) takeFlag(draft, name, value)
    else if (name === 'revalidate') draft.revalidate = revalidation(value)
    else if (!IGNORED.has(name) && !name.startsWith('x-')) throw OptionError.unknown(name, KNOWN)
  }
  return verify(draft, present?.upperdir !== undefined)
}

function draftOf(present: MountOptions): Draft {
  const { lowerdir, datadir, upperdir, workdir, redirectDir, index, metacopy, xino, fsync, uuid } = present
  const choices = new Map<ChoiceName, string>([
    ['redirect_dir', redirectDir],
    ['index', index ? 'on' : 'off'],
    ['xino', xino],
    ['fsync', fsync],
    ['uuid', uuid],
    ['whiteouts', present.whiteouts],
    ['lower_whiteouts', present.lowerWhiteouts],
  ])
  // Off may only be the default, which must not prevent data-only layers.
  if (metacopy) choices.set('metacopy', 'on')
  const { userxattr, readOnly, revalidate } = present
  return { lowers: [...lowerdir], data: [...datadir], upperdir, workdir, choices, userxattr, readOnly, revalidate }
}

function processContext(): OptionContext {
  return { cwd: process.cwd(), privileged: process.getuid?.() === 0 }
}

function isOneOf<T extends string>(word: string, words: readonly T[]): word is T {
  return (words as readonly string[]).includes(word)
}

function takeDirectory(draft: Draft, name: (typeof DIRECTORIES)[number], value: string | undefined, cwd: string): void {
  if (value === undefined || value === '') throw new OptionError(name, `needs a directory: ${name}=DIR`)
  if (name === 'upperdir' || name === 'workdir') {
    draft[name] = absolute(name, unescaped(value), cwd)
  } else if (name === 'lowerdir') {
    const lowers = splitLowers(value)
    if (typeof lowers === 'string') throw new OptionError(name, lowers)
    draft.lowers = lowers.filter((lower) => !lower.data).map((lower) => absolute(name, lower.path, cwd))
    draft.data = lowers.filter((lower) => lower.data).map((lower) => absolute(name, lower.path, cwd))
  } else if (name === 'datadir+') {
    draft.data.push(absolute(name, unescaped(value), cwd))
  } else {
    if (draft.data.length > 0) throw new OptionError(name, 'adds a regular layer after a data-only layer; put it first')
    draft.lowers.push(absolute(name, unescaped(value), cwd))
  }
}

/** An absolute path. `..` is left to the kernel, which knows where a symlink before it leads. */
function absolute(option: string, path: string, cwd: string): string {
  if (path.includes('\0')) throw new OptionError(option, 'the path contains a NUL byte; remove it')
  if (path.startsWith('/')) return path
  return path === '.' ? cwd : `${cwd === '/' ? '' : cwd}/${path.replace(/^(\.\/+)+/, '')}`
}

function choice(name: ChoiceName, value: string | undefined): string {
  const words: readonly string[] = CHOICES[name]
  if (value !== undefined && words.includes(value)) return value
  if (name === 'verity')
    throw new OptionError(name, 'fs-verity digests cannot be checked; remove the option, or use verity=off')
  const wrong = value === undefined ? 'needs a value' : `cannot be ${JSON.stringify(value)}`
  throw new OptionError(name, `${wrong}; use ${words.join(', ').replace(/, (\w+)$/, ' or $1')}`)
}

/** `never`, `always`, or whole seconds up to a day. */
function revalidation(value: string | undefined): MountOptions['revalidate'] {
  if (value === 'never' || value === 'always') return value
  const seconds = Number(value)
  if (value !== undefined && /^\d{1,5}$/.test(value) && seconds >= 1 && seconds <= 86_400) return seconds
  const wrong = value === undefined ? 'needs a value' : `cannot be ${JSON.stringify(value)}`
  throw new OptionError('revalidate', `${wrong}; use never, always or a number of seconds from 1 to 86400`)
}

function takeFlag(draft: Draft, name: (typeof FLAGS)[number], value: string | undefined): void {
  if (value !== undefined) throw new OptionError(name, `takes no value; use ${name} alone`)
  if (name === 'volatile') draft.choices.set('fsync', 'volatile')
  else if (name === 'userxattr') draft.userxattr = true
  else draft.readOnly = name === 'ro'
}

/** Applies defaults and cross-checks the options. */
function verify(draft: Draft, keepsUpper: boolean): MountOptions {
  checkDirectories(draft)
  const { choices } = draft
  const below = draft.readOnly && !keepsUpper
  const upperdir = below ? undefined : draft.upperdir
  const lowerdir = below && draft.upperdir !== undefined ? [draft.upperdir, ...draft.lowers] : draft.lowers
  if (lowerdir.length + draft.data.length > MAX_STACK) {
    throw new OptionError('lowerdir', `has more than ${MAX_STACK} layers; merge some of them`)
  }
  // Data-only layers contain only the data of metadata-only files, so they enable these options.
  const metacopy = (choices.get('metacopy') ?? (draft.data.length > 0 ? 'on' : 'off')) === 'on'
  const redirectDir = (choices.get('redirect_dir') ?? 'on') as MountOptions['redirectDir']
  const fsync = (choices.get('fsync') ?? 'auto') as MountOptions['fsync']
  const options: MountOptions = {
    lowerdir,
    datadir: draft.data,
    upperdir,
    workdir: upperdir === undefined ? undefined : draft.workdir,
    redirectDir,
    index: (choices.get('index') ?? 'on') === 'on',
    metacopy,
    xino: (choices.get('xino') ?? 'on') as MountOptions['xino'],
    userxattr: draft.userxattr,
    volatile: fsync === 'volatile',
    fsync,
    readOnly: draft.readOnly,
    revalidate: draft.revalidate,
    uuid: (choices.get('uuid') ?? 'auto') as MountOptions['uuid'],
    whiteouts: (choices.get('whiteouts') ?? 'auto') as MountOptions['whiteouts'],
    lowerWhiteouts: (choices.get('lower_whiteouts') ?? 'auto') as MountOptions['lowerWhiteouts'],
  }
  checkFeatures(options, choices)
  return options
}

function checkDirectories(draft: Draft): void {
  if (draft.lowers.length === 0 && draft.data.length > 0) {
    throw new OptionError('lowerdir', 'data-only layers need at least one regular layer above them; add lowerdir=DIR')
  }
  if (draft.lowers.length === 0) throw new OptionError('lowerdir', 'is missing; add lowerdir=DIR, the tree to serve')
  if (draft.upperdir !== undefined && draft.workdir === undefined) {
    throw new OptionError('workdir', 'is missing; add workdir=DIR, an empty directory on the file system of upperdir')
  }
  if (draft.workdir !== undefined && draft.upperdir === undefined) {
    throw new OptionError('workdir', 'needs an upper; add upperdir=DIR, or remove workdir')
  }
}

/** Conflicts that the kernel refuses (ovl_fs_params_verify), as far as they matter here; `said` contains the given options. */
function checkFeatures(options: MountOptions, said: ReadonlyMap<ChoiceName, string>): void {
  const { redirectDir, upperdir } = options
  if (options.datadir.length > 0 && !options.metacopy) {
    throw new OptionError('metacopy', 'data-only layers need it; remove metacopy=off')
  }
  const writes = said.get('metacopy') === 'on' && upperdir !== undefined
  if (options.metacopy && (redirectDir === 'nofollow' || (writes && redirectDir !== 'on'))) {
    throw new OptionError('metacopy', `cannot be combined with redirect_dir=${redirectDir}; use redirect_dir=on`)
  }
  if (options.userxattr && said.get('metacopy') === 'on') {
    throw new OptionError(
      'metacopy',
      'cannot be combined with userxattr, because any owner of a file could then expose any other file; remove it',
    )
  }
  if (said.get('nfs_export') === 'on' && (upperdir !== undefined || redirectDir === 'nofollow')) {
    if (!options.index) throw new OptionError('nfs_export', 'cannot be combined with index=off; remove one of them')
    if (options.metacopy) throw new OptionError('nfs_export', 'cannot be combined with metacopy=on; remove one of them')
  }
}
