import { code, heading, list, type Section, terms, text } from './manual-blocks.ts'
import { COMMAND_SECTIONS } from './manual-commands.ts'
import { EXPORT_CLIENTS, EXPORT_OPTIONS, OVERLAY_OPTIONS } from './mount-words.ts'
import { REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS } from './schema.ts'

/** The date of the last change to the manual, for the man page. */
export const MANUAL_DATE = '2026-11-30'

/** The ways to call the program. */
export const SYNOPSIS = [
  'overlayd -o lowerdir=DIR[:DIR…],upperdir=DIR,workdir=DIR[,OPTION…] [NAME] [OPTION…]',
  'overlayd --sample [OPTION…]',
  'overlayd serve --config FILE [OPTION…]',
  'overlayd config check FILE | overlayd config print [--config FILE] [--json]',
  'overlayd init DIR | overlayd reload [OPTION…] | overlayd view VERB [TEMPLATE/NAME]',
  'overlayd diff VIEW [PATH…] [OPTION…] | overlayd rebase VIEW… [OPTION…]',
  'overlayd user VERB [NAME] [OPTION…] | overlayd token VERB [USER] [OPTION…]',
  'overlayd machine VERB [NAME] [OPTION…] | overlayd boot dnsmasq --config FILE [OPTION…]',
  'overlayd image build|lint DIR [OPTION…] | overlayd cert ca|issue|revoke|list DIR …',
  'overlayd status | who | kick | lock | quota | usage | job | top [OPTION…]',
  'overlayd remount -o OPTION[,OPTION…] [NAME] [--pid PID] [--state-dir DIR]',
  'overlayd help [TOPIC] | overlayd --help | --version',
]

const DESCRIPTION: Section = {
  title: 'DESCRIPTION',
  blocks: [
    text(
      'overlayd merges one or more lower directories and one upper directory into a single tree, as `mount -t overlay` does. It serves that tree at `http://HOST:PORT/NAME/` and as the NFS export `/NAME` at the same time.',
      'Every change goes to the upper directory; the lower directories are only read. The kernel can mount the same directories and shows the same tree, but not while overlayd uses them.',
    ),
    text(
      '*NAME* is one word of letters, digits, `.`, `_` and `-`, up to 64 characters. It is `overlay` if not given.',
      'When every listener accepts connections, overlayd prints the command that mounts each of them. It stays in the foreground until a signal ends it.',
    ),
    text(
      'Write an option as `--name value` or `--name=value`, in any order. If an option is given twice, the last one counts, unless it *can be repeated*. `--` ends the options.',
      'From a checkout run `npx overlayd`, or `npm start --`, which adds `--sample`.',
    ),
  ],
}

const OVERLAY: Section = {
  title: 'OVERLAY OPTIONS',
  blocks: [
    text(
      "These options go into `-o`. Names and syntax are the kernel's (`Documentation/filesystems/overlayfs.rst`), so an fstab line works unchanged. Relative paths start at the current directory.",
      'Options of fstab that concern a local mount point (`defaults`, `noatime`, `nosuid`, `_netdev`, `x-…`) are accepted and ignored.',
    ),
    { kind: 'options', options: OVERLAY_OPTIONS, joint: '=' },
    text('overlayd refuses an upper or work directory that another overlayd uses, and directories that are nested.'),
    heading('Lowers that change'),
    text(
      'Do not change a lower while it is served. With the kernel the result is undefined. With overlayd such a change never damages the upper and never stops the server, but clients may see stale lower data.',
      'With `revalidate=always` every request first checks whether the lower directories that it uses have changed. With `revalidate=SECONDS` they are checked at most once in that many seconds.',
      'The check compares the change time (ctime) of each lower directory, with one `statx` call that takes less than a microsecond on a local file system. Changed directories are looked up again; unchanged objects keep their file ids and handles. The upper is never checked, because only overlayd may change it.',
    ),
    text(
      'An open file can be read to its end. If a lower file changes during a copy-up, the copy may mix old and new data, as with `cp`.',
    ),
  ],
}

