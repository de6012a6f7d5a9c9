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
  const owner = as === undefined ? [] : ['# The owner of a new upper.', `owner = "${as}"`]
  const user = as === undefined ? [] : ['# All clients act as this user, because there is no login.', `as = "${as}"`]
  return `${[
    '# A course over one directory of material, which is never changed. For all keys, see overlayd help config or overlayd.toml(5).',
    '# Paths are relative to the directory of this file. After a change, run overlayd config check overlayd.toml.',
    '',
    '[layers.material]',
    'path = "material"',
    '',
    '[stacks.course]',
    'layers = ["material"]        # topmost first',
    '',
    '[views.course]',
    'stack = "course"',
    '# One upper for everybody. An upper for each user (upper = "per-user") is not supported yet.',
    'upper = "shared"',
    'directory = "views/course"   # created at startup',
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
export const WELCOME = 'Welcome to the course. This file is in the material; changes go to the upper of the view.\n'
