import { type MountOptions, OptionError, parseOptions } from '../overlay-core/index.ts'
import { formatAddress, isLoopback, parseAddress } from './address.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import type { Environment } from './environment.ts'
import { helpOn, helpText } from './help.ts'
import { parseNetwork, parsePublicUrl } from './proxy-options.ts'
import { defaultOf, REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS } from './schema.ts'
import {
  type Address,
  type Command,
  LOCK_POLICIES,
  LOG_LEVELS,
  type LockPolicy,
  type LogLevel,
  type Settings,
  SYMLINK_POLICIES,
  type SymlinkPolicy,
} from './settings.ts'

/**
 * Parses a command line (without node and script). Accesses no files, so nothing has changed when it throws.
 *
 * @throws OptionError naming the wrong option and its correction in one line
 */
export function parseCommandLine(argv: readonly string[], environment: Environment): Command {
  // Only as the first word, so that an overlay may be named status, remount or help.
  if (argv[0] === 'status') return parseStatus(argv.slice(1), environment)
  if (argv[0] === 'remount') return parseRemount(argv.slice(1), environment)
  if (/^(help|--help|-h)$/.test(argv[0] ?? '')) return parseHelp(argv.slice(1))
  const given = cutArguments(argv, SERVE_OPTIONS)
  if (given.values.has('--help')) return { kind: 'help', text: helpText() }
  if (given.values.has('--version')) return { kind: 'version' }
  return { kind: 'serve', settings: parseServe(given, environment) }
}

/** `overlayd help [TOPIC]`, and `--help TOPIC`. */
function parseHelp(topics: readonly string[]): Command {
  const [topic, more] = topics
  if (more !== undefined) throw new OptionError('help', `takes one topic; remove ${JSON.stringify(more)}`)
  return { kind: 'help', text: topic === undefined ? helpText() : helpOn(topic) }
}

function parseStatus(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, STATUS_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('status') }
  if (words.length > 0) throw new OptionError('status', `takes no arguments; remove ${JSON.stringify(words[0])}`)
  const url = values.get('--url')?.[0]
  if (url !== undefined && !/^https?:$/.test(URL.parse(url)?.protocol ?? '')) {
    throw new OptionError('--url', `${JSON.stringify(url)} is not a URL; use http://HOST:PORT`)
  }
  return { kind: 'status', settings: { url, json: values.has('--json'), stateDir: stateDir(values, environment) } }
}

function parseRemount(argv: readonly string[], environment: Environment): Command {
  const { values, words } = cutArguments(argv, REMOUNT_OPTIONS)
  if (values.has('--help')) return { kind: 'help', text: helpOn('remount') }
  const options = values.get('-o')
  if (options === undefined)
    throw new OptionError('-o', 'is missing; add the options to change, for example -o lowerdir=DIR:DIR')
  const pid = values.get('--pid')?.[0]
  if (pid !== undefined && !/^[1-9]\d{0,9}$/.test(pid))
    throw new OptionError('--pid', `${JSON.stringify(pid)} is not a process id; use a number from overlayd status`)
  const settings = {
    options: options.join(','),
    cwd: environment.cwd,
    view: words.length === 0 ? undefined : viewName(words),
    pid: pid === undefined ? undefined : Number(pid),
    stateDir: stateDir(values, environment),
  }
  return { kind: 'remount', settings }
}

function parseServe({ values, words }: Arguments, environment: Environment): Settings {
  const last = (option: string) => values.get(option)?.at(-1)
  const settings: Settings = {
    views: [
      {
        name: viewName(words),
        mount: mountOptions(values.get('-o'), values.has('--sample'), environment),
        exports: values.get('--export') ?? [defaultExport(environment.uid)],
        exportsGiven: values.has('--export'),
      },
    ],
    webdav: parseAddress('--webdav', last('--webdav') ?? defaultOf('--webdav'), values.has('--webdav')),
    nfs: parseAddress('--nfs', last('--nfs') ?? defaultOf('--nfs'), values.has('--nfs')),
    as: parseIdentity(last('--as'), environment.uid),
    locks: parseLocks(last('--locks') ?? defaultOf('--locks')),
    symlinks: parseSymlinks(last('--symlinks') ?? defaultOf('--symlinks')),
    depthInfinity: values.has('--depth-infinity'),
    insecureNoAuth: values.has('--insecure-no-auth'),
    publicUrls: (values.get('--public-url') ?? []).map((url) => parsePublicUrl(url, viewName(words))),
    trustedProxies: (values.get('--trusted-proxy') ?? []).map((text) => parseNetwork('--trusted-proxy', text)),
    rpcbind: values.has('--rpcbind'),
    portmap: values.has('--portmap'),
    lockGraceMs: parseGrace(last('--lock-grace') ?? defaultOf('--lock-grace')),
    manageGids: values.has('--manage-gids'),
    logLevel: parseLogLevel(last('--log-level') ?? defaultOf('--log-level')),
    stateDir: stateDir(values, environment),
    readyFile: absolute(last('--ready-file'), environment.cwd),
  }
  checkListeners(settings)
  return settings
}

/** Serves this machine only. Any local user can claim to be any other over NFS, so a server that could act on that believes only root. */
function defaultExport(uid: number | undefined): string {
  return `127.0.0.1(rw,root_squash,${uid === 0 ? 'secure' : 'insecure'},sync)`
}