const EXPORTS: Section = {
  title: 'EXPORTS',
  blocks: [
    text(
      '`--export` takes entries in the syntax of exports(5): `CLIENT(OPTION,…)`, separated by blanks or given in several `--export` options. The most specific match wins. A host that matches no entry cannot mount.',
    ),
    heading('Clients'),
    { kind: 'options', options: EXPORT_CLIENTS, joint: '=' },
    heading('Options of a client'),
    { kind: 'options', options: EXPORT_OPTIONS, joint: '=' },
    text(
      '`-OPTION,…` in place of a client sets defaults for the clients after it. Options of exports(5) that describe what overlayd always does (`no_subtree_check`, `wdelay`, `crossmnt`, `sec=sys` and others) are accepted and ignored, so a line of `/etc/exports` works unchanged.',
      'Netgroups (`@group`) and name patterns (`*.example.com`) are refused: overlayd does not look up netgroups, and patterns would have to trust reverse DNS.',
      'Squashing applies to the user that the client names; with `--manage-gids` the groups come from this machine. A user can mount a directory inside an export if that user, after squashing, may search all directories above it.',
    ),
  ],
}

const STATUS: Section = {
  title: 'STATUS',
  blocks: [
    code('overlayd status [--url URL] [--json] [--state-dir DIR]'),
    text(
      'Prints the version, uptime, memory, overlays and counters of the running servers on this machine. Counters that are zero are omitted. The exit status is 1 if a server does not answer or none runs.',
      'A server answers on loopback only, and the answer contains no paths and no secrets. `faults.uncaughtExceptions` and `faults.unhandledRejections` count bugs of overlayd.',
    ),
    { kind: 'options', options: STATUS_OPTIONS, joint: ' ' },
  ],
}

const REMOUNT: Section = {
  title: 'REMOUNT',
  blocks: [
    code('overlayd remount -o OPTION[,OPTION…] [NAME] [--pid PID] [--state-dir DIR]'),
    text(
      'Changes the lowers or options of the overlay *NAME* of a running server, in one step and without stopping it. *NAME* can be omitted if there is only one. The command prints nothing if it succeeds.',
    ),
    { kind: 'options', options: REMOUNT_OPTIONS, joint: ' ' },
    list(
      'Options that are not given stay as they are. `lowerdir=` replaces all lowers, `lowerdir+=` and `datadir+=` add layers below them, `ro` forbids changes, and `rw` allows them again.',
      'Clients keep their mounts. Requests in progress and running copy-ups finish on the old layers; later requests see the new layers. A file that a client has open on a removed lower can be read to its end.',
      'Objects that still exist keep their file ids and handles; others answer ESTALE (NFS) or 404 (WebDAV). An object still exists if it is in a lower that stays, or in the upper with an origin that stays. Directories get a new change time, so that clients read them again.',
      '`upperdir`, `workdir`, `userxattr`, `uuid` and `whiteouts` cannot change, and `volatile` cannot be turned off: restart the server instead. An overlay that was started without an upper, or with `ro`, stays read-only.',
      'If an option is wrong, one line says what is wrong and how to correct it, the server continues with the old layers, and the exit status is 2. The exit status is 1 if the server cannot be reached.',
    ),
    text(
      'A removed lower can be unmounted as soon as no client has a file open on it.',
      'Only root and the user who runs the server can do this: the command uses the socket of the [admin API](admin.md).',
    ),
    code(
      'overlayd remount -o lowerdir=/srv/patches:/srv/release-2 release',
      'overlayd remount -o ro && backup /srv/share/upper && overlayd remount -o rw',
    ),
  ],
}

const SIGNALS: Section = {
  title: 'SIGNALS',
  blocks: [
    text(
      'SIGHUP has a server of a configuration file read it again, see [RELOAD](#reload). The first SIGTERM, SIGINT or (without a configuration file) SIGHUP shuts the server down cleanly: it accepts no new connections, gives running requests up to ten seconds to finish, flushes everything and releases the upper.',
      'A second signal ends it at once, with exit status 128 plus the signal number. Even then, everything that was acknowledged as stable is on disk. A second Ctrl-C within half a second is ignored.',
    ),
  ],
}

const EXIT_STATUS: Section = {
  title: 'EXIT STATUS',
  blocks: [
    terms({
      '0': 'A signal stopped the server, and everything was flushed.',
      '1': 'The server failed, or could not flush. The log says why.',
      '2': 'An option or the configuration file is wrong, or a directory or port is missing, unreadable, nested or busy. One line says which, and how to correct it. Nothing was created or changed.',
    }),
  ],
}

