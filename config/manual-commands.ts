import {
  JOB_OPTIONS,
  KICK_OPTIONS,
  LOCK_OPTIONS,
  QUOTA_OPTIONS,
  TOP_OPTIONS,
  USAGE_OPTIONS,
  WHO_OPTIONS,
} from './admin-options.ts'
import { CERT_OPTIONS } from './cert-options.ts'
import { code, type Section, text } from './manual-blocks.ts'
import { FSCK } from './manual-fsck.ts'
import { IMAGE } from './manual-images.ts'
import { LAYER_SECTIONS } from './manual-layers.ts'
import { BOOT, MACHINE } from './manual-machines.ts'
import { RUN } from './manual-run.ts'
import { REBASE_OPTIONS } from './rebase-options.ts'
import {
  DIFF_OPTIONS,
  FILE_OPTIONS,
  PRINT_OPTIONS,
  RELOAD_OPTIONS,
  TOKEN_OPTIONS,
  USER_OPTIONS,
  VIEW_OPTIONS,
} from './schema.ts'
import { SNAPSHOT_OPTIONS } from './snapshot-options.ts'
import { TRASH_OPTIONS } from './trash-options.ts'

const optionsNotOf = (options: typeof FILE_OPTIONS, others: readonly string[]) =>
  options.filter(({ name }) => !others.includes(name))

const SERVE: Section = {
  title: 'SERVE',
  blocks: [
    code('overlayd serve --config FILE [OPTION…]'),
    text(
      'Serves the views of a configuration file, see overlayd.toml(5). An option of the command line overrides the file. `-o`, `--sample`, `--export` and *NAME* are not accepted, because the file says what is served.',
      'If the file has an error, every error is printed with its line, nothing is served, and the exit status is 2. A view whose directories are missing, busy or nested is left out and reported; the others are served.',
    ),
    { kind: 'options', options: FILE_OPTIONS.slice(0, 1), joint: ' ' },
  ],
}

const CONFIG: Section = {
  title: 'CONFIG',
  blocks: [
    code('overlayd config check FILE', 'overlayd config print [--config FILE] [--json] [OPTION…]'),
    text(
      '`check` prints every error of the file as `FILE:LINE:COLUMN: MESSAGE`, one on a line, and creates nothing. Paths are looked at too. The exit status is 0 if there is none and 1 otherwise.',
    ),
    text(
      '`print` prints every value in force and where it comes from: the default, a line of the file, the command line or the environment. Without `--config` it prints the defaults. The output is a configuration file itself. The exit status is 1 if the file has errors.',
    ),
    {
      kind: 'options',
      options: optionsNotOf(PRINT_OPTIONS, [...FILE_OPTIONS.slice(1).map(({ name }) => name)]),
      joint: ' ',
    },
    code(
      'overlayd config check /etc/overlayd/overlayd.toml && systemctl restart overlayd',
      'overlayd config print --config overlayd.toml --log-level debug',
    ),
  ],
}

const INIT: Section = {
  title: 'INIT',
  blocks: [
    code('overlayd init DIR'),
    text(
      'Writes *DIR*`/overlayd.toml`, a small configuration of a course, and *DIR*`/material`, and prints the command that serves it. It asks nothing and overwrites nothing. The course has a view for each user, see [views.md](views.md).',
    ),
    code('overlayd init course && overlayd serve --config course/overlayd.toml'),
  ],
}

const RELOAD: Section = {
  title: 'RELOAD',
  blocks: [
    code('overlayd reload [--pid PID] [--state-dir DIR]'),
    text(
      'Has a server of a configuration file read it again, as SIGHUP does. `log.level`, new and removed views and templates, exports, changed layers and options of views, and another login ([users.md](users.md#changing-the-login-while-the-server-runs)) apply at once; clients of other views notice nothing, and those of a changed view keep their mounts and open files, as with [remount](#remount). A removed view is closed, and its handles become stale; its upper stays.',
      'Other keys, and the directory of an upper, need a restart: they are printed as `needs a restart` and stay as they were.',
    ),
    { kind: 'options', options: RELOAD_OPTIONS, joint: ' ' },
    text(
      'If the file has an error, every error is printed, the server goes on unchanged, and the exit status is 1. It is also 1 if a view could not be changed or the server cannot be reached.',
    ),
  ],
}

