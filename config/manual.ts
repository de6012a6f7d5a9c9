import { EXPORT_CLIENTS, EXPORT_OPTIONS, OVERLAY_OPTIONS } from './mount-words.ts'
import { type OptionSpec, REMOUNT_OPTIONS, SERVE_OPTIONS, STATUS_OPTIONS, type WordSpec } from './schema.ts'

/** A term and what it means: one row of a table, or one entry of a list. */
export interface Term {
  readonly name: string
  readonly meaning: string
}

/** One piece of the manual. Texts are Markdown of `code`, *placeholders* and [links](#section). */
export type Block =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'code'; readonly lines: readonly string[] }
  | { readonly kind: 'list'; readonly items: readonly string[] }
  | { readonly kind: 'terms'; readonly terms: readonly Term[] }
  | {
      readonly kind: 'options'
      readonly options: readonly (WordSpec & Partial<OptionSpec>)[]
      readonly joint: ' ' | '='
    }

/** A section; `overlayd help NAME` prints it, with the title in lower case and hyphens for blanks. */
export interface Section {
  readonly title: string
  readonly blocks: readonly Block[]
}

const text = (...sentences: string[]): Block => ({ kind: 'text', text: sentences.join(' ') })
const heading = (title: string): Block => ({ kind: 'heading', text: title })
const code = (...lines: string[]): Block => ({ kind: 'code', lines })
const list = (...items: string[]): Block => ({ kind: 'list', items })
const terms = (entries: Readonly<Record<string, string>>): Block => ({
  kind: 'terms',
  terms: Object.entries(entries).map(([name, meaning]) => ({ name, meaning })),
})

/** The day on which the manual was last changed, for the page of man(1). */
export const MANUAL_DATE = '2026-11-30'

/** The ways to call the program. */
export const SYNOPSIS = [
  'overlayd -o lowerdir=DIR[:DIR…],upperdir=DIR,workdir=DIR[,OPTION…] [NAME] [OPTION…]',
  'overlayd --sample [OPTION…]',
  'overlayd status [--url URL] [--json] [--state-dir DIR]',
  'overlayd remount -o OPTION[,OPTION…] [NAME] [--pid PID] [--state-dir DIR]',
  'overlayd help [TOPIC]',
  'overlayd --help | --version',
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
      "These options go into `-o`. Names and syntax are the kernel's (`Documentation/filesystems/overlayfs.rst`), so a line of fstab works as it is. Relative paths start at the current directory.",
      'Options of fstab that concern a local mount point (`defaults`, `noatime`, `nosuid`, `_netdev`, `x-…`) are accepted and ignored.',
    ),
    { kind: 'options', options: OVERLAY_OPTIONS, joint: '=' },
    text(
      'overlayd refuses an upper or work directory that another overlayd uses, and directories that lie inside one another.',
    ),
    heading('Lowers that change'),
    text(
      'Nobody should change a lower while it is served; with the kernel the result is undefined. With overlayd such a change never damages the upper and never ends the server, but clients may see stale lower data.',
      'With `revalidate=always` every request first compares the lower directories it is about to use with what is cached; with `revalidate=SECONDS` that happens at most once in so many seconds.',
      'A directory is compared by the change times (ctime) of its lowers, with one `statx` each, which takes less than a microsecond on a local file system. What has changed is looked up again; objects that are still the same keep their file ids and handles. The upper is never compared: only overlayd may change it.',
    ),
    text(
      'A file that is open is read to its end. If a lower file changes in the middle of a copy-up, the copy may be a mixture, as with `cp`.',
    ),
  ],
}

