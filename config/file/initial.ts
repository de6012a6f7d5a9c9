/** The parameters of the first configuration file. */
export interface InitialChoices {
  /** The addresses on which WebDAV and NFS listen. */
  readonly webdav: string
  readonly nfs: string
}

/** The text of the file that `overlayd init` writes: a working example of a course with a view for each user. */
export function initialConfig({ webdav, nfs }: InitialChoices): string {
  return `${[
    '# A course: one directory of material, which is never changed, and a view of it for each user, who can change everything there.',
    '# For all keys, see overlayd help config or overlayd.toml(5). Paths are relative to the directory of this file.',
    '# After a change, run overlayd config check overlayd.toml, then overlayd reload.',
    '',
    '[layers.material]',
    '# Users may do in their views what its modes allow: chmod -R a+rwX material allows everything.',
    'path = "material"',
    '',
    '[stacks.course]',
    'layers = ["material"]        # topmost first',
    '',
    '[views.course]',
    'stack = "course"',
    'upper = "per-user"           # "shared": one view for everybody',
    'directory = "views"          # a directory for each view, created when needed',
    'create = true                # the first mount or request of a user makes the view; otherwise overlayd view create',
    'idle = "60s"                 # a view that nobody uses is closed',
    '',
    '# http://HOST:PORT/course/~USER/',
    '[exports.web]',
    'view = "course"',
    'door = "webdav"',
    '',
    '# mount -t nfs -o vers=3 HOST:/course/USER /mnt',
    '[exports.nfs]',
    'view = "course"',
    'door = "nfs"',
    'clients = ["127.0.0.1(rw,root_squash)"]',
    '',
    '[webdav]',
    `listen = "${webdav}"`,
    '',
    '[nfs]',
    `listen = "${nfs}"`,
  ].join('\n')}\n`
}

/** The content of a first file in the material, so that there is something to see. */
export const WELCOME = 'Welcome to the course. This file is in the material; changes go to the upper of your view.\n'