const VIEW: Section = {
  title: 'VIEW',
  blocks: [
    code(
      'overlayd view list [TEMPLATE] [--json]',
      'overlayd view create|show TEMPLATE/NAME [--json]',
      'overlayd view remove TEMPLATE/NAME [--yes] [--json]',
      'overlayd view rename TEMPLATE/NAME NEW [--json]',
    ),
    text(
      'Lists and changes the views of users and machines while their server runs. *TEMPLATE* is a view of the configuration file with `upper = "per-user"`, `"per-machine"` or `"ephemeral"`, *NAME* the name of a user or the address of a machine.',
      '`create` makes a view, which the first request does as well if the template has `create = true`. `rename` gives it another name; its owner, file handles and locks stay. `remove` deletes it with everything in it, or moves it to the trash if the template has one ([TRASH](#trash)); a new view with the same name is another one, and old handles are stale.',
    ),
    { kind: 'options', options: VIEW_OPTIONS, joint: ' ' },
    code('overlayd view create course/alice', 'overlayd view list course --json'),
    text(
      'The exit status is 0; 1 if the server cannot be reached; 2 if it refuses, for example because there is no such view.',
    ),
  ],
}

const DIFF: Section = {
  title: 'DIFF',
  blocks: [
    code('overlayd diff VIEW [PATH…] [--against VIEW] [--stat|--name-only|--patch|--json] [--all]'),
    text(
      'Prints what was changed in a view while it is used: in a view of a user as *TEMPLATE/NAME*, in a snapshot of it as *TEMPLATE/NAME@SNAPSHOT*, or in one view that all share. It looks only at what the upper and the frozen layers of the view contain, so it takes time in proportion to the changes and not to the tree. With *PATH* it prints only what is there or below.',
      'Each line has a letter, the path, and what differs: `A` added, `D` removed, `M` changed, `R` moved, with both paths. A removed directory stands for everything that was in it. A file that was written but contains the same as before is not printed, unless its attributes differ; a directory whose only change is its time neither.',
    ),
    { kind: 'options', options: DIFF_OPTIONS, joint: ' ' },
    code(
      'overlayd diff course/alice',
      'overlayd diff course/alice week-1 --patch',
      'overlayd diff course/alice --stat',
    ),
    text(
      'The exit status is 0, with or without differences; 1 if the server cannot be reached or cannot read the view; 2 if it refuses, for example because there is no such view.',
    ),
  ],
}

const SNAPSHOT: Section = {
  title: 'SNAPSHOT',
  blocks: [
    code(
      'overlayd snapshot TEMPLATE/NAME [SNAPSHOT] [--json]',
      'overlayd snapshots TEMPLATE/NAME [--json]',
      'overlayd rollback TEMPLATE/NAME@SNAPSHOT [--drop] [--yes] [--json]',
      'overlayd reset TEMPLATE/NAME [PATH…] [--aside] [--drop] [--yes] [--json]',
      'overlayd restore TEMPLATE/NAME@SNAPSHOT PATH… [--aside] [--drop] [--yes] [--json]',
      'overlayd dedupe TEMPLATE/NAME [--json]',
      'overlayd snapshot remove TEMPLATE/NAME@SNAPSHOT [--yes] [--json]',
      'overlayd fork TEMPLATE/NAME NEW [--ttl TIME] [--ephemeral] [--json]',
      'overlayd squash TEMPLATE/NAME [--json]',
    ),
    text(
      'Keeps states of the views of users and machines while their server runs, see [snapshots.md](snapshots.md). Nothing is copied, and clients go on working.',
      '`snapshot` keeps the present state under a name, by default the time. `snapshots` lists them. `rollback` gives the view the content that it had at a snapshot; what it contains now is kept as a snapshot `before-rollback-…`, unless `--drop` is given. `reset` takes all changes back in the same way: the view contains what the template contains, and what it contained is `before-reset-…`. With *PATH* it takes back only what is there or below, and `restore` gives such paths the content that they had at a snapshot. `dedupe` drops files from the upper that equal what is below them. `snapshot remove` removes one, and frees what only that had. `fork` makes the view `TEMPLATE/NEW` with the present content of another one; neither sees later changes of the other. `squash` merges the frozen layers of a view that no snapshot and no fork needs, and returns when that is done; the server does the same in the background above `squash_above` layers.',
    ),
    { kind: 'options', options: SNAPSHOT_OPTIONS, joint: ' ' },
    code(
      'overlayd snapshot course/alice before-exam',
      'overlayd rollback course/alice@before-exam --yes',
      'overlayd reset course/alice',
      'overlayd reset course/alice week-1 --aside',
      'overlayd restore course/alice@before-exam notes.txt',
      'overlayd fork course/alice bob',
    ),
    text(
      'The exit status is 0; 1 if the server cannot be reached; 2 if it refuses, or the answer was no: nothing has changed then.',
    ),
  ],
}

