import { LOCK_POLICIES, LOG_LEVELS, SYMLINK_POLICIES } from './settings.ts'
import { TLS_CLIENT_POLICIES } from './tls-options.ts'

/**
 * A word that a user may give, as the parser and the manual see it. Texts are Markdown: `code`, *placeholder*, [link](#section).
 */
export interface WordSpec {
  readonly name: string
  /** The value in manual notation: capitals are placeholders, `|` separates choices. Absent for a switch. */
  readonly value?: string
  /** What it does. The first sentence is the summary that `--help` shows; an empty line starts a new paragraph. */
  readonly meaning: string
  /** The unit of a number. */
  readonly unit?: string
  /** The default value. */
  readonly default?: string
  /** The default in words, if it depends on something. */
  readonly otherwise?: string
  /** Complete command lines or parts of one. */
  readonly examples?: readonly string[]
}

/** One option of the command line. */
export interface OptionSpec extends WordSpec {
  readonly short?: string
  /** Every occurrence counts. Without this, the last one wins. */
  readonly repeats?: true
}

/** An option of the server; `group` is the heading that `--help` shows it under. */
export interface ServeOptionSpec extends OptionSpec {
  readonly group: (typeof OPTION_GROUPS)[number]
}

/** The headings of `--help`, in order. */
export const OPTION_GROUPS = ['Overlay', 'WebDAV', 'NFS', 'TLS', 'Server'] as const

