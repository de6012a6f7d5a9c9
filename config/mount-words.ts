import type { WordSpec } from './schema.ts'

/** The options inside `-o`, for the manual; overlay-core parses them. */
export const OVERLAY_OPTIONS: readonly WordSpec[] = [
  {
    name: 'lowerdir',
    value: 'DIR[:DIR…][::DIR…]',
    meaning:
      'The directories to show, topmost first. They are only read. Directories after `::` are data-only layers, which hold nothing but the data of metadata-only files. A backslash before `,`, `:` or `\\` makes it part of a path.',
  },
  {
    name: 'lowerdir+',
    value: 'DIR',
    meaning: 'Adds one layer below the layers given before. Colons in its path need no backslash.',
  },
  { name: 'datadir+', value: 'DIR', meaning: 'Adds one data-only layer. Colons in its path need no backslash.' },
  {
    name: 'upperdir',
    value: 'DIR',
    meaning: 'The directory that takes every change. Without it the overlay is read-only.',
  },
  {
    name: 'workdir',
    value: 'DIR',
    meaning:
      'A directory on the file system of `upperdir` for the private use of the server. Must be empty, or the work directory of an earlier mount. Required with `upperdir`.',
  },
  {
    name: 'redirect_dir',
    value: 'on|follow|nofollow|off',
    meaning:
      'Whether a directory that exists in a lower can be renamed. `on`: it can. `follow`, `off`: the rename fails with EXDEV, so `mv` copies instead; earlier renames are followed. `nofollow`: earlier renames are not followed either and fail with EPERM.',
    default: 'on',
  },
  { name: 'index', value: 'on|off', meaning: 'Whether hard links stay linked through copy-up.', default: 'on' },
  {
    name: 'metacopy',
    value: 'on|off',
    meaning:
      'Whether a change of attributes copies up only the attributes. Requires `redirect_dir=on`, and cannot be combined with `userxattr`.',
    default: 'off',
    otherwise: '`on` with data-only layers',
  },
  {
    name: 'xino',
    value: 'on|auto|off',
    meaning: 'Whether layers on several file systems share one range of unique file ids.',
    default: 'on',
  },
  {
    name: 'userxattr',
    meaning: "Keeps the overlay's attributes as `user.overlay.*` instead of `trusted.overlay.*`.",
    otherwise: 'on unless root runs the server',
  },
  {
    name: 'whiteouts',
    value: 'auto|device|files',
    meaning:
      'How the upper records that a name is deleted. `device`: like the kernel. `files`: as a file `.wh.NAME`, like OCI layers and fuse-overlayfs; clients then cannot see or create names that start with `.wh.`. `auto`: `device` if the storage supports it. The choice is made and recorded at the first mount.',
    default: 'auto',
  },
  {
    name: 'lower_whiteouts',
    value: 'auto|files',
    meaning:
      'Whether a file `.wh.NAME` in a lower hides `NAME`. `auto`: only in a lower that was once an overlayd upper with `whiteouts=files`. `files`: in every lower, as in unpacked OCI layers.',
    default: 'auto',
  },
  {
    name: 'fsync',
    value: 'auto|strict|volatile',
    meaning:
      'When a copy-up is made durable. `auto`: its data is on disk before the copy becomes visible. `strict`: copied attributes too. `volatile`: nothing is synced, and the upper must be deleted after a crash.',
    default: 'auto',
  },
  { name: 'volatile', meaning: 'The same as `fsync=volatile`.' },
  {
    name: 'revalidate',
    value: 'never|always|SECONDS',
    unit: 'seconds, from 1 to 86400',
    meaning:
      'How often to check for changes to a lower while it is served. See [LOWERS THAT CHANGE](#lowers-that-change). With a number, at most once in that many seconds.',
    default: 'never',
  },
  {
    name: 'uuid',
    value: 'on|auto|null|off',
    meaning: 'Whether the upper keeps its own UUID, in `overlay.uuid`.',
    default: 'auto',
  },
  { name: 'ro', meaning: 'Serves the upper as the topmost lower. Nothing is written.' },
  { name: 'rw', meaning: 'Allows changes, which is the default. For `overlayd remount`.' },
  { name: 'nfs_export', value: 'on|off', meaning: 'Accepted and ignored. File handles always work.' },
  { name: 'verity', value: 'off', meaning: 'Accepted and ignored. fs-verity digests are not checked.' },
]

/** The clients before the parentheses of `--export`; protocols/nfs parses them. */
export const EXPORT_CLIENTS: readonly WordSpec[] = [
  { name: 'ADDRESS', meaning: 'One host, such as `192.0.2.7` or `2001:db8::7`.' },
  {
    name: 'NETWORK',
    meaning: 'A network, such as `192.0.2.0/24`, `192.0.2.0/255.255.255.0` or `2001:db8::/32`.',
  },
  {
    name: 'HOST',
    meaning: 'The addresses of a host, such as `build7.example.com`. Looked up at startup and every five minutes.',
  },
  { name: '*', meaning: 'Every host.' },
]

/** The options inside the parentheses of `--export`. */
export const EXPORT_OPTIONS: readonly WordSpec[] = [
  { name: 'rw', meaning: 'The client may change files.' },
  { name: 'ro', meaning: 'The client may only read. The default.' },
  { name: 'root_squash', meaning: "The client's root acts as the anonymous user. The default." },
  { name: 'no_root_squash', meaning: "The client's root acts as root." },
  { name: 'all_squash', meaning: 'Every user acts as the anonymous user.' },
  {
    name: 'owner_squash',
    meaning:
      'Every user acts as the owner of the view, in views of users and machines. For machines whose user ids are not those of the server. Each of them can then use the views of all users; see [users](users.md#over-nfs).',
  },
  { name: 'anonuid', value: 'UID', meaning: 'The user id of the anonymous user.', default: '65534' },
  { name: 'anongid', value: 'GID', meaning: 'The group id of the anonymous user.', default: '65534' },
  {
    name: 'secure',
    meaning: 'Accepts only ports below 1024, which only root can use on a client. The default.',
  },
  { name: 'insecure', meaning: 'Accepts every port.' },
  {
    name: 'xprtsec',
    value: 'none[:tls[:mtls]]',
    meaning:
      'How connections must be protected. `none`: clear text. `tls`: encrypted. `mtls`: encrypted, with a client certificate that names a user or machine; it also satisfies `tls`. Several are joined with colons. A user with a certificate acts as that user whatever the client claims, from any port. MNT is answered in clear text too, because Linux sends it so, but the handle opens nothing without that protection. See [tls.md](tls.md).',
    otherwise: '`tls:mtls` if the server has a certificate and the client is another machine, else `none:tls:mtls`',
  },
  {
    name: 'secure_locks',
    meaning: 'Lock calls need the protection that `xprtsec` wants. The default. Also `auth_nlm`.',
  },
  {
    name: 'insecure_locks',
    meaning:
      'Lock calls may come in clear text although `xprtsec` wants encryption. Linux sends them so on every mount without `nolock`. Everybody on the way can then take and release locks of the clients that lock so, but reads and changes no file. Also `no_auth_nlm`. See [tls.md](tls.md#locks).',
  },
  { name: 'sync', meaning: 'Replies after changes and data are on disk. The default.' },
  {
    name: 'async',
    meaning:
      'Replies before changes and data are on disk. Faster, but the last changes are lost if the machine crashes; see [durability](durability.md).',
  },
]