const REBASE: Section = {
  title: 'REBASE',
  blocks: [
    code(
      'overlayd rebase TEMPLATE/NAME…|TEMPLATE [--dry-run] [--now|--at-next-open] [--all] [--yes] [--json]',
      'overlayd conflicts TEMPLATE/NAME [--json]',
    ),
    text(
      'Puts views of users and machines on the newest versions of the layers of their template, with what their users have changed, see [publish.md](publish.md). *TEMPLATE* stands for all of its views. Views that are not named stay on the versions that they have.',
      'Before anything changes, the outcome for each path of the upper is computed: `untouched`, the new version has not changed it; `identical`, it is the same as in the new version, and is dropped from the upper; `stale`, user and new version have both changed, added or removed a file; `masked`, the user has removed what the new version has changed; `type`, one side has a directory and the other has none; `moved`, the user has moved what the new version has changed; `replaced`, a rule says that the new version always counts. Rules of the template (`conflicts`) decide on all but the first two; without a rule, what the user has stays. `--dry-run` prints that, and changes nothing.',
      'What a view contained before is kept as a snapshot `before-rebase-…` on the old versions; `overlayd rollback` leads back to it. Clients see the change in one step, and their file handles stay valid for what is there in both. `conflicts` prints what the last rebase of a view found on both sides.',
    ),
    { kind: 'options', options: REBASE_OPTIONS, joint: ' ' },
    code(
      'overlayd rebase course --dry-run',
      'overlayd rebase course/alice course/bob',
      'overlayd rebase course --at-next-open --yes',
      'overlayd conflicts course/alice',
    ),
    text(
      'The exit status is 0; 1 if the server cannot be reached, or a view failed or was refused, in which case it is as before; 2 if nothing was begun, for example because there is no such view, or the answer was no.',
    ),
  ],
}

const TRASH: Section = {
  title: 'TRASH',
  blocks: [
    code(
      'overlayd trash list [TEMPLATE] [--json]',
      'overlayd trash restore ID|PATH [--as NAME] [--json]',
      'overlayd trash empty [TEMPLATE|ID|PATH] [--yes] [--json]',
    ),
    text(
      'What `view remove`, `snapshot remove` and `--drop` have taken away is kept for the time `trash` of the template ([config.md](config.md#views)). `list` prints it with the time at which it is deleted for good. `restore` brings it back, with its name or another one. `empty` deletes it now.',
    ),
    { kind: 'options', options: TRASH_OPTIONS, joint: ' ' },
    code('overlayd trash list course', 'overlayd trash restore course/alice', 'overlayd trash empty course --yes'),
    text(
      'The exit status is 0; 1 if the server cannot be reached; 2 if it refuses, or the answer was no: nothing has changed then.',
    ),
  ],
}