/** The options of the server, in the order of the manual. */
export const SERVE_OPTIONS = [
  {
    group: 'Overlay',
    name: '-o',
    value: 'OPTION[,OPTION…]',
    repeats: true,
    meaning:
      'The overlay to serve, in the syntax of mount(8). See [OVERLAY OPTIONS](#overlay-options). Several `-o` are joined with commas. Without `upperdir` the overlay is read-only.',
    examples: ['-o lowerdir=/srv/tree,upperdir=/srv/upper,workdir=/srv/work', '-o lowerdir=/srv/patches:/srv/release'],
  },
  {
    group: 'Overlay',
    name: '--sample',
    meaning:
      "Serves the sample tree that comes with overlayd. The upper and work directories are created below the state directory and kept between runs. If a default port is busy, the sample takes a free one. Unless root runs the server, every NFS client on this machine acts as the server's user. Ignored with `-o`.",
  },
  {
    group: 'WebDAV',
    name: '--webdav',
    value: 'HOST:PORT|off',
    meaning:
      'Where WebDAV listens. Port 0 picks a free port; an IPv6 address needs brackets. An address that other machines can reach also needs a login, which only a configuration file can have, or `--tls-clients require`, or `--insecure-no-auth`. On loopback the server answers only requests for `localhost` or an IP address, which stops web pages that make their own name resolve to this machine (DNS rebinding).',
    default: '127.0.0.1:8080',
    examples: ['--webdav [::1]:8080', '--webdav off'],
  },
  {
    group: 'WebDAV',
    name: '--as',
    value: 'UID:GID|root',
    meaning:
      'The user and group that WebDAV requests act as. Both are numbers; `root` and `0` mean `0:0`. They decide what requests may do and who owns new files. Only a server run by root can act as another user. Without a login, with `--as root` everyone who can reach WebDAV can read and change every file. A write always removes setuid, setgid and capabilities from a file, whichever user makes it.',
    otherwise: "nobody if root runs the server, else the server's own user and groups",
    examples: ['--as 1000:1000'],
  },
  {
    group: 'WebDAV',
    name: '--locks',
    value: LOCK_POLICIES.join('|'),
    meaning:
      'Who must respect WebDAV locks. `advisory`: other WebDAV clients. `mandatory`: NFS clients too. Writing, truncating, changing attributes, renaming, removing, and opening for writing then fail with *Permission denied* (NFS3ERR_ACCES); a file that an NFS client already has open fails at its next write. Reading is always allowed.',
    default: 'advisory',
  },
  {
    group: 'WebDAV',
    name: '--symlinks',
    value: SYMLINK_POLICIES.join('|'),
    meaning:
      'What WebDAV clients see of symbolic links. `follow`: the target, if it lies inside the tree; an absolute target starts at the root of the tree. `hide`: nothing, but the name is still taken. `refuse`: a name that answers 403 and can only be renamed or deleted. Archives and copies contain symbolic links only with `follow`.',
    default: 'follow',
  },
  {
    group: 'WebDAV',
    name: '--depth-infinity',
    meaning:
      'Allows PROPFIND on a whole tree (`Depth: infinity`). By default such a request gets 403 and the precondition `propfind-finite-depth` (RFC 4918), because a single request reads everything.',
  },
  {
    group: 'WebDAV',
    name: '--insecure-no-auth',
    meaning:
      'Allows WebDAV to listen beyond loopback without a login. Everyone who can reach the port may do whatever `--as` may. Requests for any host name are then answered. With `--tls` they are encrypted.',
  },
  {
    group: 'WebDAV',
    name: '--public-url',
    value: 'URL',
    repeats: true,
    meaning:
      'A URL at which clients reach WebDAV through a proxy. The server accepts it in `Host` and in URLs in `Destination`, `If` or any other field, so the proxy need not rewrite them. The printed mount commands use it. The proxy must pass paths on unchanged, so the only path that the URL may have is that of the overlay. See [Behind a proxy](../deploy/README.md#behind-a-proxy).',
    examples: ['--public-url https://files.example.org'],
  },
  {
    group: 'WebDAV',
    name: '--trusted-proxy',
    value: 'ADDRESS[/BITS]',
    repeats: true,
    meaning:
      'A proxy whose `Forwarded`, `X-Forwarded-Host` and `X-Forwarded-Port` fields are trusted. They tell the name that a client used. The value is the address of a proxy or a network of proxies. In a chain of proxies only the entries added by trusted ones count; all others are ignored. A name in `Host` itself still needs `--public-url`.',
    examples: ['--trusted-proxy 10.0.0.0/8'],
  },
  {
    group: 'NFS',
    name: '--nfs',
    value: 'HOST:PORT|off',
    meaning:
      'Where NFS listens. One TCP port serves NFS version 3, MOUNT version 3, NLM version 4 and NSM; with `--portmap` or `--rpcbind` the last three use UDP as well. Port 0 picks a free port. Without those two options a client must mount with `port=2049,mountport=2049,nolock`.',
    default: '127.0.0.1:2049',
    examples: ['--nfs 0.0.0.0:2049', '--nfs off'],
  },
  {
    group: 'NFS',
    name: '--export',
    value: 'CLIENT(OPTION[,OPTION…])',
    repeats: true,
    meaning:
      'Who may mount over NFS, in the syntax of exports(5). See [EXPORTS](#exports). The most specific match wins. An NFS client states which user it acts for. A server run by root believes this by default only from root on this machine (`secure`), because any other user could claim to be anybody. Mounting needs root anyway; programs with their own NFS client (libnfs, fuse-nfs) need an entry with `insecure`.',
    otherwise:
      '`127.0.0.1(rw,root_squash,secure,sync)` when root runs the server, else `127.0.0.1(rw,root_squash,insecure,sync)`',
    examples: ["--export '192.168.1.0/24(rw)' --export '*(ro,all_squash)'"],
  },
  {
    group: 'NFS',
    name: '--manage-gids',
    meaning:
      'Takes the groups of NFS users from this machine instead of from the client. A client can send at most sixteen. The server asks the name service (`getent`, `id`) and caches the answer for five minutes. A user who is unknown here has only the primary group.',
  },
  {
    group: 'NFS',
    name: '--portmap',
    meaning:
      'Answers portmapper queries on port 111, so that a plain `mount -t nfs` works, with locks. For machines that do not run rpcbind. Uses the address of `--nfs`, TCP and UDP, and needs root or CAP_NET_BIND_SERVICE. Other programs cannot register there, and over UDP only clients that may mount an export get an answer.',
  },
  {
    group: 'NFS',
    name: '--rpcbind',
    meaning:
      "Registers NFS with this machine's rpcbind, so that a plain `mount -t nfs` works, with locks. Registers NFS, MOUNT, the lock manager and the status monitor, and registers them again when rpcbind restarts. If the kernel of this machine already serves locks (it runs an NFS server, or has NFS mounts with locks), its programs stay registered and clients must mount with `nolock`.",
  },
  {
    group: 'NFS',
    name: '--lock-grace',
    value: 'SECONDS',
    unit: 'seconds, from 1 to 3600',
    meaning:
      'How long clients may reclaim their NFS locks after a restart. During that time nobody gets new locks. If no client held a lock, there is no waiting time.',
    default: '45',
  },
  {
    group: 'TLS',
    name: '--tls',
    value: 'CERTIFICATE[,KEY]|self-signed',
    meaning:
      'The certificate of the server and its private key, in PEM form. WebDAV then speaks HTTPS only, TLS 1.2 or newer. The first file begins with the certificate of the server, followed by those of intermediate authorities; without *KEY* it also contains the key. Files that change are read again within a second; new files with an error are reported in the log, and the earlier certificate stays in use.\n\n`self-signed` makes a certificate at each start, to try it. No client trusts it by itself: compare its fingerprint, which is printed. See [tls.md](tls.md).',
    examples: ['--tls /etc/overlayd/server.pem,/etc/overlayd/server.key', '--tls self-signed'],
  },
  {
    group: 'TLS',
    name: '--tls-client-ca',
    value: 'FILE',
    meaning:
      'The authorities whose client certificates are accepted, in PEM form. Clients are then asked for a certificate. One of another authority, or that is out of date or revoked, ends its connection.',
    examples: ['--tls-client-ca /etc/overlayd/ca.pem'],
  },
  {
    group: 'TLS',
    name: '--tls-clients',
    value: TLS_CLIENT_POLICIES.join('|'),
    meaning:
      'Whether WebDAV clients need a certificate. `request`: they may have one. `require`: without a certificate there is no connection. WebDAV may then listen beyond loopback without `--insecure-no-auth`.',
    default: 'request',
  },
  {
    group: 'TLS',
    name: '--tls-revoked',
    value: 'FILE',
    meaning:
      'Lists of revoked client certificates (CRL), in PEM form, as `overlayd cert revoke` writes them. A certificate that is added loses its connections within a second.',
    examples: ['--tls-revoked /etc/overlayd/revoked.pem'],
  },
  {
    group: 'Server',
    name: '--state-dir',
    value: 'DIR',
    meaning:
      'Where the server keeps its own [files](#files). Created if missing, accessible only to the user that runs the server.',
    otherwise: '`/var/lib/overlayd` for root, else `$XDG_STATE_HOME/overlayd` or `~/.local/state/overlayd`',
  },
  {
    group: 'Server',
    name: '--ready-file',
    value: 'FILE',
    meaning:
      'A file that is written when every listener accepts connections. It appears in one step and is removed when the server stops. It tells scripts which ports were picked: `{"webdav": "http://127.0.0.1:8080/overlay/", "nfs": {"host": "127.0.0.1", "port": 2049, "export": "/overlay"}}`. A listener that is off is `null`.',
  },
  {
    group: 'Server',
    name: '--log-level',
    value: 'LEVEL',
    meaning: `What to log: one of ${LOG_LEVELS.map((level) => `\`${level}\``).join(', ')}. Each level includes those before it. \`error\` is a bug of overlayd or a failure of the machine, \`warn\` a malformed request, \`info\` start and stop, \`debug\` an ordinary error sent to a client. The log goes to standard error as JSON, one object per line. Texts are cut after 300 characters. A message that appears more than 20 times in 10 seconds (500 times at \`debug\`) is counted and reported once as \`N more like this\`. If nobody reads the log, up to 1 MiB of it waits; further lines are lost, and their number is logged once the log is read again. \`overlayd status\` shows both numbers as \`log.repeated\` and \`log.lost\`.`,
    default: 'warn',
  },
  {
    group: 'Server',
    name: '--help',
    short: '-h',
    meaning: 'Prints a summary and exits. `--help TOPIC` is `overlayd help TOPIC`.',
  },
  { group: 'Server', name: '--version', short: '-V', meaning: 'Prints the version and exits.' },
] as const satisfies readonly ServeOptionSpec[]

