/** A word that may be said, for the manual. */
export interface WordSpec {
  readonly name: string
  /** What it does, in sentences, with the unit where there is one. */
  readonly meaning: string
  readonly default?: string
}

/** One option of the command line, as the parser and the manual see it. */
export interface OptionSpec extends WordSpec {
  readonly short?: string
  /** What the value looks like; absent for a switch. */
  readonly value?: string
  /** Counts each time it is given; others: the last time. */
  readonly repeats?: true
}

/** The options of the server, in the order of the manual. */
export const SERVE_OPTIONS = [
  {
    name: '-o',
    value: 'OPTION[,OPTION…]',
    repeats: true,
    meaning:
      'The overlay, in the words of mount(8) and the kernel: see OVERLAY OPTIONS. Several -o are joined. Without upperdir it is read-only.',
  },
  {
    name: '--webdav',
    value: 'HOST:PORT|off',
    meaning:
      'Where WebDAV listens. Port 0 picks a free one. There is no login yet: addresses beyond loopback need --insecure-no-auth.',
    default: '127.0.0.1:8080',
  },
  {
    name: '--nfs',
    value: 'HOST:PORT|off',
    meaning:
      'Where NFSv3 and MOUNTv3 listen, on one TCP port. Port 0 picks a free one. Who may mount is told by --export.',
    default: '127.0.0.1:2049',
  },
  {
    name: '--export',
    value: 'CLIENT(OPTIONS)',
    repeats: true,
    meaning:
      'Who may mount over NFS, as in exports(5). CLIENT is an address, a network as ADDRESS/BITS or ADDRESS/NETMASK, a host name, or *. OPTIONS are rw, ro, root_squash, no_root_squash, all_squash, anonuid=UID, anongid=GID, secure, insecure, sync and async. Of several that fit the narrowest counts.',
    default: '127.0.0.1(rw,root_squash,insecure,sync)',
  },
  {
    name: '--manage-gids',
    meaning:
      "Takes the groups of NFS users from this machine's name service (getent, id) instead of from the client, which can send sixteen at most. They are remembered for five minutes.",
  },
  {
    name: '--as',
    value: 'UID:GID',
    meaning: 'The user and group on whose behalf WebDAV acts, as numbers.',
    default: "the server's own user and groups",
  },
  {
    name: '--locks',
    value: 'advisory|mandatory',
    meaning:
      'Whom the locks of WebDAV clients keep from changing what is locked: other WebDAV clients (advisory), or NFS clients too (mandatory), who then get "permission denied".',
    default: 'advisory',
  },
  {
    name: '--symlinks',
    value: 'follow|hide|refuse',
    meaning:
      'What WebDAV clients see of a symlink: what it leads to inside the tree, never outside of it (follow); nothing (hide); a name that answers 403 (refuse).',
    default: 'follow',
  },
  {
    name: '--depth-infinity',
    meaning:
      'Lets WebDAV clients ask for the properties of a whole tree in one PROPFIND. Otherwise that is refused, as one request then reads everything.',
  },
  {
    name: '--insecure-no-auth',
    meaning: 'Lets WebDAV listen beyond loopback although anyone who reaches it may then do anything that --as may.',
  },
  {
    name: '--public-url',
    value: 'URL',
    repeats: true,
    meaning:
      'A URL under which clients reach WebDAV through a proxy, for example https://files.example.org. Requests that name it, in Host or in a URL in any other field, are then understood as they come.',
  },
  {
    name: '--trusted-proxy',
    value: 'ADDRESS[/BITS]',
    repeats: true,
    meaning:
      'A proxy, or a network of proxies, whose Forwarded and X-Forwarded-Host fields tell under which name a client asked. Those of anybody else count for nothing.',
  },
  {
    name: '--rpcbind',
    meaning:
      "Registers NFS, MOUNT and the lock manager with this machine's rpcbind, for clients that ask port 111. Then a plain mount works, with locks.",
  },
  {
    name: '--portmap',
    meaning:
      'Answers on port 111 (TCP and UDP) itself, on the address of --nfs, where no rpcbind runs: a plain mount works, with locks. Needs root.',
  },
  {
    name: '--lock-grace',
    value: 'SECONDS',
    meaning:
      'How long after a restart NFS clients may ask for the locks that they had, and nobody else gets any. Not waited for when nobody had locks.',
    default: '45',
  },
  {
    name: '--state-dir',
    value: 'DIR',
    meaning:
      'Holds the key of NFS file handles (mode 0600, made once), notes on running servers, and the sample. Made when missing.',
    default: '/var/lib/overlayd for root, else $XDG_STATE_HOME/overlayd or ~/.local/state/overlayd',
  },
  {
    name: '--ready-file',
    value: 'FILE',
    meaning: 'Written as JSON, in one step, once every door accepts connections; removed when the server stops.',
  },
  {
    name: '--sample',
    meaning:
      'Serves the small tree that comes with overlayd, with upper and work under the state directory. Ignored when -o is given.',
  },
  {
    name: '--log-level',
    value: 'LEVEL',
    meaning:
      'The least that is logged (JSON lines on standard error): silent, fatal, error, warn, info, debug or trace.',
    default: 'warn',
  },
  { name: '--help', short: '-h', meaning: 'Prints this and exits.' },
  { name: '--version', short: '-V', meaning: 'Prints the version and exits.' },
] as const satisfies readonly OptionSpec[]