const USER: Section = {
  title: 'USER',
  blocks: [
    code(
      'overlayd user add|passwd|remove NAME --config FILE|--file FILE [--json]',
      'overlayd user list --config FILE|--file FILE [--json]',
    ),
    text(
      'Lists and changes the accounts of a password file, see [login](config.md#login). `add` makes the file if there is none. The password is asked for twice and not shown; if standard input is no terminal, its first line is the password. It is stored as an argon2id hash. A running server notices the change within a second; a removed user, or one whose password has changed, has to log in again.',
    ),
    { kind: 'options', options: USER_OPTIONS, joint: ' ' },
    code('overlayd user add alice --config overlayd.toml', 'pwgen 16 1 | overlayd user add bob --file users --json'),
    text('The exit status is 0; 2 if nothing was changed.'),
  ],
}

const TOKEN: Section = {
  title: 'TOKEN',
  blocks: [
    code(
      'overlayd token make USER NAME [--view NAME [--path PATH]] [--read-only] [--expires TIME] [--json]',
      'overlayd token make USER NAME --link --view NAME [--path PATH] [--writable|--drop-only] [--password] [--expires TIME]',
      'overlayd token list [USER] [--json]',
      'overlayd token revoke ID [--json]',
    ),
    text(
      'Makes, lists and revokes app passwords while the server runs: passwords for one device or program, which may be limited to a view, a path in it, reading, and a time. *NAME* is for people, for example `laptop`. The app password is printed once; only a hash of it is kept. A revoked one stops working at once. With `--link` it is a URL, of which the path is printed, see [users.md](users.md#links). Users do the same for themselves over HTTP, see [users.md](users.md#app-passwords).',
    ),
    { kind: 'options', options: TOKEN_OPTIONS, joint: ' ' },
    code(
      'overlayd token make alice laptop --view course --expires 180d',
      'overlayd token make alice handouts --link --view course --path handouts --expires 7d',
      'overlayd token list alice',
    ),
    text('The exit status is 0; 1 if the server cannot be reached; 2 if it refuses.'),
  ],
}

const CERT: Section = {
  title: 'CERT',
  blocks: [
    code(
      'overlayd cert ca DIR [--name TEXT] [--days NUMBER]',
      'overlayd cert issue DIR server|user|machine NAME… [--days NUMBER] [--out DIR]',
      'overlayd cert revoke DIR SERIAL',
      'overlayd cert revoke DIR server|user|machine NAME',
      'overlayd cert list DIR [--json]',
    ),
    text(
      'A small authority for the certificates of a server and its clients, see [tls.md](tls.md). No server needs to run, and the directory need not be on its machine.',
      '`ca` makes an authority in *DIR*, which only its owner can enter: `ca.pem` for clients and `client_ca`, `ca.key`, and `revoked.pem`, an empty list for `revoked`. `issue` makes a key and a certificate: for a server with its host names and addresses, as clients write them; for a user or machine with its name. It writes *KIND*`-`*NAME*`.pem` and `.key`. `revoke` adds one certificate, or all of a name, to `revoked.pem`. `list` shows what was issued.',
    ),
    { kind: 'options', options: CERT_OPTIONS, joint: ' ' },
    code(
      'overlayd cert ca /etc/overlayd/ca',
      'overlayd cert issue /etc/overlayd/ca server files.example.org 192.0.2.7 --out /etc/overlayd',
      'overlayd cert issue /etc/overlayd/ca user alice --out ~/for-alice',
    ),
    text('The exit status is 0; 2 if nothing was changed.'),
  ],
}

/** The sections of the manual about configuration files. */
const STATUS_OF_ADMIN =
  'The exit status is 0; 1 if the server cannot be reached; 2 if it refuses, or the answer was no: nothing has changed then.'

const WHO: Section = {
  title: 'WHO',
  blocks: [
    code('overlayd who [--view VIEW] [--user USER] [--client ADDRESS] [--json]', 'overlayd top [--seconds N] [--once]'),
    text(
      '`who` lists the clients that are connected or were seen lately, the latest first: by which protocol, their addresses, users and views, connections and locks. Users are login names and owners of certificates; `uid N` is what an NFS client says or, without a login, as whom WebDAV acts.',
      '`top` shows the same with the throughput of the server, again every two seconds until Ctrl-C.',
    ),
    { kind: 'options', options: [...WHO_OPTIONS, ...TOP_OPTIONS.slice(0, 2)], joint: ' ' },
    text(STATUS_OF_ADMIN),
  ],
}