function viewName(words: readonly string[]): string {
  if (words.length > 1) {
    throw new OptionError(
      'NAME',
      `an overlay has one name; keep one of ${words.map((word) => JSON.stringify(word)).join(', ')}`,
    )
  }
  const name = words[0] ?? 'overlay'
  // The name is one segment of a URL and of an export path and needs no escaping in either. The server itself uses `-`.
  if (!/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(name)) {
    throw new OptionError(
      'NAME',
      `${JSON.stringify(name)} is not a valid name; use up to 64 letters, digits, . _ and -, starting with a letter, a digit or _`,
    )
  }
  return name
}

/** The options of the overlay; undefined for the sample. */
function mountOptions(
  texts: readonly string[] | undefined,
  sample: boolean,
  environment: Environment,
): MountOptions | undefined {
  if (texts === undefined) {
    if (sample) return undefined
    throw new OptionError('-o', 'is missing; use -o lowerdir=DIR,upperdir=DIR,workdir=DIR, or --sample to try overlayd')
  }
  try {
    return parseOptions(texts.join(','), { cwd: environment.cwd, privileged: environment.uid === 0 })
  } catch (error) {
    if (error instanceof OptionError) throw inOverlayOptions(error)
    throw error
  }
}

/** The same error, with the option as on the command line: `-o lowerdir`. */
export function inOverlayOptions(error: OptionError): OptionError {
  return new OptionError(`-o ${error.option}`, error.message.slice(error.option.length + 2))
}

/** Parses `UID:GID`, or `root` or `0` for 0:0. Ids are below 2^32 - 1, which means "no user" (chown(2)). Only root can act for others. */
function parseIdentity(text: string | undefined, ownUid: number | undefined): Settings['as'] {
  if (text === undefined) return undefined
  const match = /^(\d{1,10}):(\d{1,10})$/.exec(text === 'root' || text === '0' ? '0:0' : text)
  const uid = Number(match?.[1])
  const gid = Number(match?.[2])
  if (match === null || uid >= 0xffff_ffff || gid >= 0xffff_ffff) {
    throw new OptionError(
      '--as',
      `${JSON.stringify(text)} is neither UID:GID nor root; use two numbers, for example 1000:1000`,
    )
  }
  if (ownUid !== 0 && uid !== ownUid) {
    throw new OptionError('--as', `only root can act as another user (${uid}); remove --as, or run the server as root`)
  }
  return { uid, gid }
}

/** Parses a number of seconds and returns milliseconds. */
function parseGrace(text: string): number {
  const seconds = /^\d{1,4}$/.test(text) ? Number(text) : Number.NaN
  if (!(seconds >= 1 && seconds <= 3600)) {
    throw new OptionError('--lock-grace', `${JSON.stringify(text)} is not a number of seconds; use 1 to 3600`)
  }
  return seconds * 1000
}

/** Returns the word of `words` that equals `text`. `complaint` completes the error message after the given text. */
function oneOf<Word extends string>(option: string, text: string, words: readonly Word[], complaint: string): Word {
  const found = words.find((word) => word === text)
  if (found === undefined) throw new OptionError(option, `${JSON.stringify(text)} is ${complaint}`)
  return found
}

function parseLogLevel(text: string): LogLevel {
  return oneOf('--log-level', text, LOG_LEVELS, `not a log level; use ${LOG_LEVELS.join(', ')}`)
}

function parseSymlinks(text: string): SymlinkPolicy {
  return oneOf('--symlinks', text, SYMLINK_POLICIES, `not a symlink policy; use ${SYMLINK_POLICIES.join(', ')}`)
}

function parseLocks(text: string): LockPolicy {
  return oneOf('--locks', text, LOCK_POLICIES, `not a lock policy; use ${LOCK_POLICIES.join(' or ')}`)
}

function stateDir(values: ReadonlyMap<string, readonly string[]>, environment: Environment): string {
  return absolute(values.get('--state-dir')?.[0], environment.cwd) ?? environment.defaultStateDir
}

function absolute(path: string | undefined, cwd: string): string | undefined {
  return path === undefined || path.startsWith('/') ? path : `${cwd === '/' ? '' : cwd}/${path}`
}

function checkListeners({ webdav, nfs, insecureNoAuth, rpcbind, portmap }: Settings): void {
  if (webdav === undefined && nfs === undefined) {
    throw new OptionError('--nfs', 'off together with --webdav off disables every listener; enable one')
  }
  if (webdav !== undefined && !isLoopback(webdav.host) && !insecureNoAuth) {
    throw new OptionError(
      '--webdav',
      `${webdav.host} can be reached from other machines, and there is no login; use 127.0.0.1, or add --insecure-no-auth`,
    )
  }
  if (webdav !== undefined && nfs !== undefined && isSame(webdav, nfs)) {
    throw new OptionError('--nfs', `${formatAddress(nfs.host, nfs.port)} is taken by --webdav; choose another port`)
  }
  if (rpcbind && nfs === undefined) throw new OptionError('--rpcbind', 'requires NFS; remove it, or remove --nfs off')
  if (portmap && nfs === undefined) throw new OptionError('--portmap', 'requires NFS; remove it, or remove --nfs off')
  if (portmap && rpcbind) throw new OptionError('--portmap', 'cannot be combined with --rpcbind; remove one of them')
}

function isSame(a: Address, b: Address): boolean {
  return a.port !== 0 && a.port === b.port && a.host === b.host
}
