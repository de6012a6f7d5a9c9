/** The parameters of the first configuration file. */
export interface InitialChoices {
  /** The addresses on which WebDAV and NFS listen. */
  readonly webdav: string
  readonly nfs: string
  /** The user that clients act as, `UID:GID`; undefined for the server's own user. */
  readonly as: string | undefined
}

/** The text of the file that `overlayd init` writes: a working example of a course. */
export function initialConfig({ webdav, nfs, as }: InitialChoices): string {
  const owner = as === undefined ? [] : ['# Whom a new upper belongs to.', `owner = "${as}"`]
  const user = as === undefined ? [] : ['# Everybody acts as this user, as there is no login.', `as = "${as}"`]
  return `${[
    '# A course over one directory of material, which stays as it is. Every key: overlayd help config, overlayd.toml(5).',
    '# Relative paths start at the directory of this file. After a change: overlayd config check overlayd.toml',
    '',
    '[layers.material]',
    'path = "material"',
    '',
    '[stacks.course]',
    'layers = ["material"]        # topmost first',
    '',
    '[views.course]',
    'stack = "course"',
    '# One upper for everybody. An upper for each user (upper = "per-user") is not in this version yet.',
    'upper = "shared"',
    'directory = "views/course"   # created at the start',
    ...owner,
    '',
    '[exports.web]',
    'view = "course"',
    'door = "webdav"',
    ...user,
    '',
    '[exports.nfs]',
    'view = "course"',
    'door = "nfs"',
    'clients = ["127.0.0.1(rw,root_squash)"]',
    ...user,
    '',
    '[webdav]',
    `listen = "${webdav}"`,
    '',
    '[nfs]',
    `listen = "${nfs}"`,
    '',
    '[server]',
    'state_dir = "state"',
  ].join('\n')}\n`
}

/** The content of a first file in the material, so that there is something to see. */
export const WELCOME = 'Welcome to the course. This file lies in the material; changes go to the upper of the view.\n'