const KICK: Section = {
  title: 'KICK',
  blocks: [
    code('overlayd kick --client ADDRESS | --user USER [--yes] [--json]'),
    text(
      'Ends the connections of a client or user at once. With `--client` its NFS locks end too, with `--user` the sessions of browsers and the WebDAV locks; the password of the user is verified again at the next request. Nothing keeps them from coming back: NFS clients connect again by themselves. To keep somebody out, take away the account, the certificate or the export.',
    ),
    { kind: 'options', options: KICK_OPTIONS, joint: ' ' },
    text(STATUS_OF_ADMIN),
  ],
}

const LOCK: Section = {
  title: 'LOCK',
  blocks: [
    code(
      'overlayd lock list [--view VIEW] [--user USER] [--client ADDRESS] [--limit N] [--json]',
      'overlayd lock break ID [--yes] [--json]',
    ),
    text(
      '`list` shows the locks of WebDAV and NFS clients. NFS locks are on files by their number, as `ls -i` of a client shows it. `break` ends one, for example of a client that has gone without releasing it. The client is not told, so another one may change what the first believes to be locked.',
    ),
    { kind: 'options', options: LOCK_OPTIONS, joint: ' ' },
    code('find . -inum 281474976710661     # in a mount: the name of a file with an NFS lock'),
    text(STATUS_OF_ADMIN),
  ],
}

const QUOTA: Section = {
  title: 'QUOTA',
  blocks: [
    code(
      'overlayd quota show TEMPLATE/NAME | --user USER [--json]',
      'overlayd quota set TEMPLATE/NAME [--bytes SIZE] [--soft-bytes SIZE] [--files N] [--soft-files N] [--json]',
      'overlayd quota set TEMPLATE/NAME --inherit [--json]',
    ),
    text(
      '`show` prints what a view uses and may use, or a user in all views. `set` gives one view limits of its own in place of those of its template; limits that are not given stay. They apply at once to an open view that has a quota already, and otherwise when the view is opened next, and stay after a restart and a reload. `--inherit` takes them away. Views of templates with `upper = "ephemeral"` or `quota_by = "filesystem"` cannot have any.',
    ),
    { kind: 'options', options: QUOTA_OPTIONS, joint: ' ' },
    text(STATUS_OF_ADMIN),
  ],
}

const USAGE: Section = {
  title: 'USAGE',
  blocks: [
    code(
      'overlayd usage [TEMPLATE] [--limit N] [--count] [--json]',
      'overlayd usage TEMPLATE/NAME [--limit N] [--json]',
    ),
    text(
      'Prints the largest views, with the part of their limit that they use, and how much they have grown in a day, as far as the server has run and they were open. With a view it prints the largest paths of what was changed in it. Only uppers and frozen layers count, not what lies below. Ctrl-C cancels a long count.',
    ),
    { kind: 'options', options: USAGE_OPTIONS, joint: ' ' },
    text(STATUS_OF_ADMIN),
  ],
}

const JOB: Section = {
  title: 'JOB',
  blocks: [
    code('overlayd job list [--json]', 'overlayd job show ID [--json]', 'overlayd job cancel ID [--json]'),
    text(
      'Lists the long work that administrators have begun, shows how far it has come and what it came to (`--json`), and cancels it: it stops at its next safe place. See [admin.md](admin.md).',
    ),
    { kind: 'options', options: JOB_OPTIONS, joint: ' ' },
    text(STATUS_OF_ADMIN),
  ],
}

export const COMMAND_SECTIONS: readonly Section[] = [
  SERVE,
  CONFIG,
  INIT,
  RELOAD,
  CERT,
  VIEW,
  SNAPSHOT,
  RUN,
  REBASE,
  TRASH,
  DIFF,
  ...LAYER_SECTIONS,
  FSCK,
  WHO,
  KICK,
  LOCK,
  QUOTA,
  USAGE,
  JOB,
  USER,
  TOKEN,
  MACHINE,
  BOOT,
  IMAGE,
]