/** The options of `overlayd status`. */
export const STATUS_OPTIONS = [
  {
    name: '--url',
    value: 'URL',
    meaning: 'The server to ask, for example http://127.0.0.1:8080.',
    default: 'every running server that the state directory knows of',
  },
  { name: '--json', meaning: 'Prints the answer as JSON instead of a table.' },
  {
    name: '--state-dir',
    value: 'DIR',
    meaning: 'Where to look for running servers.',
    default: 'as above',
  },
  { name: '--help', short: '-h', meaning: 'Prints this and exits.' },
] as const satisfies readonly OptionSpec[]

/** The options of `overlayd remount`. */
export const REMOUNT_OPTIONS = [
  {
    name: '-o',
    value: 'OPTION[,OPTION…]',
    repeats: true,
    meaning:
      'What is to change, see OVERLAY OPTIONS; everything else stays. lowerdir=… names all lowers anew, lowerdir+=DIR adds one below the others, ro and rw stop and allow changes. upperdir, workdir, userxattr, uuid and whiteouts cannot change, and volatile cannot be taken back.',
  },
  { name: '--pid', value: 'PID', meaning: 'Which server, when several run.' },
  { name: '--state-dir', value: 'DIR', meaning: 'Where to look for the running server.', default: 'as above' },
  { name: '--help', short: '-h', meaning: 'Prints this and exits.' },
] as const satisfies readonly OptionSpec[]

/** The options inside `-o`, for the manual; overlay-core parses them. */
export const OVERLAY_OPTIONS: readonly WordSpec[] = [
  {
    name: 'lowerdir=DIR[:DIR…][::DIR…]',
    meaning:
      'The trees to show, topmost first; they are never written to. After :: come data-only layers. A backslash escapes : , and itself.',
  },
  { name: 'lowerdir+=DIR', meaning: 'Adds one layer below those before; colons need no backslash.' },
  { name: 'datadir+=DIR', meaning: 'Adds one data-only layer.' },
  { name: 'upperdir=DIR', meaning: 'Takes every change. Without it the overlay is read-only.' },
  {
    name: 'workdir=DIR',
    meaning: 'An empty directory (or one used for this before) on the file system of upperdir; needed with it.',
  },
  {
    name: 'redirect_dir=on|follow|nofollow|off',
    meaning: 'Whether a directory that exists below can be renamed (on), and whether such renames are followed.',
    default: 'on',
  },
  { name: 'index=on|off', meaning: 'Keeps hard links together through copy-up.', default: 'on' },
  { name: 'metacopy=on|off', meaning: 'Copies only the attributes up when only they change.', default: 'off' },
  { name: 'xino=on|auto|off', meaning: 'One file id space over layers on several file systems.', default: 'on' },
  {
    name: 'userxattr',
    meaning: 'Keeps the marks of the overlay in user.overlay.* instead of trusted.overlay.*.',
    default: 'on when not root',
  },
  {
    name: 'whiteouts=auto|device|files',
    meaning:
      'How the upper says that a name is hidden: as the kernel does (device), or by a file .wh.NAME as OCI layers do (files). auto takes device wherever the storage can hold it. The choice is made at the first mount and recorded; with files no client makes or sees a name that starts with .wh.',
    default: 'auto',
  },
  {
    name: 'lower_whiteouts=auto|files',
    meaning:
      'Whether files .wh.NAME in lowers hide NAME: only in those that were such an upper of this server (auto), or in all, as in unpacked OCI layers (files).',
    default: 'auto',
  },
  {
    name: 'fsync=auto|strict|volatile',
    meaning:
      'When a copy-up is made durable. volatile (also the word alone) syncs nothing: after a crash the upper has to be thrown away.',
    default: 'auto',
  },
  {
    name: 'revalidate=never|always|SECONDS',
    meaning:
      'Whether lowers that somebody changes while they are served are looked at: never, at every request, or when so many seconds have passed since the last time.',
    default: 'never',
  },
  { name: 'uuid=on|auto|null|off', meaning: 'Whether the upper keeps an identity of its own.', default: 'auto' },
  { name: 'ro', meaning: 'Serves the upper as the topmost lower: nothing is written.' },
]