/** The options of `overlayd status`. */
export const STATUS_OPTIONS = [
  {
    name: '--url',
    value: 'URL',
    meaning: 'The server to ask.',
    otherwise: 'every running server listed in the state directory',
    examples: ['overlayd status --url http://127.0.0.1:8080'],
  },
  { name: '--json', meaning: 'Prints everything as JSON instead of a table.' },
  { name: '--state-dir', value: 'DIR', meaning: 'Where to look for running servers.', otherwise: 'as for the server' },
  { name: '--help', short: '-h', meaning: 'Prints help for `overlayd status` and exits.' },
] as const satisfies readonly OptionSpec[]

export const STATE_DIR_OF_SERVER = {
  name: '--state-dir',
  value: 'DIR',
  meaning: 'Where to look for the running server.',
  otherwise: 'as for the server',
} as const satisfies OptionSpec

export const WHICH_SERVER = {
  name: '--pid',
  value: 'PID',
  meaning: 'Which server is meant, if several run.',
  otherwise: 'the only one that runs from a configuration file',
} as const satisfies OptionSpec

/** The options of `overlayd remount`. */
export const REMOUNT_OPTIONS = [
  {
    name: '-o',
    value: 'OPTION[,OPTION…]',
    repeats: true,
    meaning: 'The options to change, see [OVERLAY OPTIONS](#overlay-options). All others stay as they are.',
  },
  {
    name: '--pid',
    value: 'PID',
    meaning: 'The server to change, if several run.',
    otherwise: 'the only running server',
  },
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints help for `overlayd remount` and exits.' },
] as const satisfies readonly OptionSpec[]

