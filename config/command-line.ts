import { type MountOptions, OptionError, parseOptions } from '../overlay-core/index.ts'
import { parseAddress } from './address.ts'
import { type Arguments, cutArguments } from './arguments.ts'
import { parseConfigCommand } from './config-commands.ts'
import { absolute, type Environment } from './environment.ts'
import { helpOn, helpText } from './help.ts'
import {
  listenerErrors,
  nameError,
  parseGrace,
  parseIdentity,
  parseLocks,
  parseLogLevel,
  parseSymlinks,
} from './option-values.ts'
import { parseNetwork, parsePublicUrl } from './proxy-options.ts'
import { defaultOf, REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS } from './schema.ts'
import { pidIn } from './server-choice.ts'
import type { Address, Command, Settings } from './settings.ts'
import { parseTls, parseTlsClients, type TlsParts, tlsErrors } from './tls-options.ts'

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
  const fromFile = parseConfigCommand(argv, environment)
  if (fromFile !== undefined) return fromFile
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
  const settings = {
    options: options.join(','),
    cwd: environment.cwd,
    view: words.length === 0 ? undefined : viewName(words),
    pid: pidIn(values),
    stateDir: stateDir(values, environment),
  }
  return { kind: 'remount', settings }
}

function parseServe({ values, words }: Arguments, environment: Environment): Settings {
  const settings: Settings = {
    views: [
      {
        name: viewName(words),
        mount: mountOptions(values.get('-o'), values.has('--sample'), environment),
        exports: values.get('--export') ?? [defaultExport(environment.uid)],
        exportsGiven: values.has('--export'),
      },
    ],
    ...serverSettings(values, environment, viewName(words)),
  }
  const [wrong] = [...tlsErrors(tlsParts(values, environment)), ...listenerErrors(settings)]
  if (wrong !== undefined) throw wrong
  return settings
}

/**
 * The settings that concern no single view, as the options in `values` and the defaults make them. `view`: the view whose path a public URL may
 * have.
 *
 * @throws OptionError
 */
export function serverSettings(
  values: Arguments['values'],
  environment: Environment,
  view?: string,
): Omit<Settings, 'views'> {
  const last = (option: string) => values.get(option)?.at(-1)
  return {
    webdav: listenerOf('webdav', last('--webdav'), environment),
    nfs: listenerOf('nfs', last('--nfs'), environment),
    as: parseIdentity(last('--as'), environment.uid),
    locks: parseLocks(last('--locks') ?? defaultOf('--locks')),
    symlinks: parseSymlinks(last('--symlinks') ?? defaultOf('--symlinks')),
    depthInfinity: values.has('--depth-infinity'),
    insecureNoAuth: values.has('--insecure-no-auth'),
    publicUrls: (values.get('--public-url') ?? []).map((url) => parsePublicUrl(url, view)),
    trustedProxies: (values.get('--trusted-proxy') ?? []).map((text) => parseNetwork('--trusted-proxy', text)),
    tls: tlsOf(tlsParts(values, environment)),
    rpcbind: values.has('--rpcbind'),
    portmap: values.has('--portmap'),
    lockGraceMs: parseGrace(last('--lock-grace') ?? defaultOf('--lock-grace')),
    manageGids: values.has('--manage-gids'),
    logLevel: parseLogLevel(last('--log-level') ?? defaultOf('--log-level')),
    stateDir: stateDir(values, environment),
    readyFile: pathIn(values, '--ready-file', environment),
  }
}

/** Where a listener listens, with the socket that a service manager has opened for it. @throws OptionError */
function listenerOf(name: 'webdav' | 'nfs', text: string | undefined, { manager }: Environment): Address | undefined {
  const option = `--${name}` as const
  const address = parseAddress(option, text ?? defaultOf(option), text !== undefined)
  const socket = manager?.sockets.get(name)
  if (socket === undefined) return address
  if (address !== undefined) return { ...address, socket }
  throw new OptionError(option, `is off, but the service manager has a socket for it; disable overlayd-${name}.socket`)
}

/** What the options in `values` say about TLS, each by itself. @throws OptionError */
export function tlsParts(values: Arguments['values'], environment: Environment): TlsParts {
  const own = values.get('--tls')?.at(-1)
  const clients = values.get('--tls-clients')?.at(-1)
  return {
    own: own === undefined ? undefined : parseTls(own, (name) => absolute(name, environment)),
    clientCa: pathIn(values, '--tls-client-ca', environment),
    clients: clients === undefined ? undefined : parseTlsClients(clients),
    revoked: pathIn(values, '--tls-revoked', environment),
  }
}

/** The settings that the parts make together. */
export function tlsOf({ own, clientCa, clients, revoked }: TlsParts): Settings['tls'] {
  return own === undefined ? undefined : { own, clientCa, clients: clients ?? 'request', revoked }
}

/** Serves this machine only. Any local user can claim to be any other over NFS, so a server that could act on that believes only root. */
export function defaultExport(uid: number | undefined): string {
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
  const wrong = nameError(name)
  if (wrong !== undefined) throw new OptionError('NAME', wrong)
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
  return new OptionError(`-o ${error.option}`, error.reason)
}

function stateDir(values: ReadonlyMap<string, readonly string[]>, environment: Environment): string {
  return pathIn(values, '--state-dir', environment) ?? environment.defaultStateDir
}

/** The path that an option gives, if it is given. */
function pathIn(values: Arguments['values'], option: string, environment: Environment): string | undefined {
  const path = values.get(option)?.at(-1)
  return path === undefined ? undefined : absolute(path, environment)
}