const FILES: Section = {
  title: 'FILES',
  blocks: [
    text('`STATE` is the directory given with `--state-dir`.'),
    terms({
      '`STATE/nfs-handle-key`':
        'The key that authenticates NFS file handles: 32 random bytes, mode 0600. If it is lost, clients must mount again.',
      '`STATE/nfs-write-verifier`':
        'Tells NFS clients when unstable data may be lost. It changes when the machine boots and when the disk fails.',
      '`STATE/handles/`':
        'The objects that NFS file handles of read-only overlays refer to, and the numbers of their file systems. An overlay with an upper keeps both in its workdir.',
      '`STATE/webdav-locks/`':
        'The locks of WebDAV clients, one journal for each upper. They remain in force after a restart, until they expire.',
      '`STATE/nfs-lock-clients/`':
        'The NFS clients that hold locks, one file for each overlay. They are notified after a restart.',
      '`STATE/nfs4-clients/`':
        'The NFSv4 clients that may reclaim what they held after a restart, one file for each server.',
      '`STATE/nfs4-instance/`':
        'The number of the last run of each NFSv4 server, and random bytes by which clients know it again.',
      '`STATE/nfs-replies/`':
        'Replies to NFS calls that a client may retransmit after a restart, 3.6 MB for all uppers of a server. A damaged file is renamed to `.damaged`.',
      '`STATE/run/PID.json`': 'One file for each running server, mode 0600, by which commands find it.',
      '`STATE/run/PID.sock`': 'The socket of the [admin API](admin.md), mode 0600.',
      '`STATE/sample/`': 'The upper and work directories of the sample.',
    }),
  ],
}

const ENVIRONMENT: Section = {
  title: 'ENVIRONMENT',
  blocks: [
    terms({
      '`NAME` of `${NAME}` in a configuration file': 'See overlayd.toml(5).',
      '`XDG_STATE_HOME`': 'The parent of the default state directory, unless root runs the server.',
      '`LISTEN_PID`, `LISTEN_FDS`, `LISTEN_FDNAMES`':
        'Sockets that a service manager has opened, named `webdav` and `nfs` (sd_listen_fds(3)). Their addresses must be those of `--webdav` and `--nfs`.',
      '`NOTIFY_SOCKET`, `WATCHDOG_USEC`':
        'Where a service manager hears that the server is ready, stopping, and alive (sd_notify(3)).',
      '`UV_THREADPOOL_SIZE`': 'The number of threads for calls that may wait for a disk. Default: 16.',
    }),
  ],
}

const EXAMPLES: Section = {
  title: 'EXAMPLES',
  blocks: [
    text('Serve a writable view of `/usr/share` to this machine:'),
    code(
      'install -d -m 700 /srv/share && mkdir /srv/share/upper /srv/share/work',
      'overlayd -o lowerdir=/usr/share,upperdir=/srv/share/upper,workdir=/srv/share/work share',
    ),
    text('Replace the release below that writable tree without stopping the server:'),
    code('overlayd remount -o lowerdir=/srv/release-2 share'),
    text('Serve the unpacked layers of an OCI image, newest first, and keep changes on an exFAT stick:'),
    code(
      'overlayd -o lower_whiteouts=files,lowerdir=/srv/layer3:/srv/layer2:/srv/layer1 \\',
      '  -o upperdir=/media/stick/upper,workdir=/media/stick/work image',
    ),
    text('Serve a patch over a release, read-only, over NFS only, to one network:'),
    code(
      'overlayd -o lowerdir=/srv/patches:/srv/release release --webdav off \\',
      "  --nfs 0.0.0.0:2049 --export '192.168.1.0/24(ro,all_squash)'",
    ),
    text('Let the system pick free ports, and wait for them in a script:'),
    code(
      'overlayd -o lowerdir=/data --webdav 127.0.0.1:0 --nfs 127.0.0.1:0 --ready-file /run/ready &',
      'until [ -e /run/ready ]; do sleep 0.1; done',
      'curl "$(jq -r .webdav /run/ready)"',
    ),
  ],
}

/** The manual, section by section: the source of docs/cli.md, overlayd(1) and `overlayd help`. */
export const MANUAL: readonly Section[] = [
  { title: 'NAME', blocks: [text('overlayd - serves an overlay of directories over WebDAV and NFSv3')] },
  { title: 'SYNOPSIS', blocks: [code(...SYNOPSIS)] },
  DESCRIPTION,
  { title: 'OPTIONS', blocks: [{ kind: 'options', options: SERVE_OPTIONS, joint: ' ' }] },
  OVERLAY,
  EXPORTS,
  ...COMMAND_SECTIONS,
  STATUS,
  REMOUNT,
  SIGNALS,
  EXIT_STATUS,
  FILES,
  ENVIRONMENT,
  EXAMPLES,
  { title: 'SEE ALSO', blocks: [text('overlayd.toml(5), mount(8), exports(5), nfs(5), mount.davfs(8)')] },
]