const EXPORTS: Section = {
  title: 'EXPORTS',
  blocks: [
    text(
      '`--export` takes entries in the syntax of exports(5): `CLIENT(OPTION,…)`, separated by blanks or given with several `--export`. The most specific match wins. A host that no entry matches cannot mount.',
    ),
    heading('Clients'),
    { kind: 'options', options: EXPORT_CLIENTS, joint: '=' },
    heading('Options of a client'),
    { kind: 'options', options: EXPORT_OPTIONS, joint: '=' },
    text(
      '`-OPTION,…` in place of a client sets defaults for the clients after it. Options of exports(5) that say what is so here anyway (`no_subtree_check`, `wdelay`, `crossmnt`, `sec=sys` and others) are accepted and ignored, so a line of `/etc/exports` works as it is.',
      'Netgroups (`@group`) and name patterns (`*.example.com`) are refused: overlayd does not look netgroups up, and patterns would have to trust reverse DNS.',
      'Squashing applies to the user that the client names; with `--manage-gids` the groups come from this machine. A directory inside an export can be mounted by a user who, as squashed, may search all directories above it.',
    ),
  ],
}

const STATUS: Section = {
  title: 'STATUS',
  blocks: [
    code('overlayd status [--url URL] [--json] [--state-dir DIR]'),
    text(
      'Asks running servers on this machine for their version, uptime, memory, overlays and counters, and prints them. Counters that are zero are left out. The exit status is 1 if a server does not answer or none runs.',
      'A server answers this on loopback only, and its answer holds no paths and no secrets. `faults.uncaughtExceptions` and `faults.unhandledRejections` count bugs of overlayd.',
    ),
    { kind: 'options', options: STATUS_OPTIONS, joint: ' ' },
  ],
}

const REMOUNT: Section = {
  title: 'REMOUNT',
  blocks: [
    code('overlayd remount -o OPTION[,OPTION…] [NAME] [--pid PID] [--state-dir DIR]'),
    text(
      'Gives the overlay *NAME* of a running server other lowers or options, in one step and without stopping it. *NAME* can be left out if there is only one. It prints nothing if it succeeds.',
    ),
    { kind: 'options', options: REMOUNT_OPTIONS, joint: ' ' },
    list(
      'What the options do not name stays. `lowerdir=` replaces all lowers, `lowerdir+=` and `datadir+=` add below them, `ro` stops all changes, `rw` allows them again.',
      'Clients keep their mounts. Requests in progress finish on the old layers and running copy-ups are waited for; later requests see the new layers. A file that a client has open on a lower that goes away is read to its end.',
      'Objects that still exist keep their file ids and handles; others answer ESTALE (NFS) or 404. An object still exists if it lies in a lower that stays, or in the upper with an origin that stays. Directories get a new change time, so that clients look again.',
      '`upperdir`, `workdir`, `userxattr`, `uuid` and `whiteouts` cannot change, and `volatile` cannot be taken back: restart the server instead. An overlay that was started without an upper, or with `ro`, stays read-only.',
      'If anything is wrong, one line says what and how to mend it, the old layers go on serving, and the exit status is 2. It is 1 if the server cannot be reached.',
    ),
    text(
      'A lower that was removed can be unmounted as soon as no client has a file of it open.',
      'Only root and the user who runs the server can do this. The control port and its token stand in `STATE/run/PID.json`; the port listens on loopback and differs at each start. A request without the token is refused, logged, and counted in `control.refused`.',
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
      'The first SIGTERM, SIGINT or SIGHUP ends the server in order: it accepts no new connections, lets running requests finish for up to ten seconds, flushes everything and releases the upper.',
      'A second signal ends it at once, with exit status 128 plus the number of the signal; whatever was acknowledged as stable is on disk even then. A second Ctrl-C within half a second counts as the first.',
    ),
  ],
}

const EXIT_STATUS: Section = {
  title: 'EXIT STATUS',
  blocks: [
    terms({
      '0': 'A signal ended the server, and everything was flushed.',
      '1': 'The server could not go on, or could not flush. The log says why.',
      '2': 'An option is wrong, or a directory or port is missing, unreadable, nested or busy. One line says which, and how to mend it. Nothing was created or changed.',
    }),
  ],
}