/** Server options that cannot be combined with a configuration file, or that it replaces completely. */
const NOT_WITH_FILE = ['-o', '--sample', '--export', '--version', '--help']

/** The options of `overlayd serve --config FILE` and of `overlayd config print`. They override the file. */
export const FILE_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--config',
    value: 'FILE',
    meaning: 'The configuration file, see overlayd.toml(5). Relative paths in it start at its directory.',
    examples: ['overlayd serve --config /etc/overlayd/overlayd.toml'],
  },
  ...SERVE_OPTIONS.filter(({ name }) => !NOT_WITH_FILE.includes(name)),
  { name: '--help', short: '-h', meaning: 'Prints how to use this command and exits.' },
]

/** The additional option of `overlayd config print`. */
export const PRINT_OPTIONS: readonly OptionSpec[] = [
  ...FILE_OPTIONS,
  { name: '--json', meaning: 'Prints JSON instead of TOML with comments.' },
]

/** The options of commands without options of their own. */
export const HELP_OPTIONS: readonly OptionSpec[] = [
  { name: '--help', short: '-h', meaning: 'Prints how to use this command and exits.' },
]

/** The options of `overlayd reload`. */
export const RELOAD_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--pid',
    value: 'PID',
    meaning: 'Which server is to read its file again, if several run.',
    otherwise: 'the only one that runs from a configuration file',
  },
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd reload` and exits.' },
]

/** The options of `overlayd view`. */
export const VIEW_OPTIONS: readonly OptionSpec[] = [
  { name: '--yes', meaning: 'Asks nothing. `remove` asks on a terminal, and needs it elsewhere.' },
  { name: '--json', meaning: 'Prints the result as JSON.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd view` and exits.' },
]

/** The options of `overlayd diff`. */
export const DIFF_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--against',
    value: 'VIEW',
    meaning: 'Compares with this view or snapshot instead, which must have a layer in common with the other one.',
    otherwise: 'the layers of the template',
    examples: ['overlayd diff course/alice --against course/bob'],
  },
  { name: '--stat', meaning: 'Prints how much each file has grown or shrunk, and a sum.' },
  { name: '--name-only', meaning: 'Prints only the paths.' },
  {
    name: '--patch',
    meaning:
      'Prints a unified patch of the text in the files, for `patch -p1`. What is no text, or larger than 512 KiB, is one line of comment.',
  },
  { name: '--json', meaning: 'Prints all that is known of each difference as JSON.' },
  { name: '--all', meaning: 'Prints also what the upper contains but equals what lies below it.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd diff` and exits.' },
]

/** The options of `overlayd user`. */
export const USER_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--config',
    value: 'FILE',
    meaning: 'The configuration file whose `login.password_file` is meant.',
    examples: ['overlayd user add alice --config /etc/overlayd/overlayd.toml'],
  },
  { name: '--file', value: 'FILE', meaning: 'The password file itself, instead of `--config`.' },
  { name: '--json', meaning: 'Prints the result as JSON.' },
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd user` and exits.' },
]

/** The options of `overlayd token`. */
export const TOKEN_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--view',
    value: 'NAME',
    meaning: 'The only view or template that it is for.',
    otherwise: 'all',
  },
  {
    name: '--path',
    value: 'PATH',
    meaning: 'The only path in the view that it reaches. Requires `--view`.',
    otherwise: 'all of the view',
  },
  {
    name: '--link',
    meaning:
      'Makes a link instead: a URL by which anybody who has it reaches the path, without logging in. Requires `--view`.',
  },
  { name: '--read-only', meaning: 'It can change nothing. The default of a link.' },
  { name: '--writable', meaning: 'It can change everything in its path. The default of an app password.' },
  { name: '--drop-only', meaning: 'Only with `--link`: files can be added, but none is shown, changed or replaced.' },
  { name: '--password', meaning: 'Only with `--link`: asks for a password that the link will need.' },
  {
    name: '--expires',
    value: 'TIME',
    meaning: 'When it expires: a number of seconds (`3600s`), minutes, hours or days (`30d`) from now.',
    otherwise: 'never',
  },
  { name: '--json', meaning: 'Prints the result as JSON.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd token` and exits.' },
]

/** The names of the server's options that have a fixed default. */
type Defaulted = Extract<(typeof SERVE_OPTIONS)[number], { readonly default: string }>['name']

/** The default of a server option, as written on the command line. */
export function defaultOf(name: Defaulted): string {
  const spec = SERVE_OPTIONS.find((option) => option.name === name) as ServeOptionSpec
  return spec.default as string
}