const FILES: Section = {
  title: 'FILES',
  blocks: [
    text('`STATE` stands for the directory of `--state-dir`.'),
    terms({
      '`STATE/nfs-handle-key`':
        'The secret that authenticates NFS file handles, 32 random bytes, mode 0600. If it is lost, clients must mount again.',
      '`STATE/nfs-write-verifier`':
        'Tells NFS clients when unstable data may be lost. It changes when the machine boots and when the disk fails.',
      '`STATE/handles/`':
        'What NFS file handles of read-only overlays refer to, and the numbers of their file systems. An overlay with an upper keeps both in its workdir.',
      '`STATE/webdav-locks/`':
        'The locks of WebDAV clients, one journal for each upper. They hold again after a restart, until they expire.',
      '`STATE/nfs-lock-clients/`':
        'Which NFS clients hold locks, one file for each overlay. They are notified after a restart.',
      '`STATE/nfs-replies/`':
        'Replies to NFS calls that a client may retransmit after a restart, 3.6 MB for the uppers of a server. A damaged one is set aside as `.damaged`.',
      '`STATE/run/PID.json`':
        'One file for each running server, mode 0600, for `overlayd status` and `overlayd remount`.',
      '`STATE/sample/`': 'The upper and work directories of the sample.',
    }),
  ],
}

const ENVIRONMENT: Section = {
  title: 'ENVIRONMENT',
  blocks: [
    terms({
      '`XDG_STATE_HOME`': 'Where the state directory is by default, unless root runs the server.',
      '`UV_THREADPOOL_SIZE`': 'The number of threads for calls that may wait for a disk. Default: 16.',
    }),
  ],
}

const EXAMPLES: Section = {
  title: 'EXAMPLES',
  blocks: [
    text('A writable view of `/usr/share`, for this machine:'),
    code(
      'install -d -m 700 /srv/share && mkdir /srv/share/upper /srv/share/work',
      'overlayd -o lowerdir=/usr/share,upperdir=/srv/share/upper,workdir=/srv/share/work share',
    ),
    text('Another release below the same writable tree, without stopping:'),
    code('overlayd remount -o lowerdir=/srv/release-2 share'),
    text('Unpacked layers of an OCI image, the newest first, with the changes on a stick with exFAT:'),
    code(
      'overlayd -o lower_whiteouts=files,lowerdir=/srv/layer3:/srv/layer2:/srv/layer1 \\',
      '  -o upperdir=/media/stick/upper,workdir=/media/stick/work image',
    ),
    text('A patch over a release, read-only, over NFS only, for one network:'),
    code(
      'overlayd -o lowerdir=/srv/patches:/srv/release release --webdav off \\',
      "  --nfs 0.0.0.0:2049 --export '192.168.1.0/24(ro,all_squash)'",
    ),
    text('Free ports, and a script that waits for them:'),
    code(
      'overlayd -o lowerdir=/data --webdav 127.0.0.1:0 --nfs 127.0.0.1:0 --ready-file /run/ready &',
      'until [ -e /run/ready ]; do sleep 0.1; done',
      'curl "$(jq -r .webdav /run/ready)"',
    ),
  ],
}

/** The manual, section by section: docs/cli.md, overlayd(1) and `overlayd help` are made of it. */
export const MANUAL: readonly Section[] = [
  { title: 'NAME', blocks: [text('overlayd - serves an overlay of directories over WebDAV and NFSv3')] },
  { title: 'SYNOPSIS', blocks: [code(...SYNOPSIS)] },
  DESCRIPTION,
  { title: 'OPTIONS', blocks: [{ kind: 'options', options: SERVE_OPTIONS, joint: ' ' }] },
  OVERLAY,
  EXPORTS,
  STATUS,
  REMOUNT,
  SIGNALS,
  EXIT_STATUS,
  FILES,
  ENVIRONMENT,
  EXAMPLES,
  { title: 'SEE ALSO', blocks: [text('mount(8), exports(5), nfs(5), mount.davfs(8)')] },
]
