import { FileType } from '../../overlay-core/index.ts'
import { DEFAULT_ACL } from './layers.ts'
import { ALICE, ROOT, type Scenario } from './scenario.ts'

const target = Buffer.from('somewhere/else')

/**
 * The data comes into a metadata-only copy in its place, as in the kernel, so that its names and open files stay: meanwhile it has a new
 * time and, as it is written to, no capabilities. Until the last step its data is the lower's.
 */
const COMPLETION =
  /: (mtime: expected \S+, found now$|xattrs: expected (.*)security\.capability="[^"]*" ?(.*), found \2\3$)/

/** Copy-up of every kind of object. */
export const COPY_UP: readonly Scenario[] = [
  { name: 'copy-up: chmod of a file', steps: [(a) => a.chmod('file', 0o600)] },
  { name: 'copy-up: write to a file three directories down', steps: [(a) => a.write('dir/deep/leaf', 'DEEP')] },
  {
    name: 'copy-up: a sparse file with attributes, ACL and capabilities',
    steps: [(a) => a.chmod('rich', 0o700), (a) => a.write('rich', 'changed', 100_000)],
  },
  { name: 'copy-up: truncate', steps: [(a) => a.view.setattr(ROOT, 'rich', { size: 1000 })] },
  {
    name: 'copy-up: open with truncation',
    steps: [async (a) => (await a.overlay.open(ROOT, await a.at('file'), { write: true, truncate: true })).close()],
  },
  { name: 'copy-up: a directory', steps: [(a) => a.chmod('dir/empty', 0o700), (a) => a.chmod('merged', 0o711)] },
  {
    name: 'copy-up: a symlink, a fifo, a device',
    steps: [
      (a) => a.view.setattr(ROOT, 'symlink', { uid: 7, gid: 7 }),
      (a) => a.chmod('fifo', 0o600),
      (a) => a.chmod('device', 0o666),
    ],
  },
  {
    name: 'copy-up: of a directory with a default ACL',
    steps: [(a) => a.view.setxattr(ROOT, 'shared', 'user.x', Buffer.from('y')), (a) => a.create('shared/n', '', ALICE)],
  },
  {
    name: 'copy-up: without an index a hard link is separated',
    options: 'index=off',
    // A copy has one name, as in the kernel, also when the change that it was made for does not come.
    tolerates: /: links: /,
    steps: [(a) => a.write('hard/one', 'ONE'), (a) => a.unlink('hard/two'), (a) => a.rename('dir/three', 'dir/four')],
  },
]

export const METACOPY: readonly Scenario[] = [
  {
    name: 'metacopy: attributes first, then the data',
    options: 'metacopy=on',
    tolerates: COMPLETION,
    steps: [(a) => a.chmod('rich', 0o711), (a) => a.write('rich', 'completed', 10)],
  },
  {
    name: 'metacopy: renamed, linked and completed',
    options: 'metacopy=on',
    tolerates: COMPLETION,
    steps: [
      (a) => a.rename('file', 'merged/moved'),
      (a) => a.link('merged/moved', 'linked'),
      (a) => a.write('linked', 'X'),
      (a) => a.unlink('merged/moved'),
    ],
  },
  {
    name: 'metacopy: a hard link',
    options: 'metacopy=on',
    tolerates: COMPLETION,
    steps: [
      (a) => a.chmod('hard/one', 0o600),
      (a) => a.rename('hard/two', 'hard/renamed'),
      (a) => a.write('dir/three', 'DATA'),
      (a) => a.unlink('hard/one'),
    ],
  },
  {
    name: 'metacopy: exchanged and replaced by PUT',
    options: 'metacopy=on',
    tolerates: COMPLETION,
    setup: (a) => a.chmod('file', 0o611),
    steps: [(a) => a.rename('file', 'rich', 'exchange'), (a) => a.put('file', 'whole'), (a) => a.put('rich', 'too')],
  },
]

/** New objects at names that were never taken, that a whiteout covers, and in directories that pass things on. */
export const CREATE: readonly Scenario[] = [
  {
    name: 'create: in the root, a lower and a merged directory',
    steps: [
      (a) => a.create('new'),
      (a) => a.create('dir/deep/new'),
      (a) => a.write('dir/deep/new', 'content'),
      (a) => a.create('merged/new', '', ALICE),
    ],
  },
  {
    name: 'create: with owner, size and times',
    steps: [
      async (a) => {
        const times = { atime: { sec: 5, nsec: 6 }, mtime: { sec: 7, nsec: 8 } }
        await a.overlay.create(ROOT, a.overlay.root, 'made', { mode: 0o4755, uid: 5, gid: 6, size: 4096, ...times })
      },
    ],
  },
  {
    name: 'create: over a whiteout',
    setup: (a) => a.unlink('file'),
    steps: [(a) => a.create('file'), (a) => a.create('gone')],
  },
  {
    name: 'create: again and again',
    steps: [(a) => a.create('x'), (a) => a.unlink('x'), (a) => a.create('x'), (a) => a.unlink('x')],
  },
  {
    name: 'create: where owner and ACL are inherited',
    steps: [
      (a) => a.create('shared/file', '', ALICE),
      (a) => a.mkdir('shared/dir'),
      (a) => a.view.mknod(ROOT, 'shared/fifo', FileType.fifo, 0o622, 0, 0),
    ],
  },
  {
    name: 'mkdir: new, over a whiteout, over a removed lower directory',
    setup: async (a) => {
      await a.unlink('file')
      await a.removeTree('dir')
    },
    steps: [(a) => a.mkdir('new'), (a) => a.mkdir('file', 0o700), (a) => a.mkdir('dir'), (a) => a.mkdir('merged/new')],
  },
  {
    name: 'symlink: new and over a whiteout',
    setup: (a) => a.unlink('plain'),
    steps: [
      (a) => a.view.symlink(ROOT, 'dir/link', String(target)),
      (a) => a.view.symlink(ROOT, 'plain', String(target)),
    ],
  },
  {
    name: 'mknod: new and over a whiteout',
    setup: (a) => a.unlink('plain'),
    steps: [
      (a) => a.view.mknod(ROOT, 'other/fifo', FileType.fifo, 0o644, 0, 0),
      (a) => a.view.mknod(ROOT, 'plain', FileType.character, 0o600, 1, 3),
    ],
  },
]

/** Attributes of objects that are in the upper already. */
export const ATTRIBUTES: readonly Scenario[] = [
  {
    name: 'setattr: one at a time',
    setup: (a) => a.create('new', 'content'),
    steps: [
      (a) => a.chmod('new', 0o600),
      (a) => a.view.setattr(ROOT, 'new', { uid: 9 }),
      (a) => a.view.setattr(ROOT, 'new', { size: 3, mtime: { sec: 1, nsec: 2 } }),
      (a) => a.view.setattr(ROOT, 'new', { atime: { sec: 3, nsec: 4 }, mtime: { sec: 5, nsec: 6 } }),
    ],
    between: { 2: [(a) => a.view.setattr(ROOT, 'new', { size: 3 })] },
  },
  {
    name: 'setattr: owner, mode and times in one',
    setup: (a) => a.create('new', 'content'),
    steps: [(a) => a.view.setattr(ROOT, 'new', { uid: 1, gid: 2, mode: 0o4711, mtime: { sec: 1, nsec: 2 } })],
    between: {
      0: [
        (a) => a.view.setattr(ROOT, 'new', { uid: 1, gid: 2 }),
        (a) => a.view.setattr(ROOT, 'new', { uid: 1, gid: 2, mode: 0o4711 }),
      ],
    },
  },
  {
    name: 'xattr: set, replaced, removed, ACL, note',
    setup: (a) => a.create('new', 'content'),
    steps: [
      (a) => a.view.setxattr(ROOT, 'new', 'user.a', Buffer.from('1')),
      (a) => a.view.setxattr(ROOT, 'rich', 'user.note', Buffer.from('2')),
      (a) => a.view.removexattr(ROOT, 'rich', 'user.note'),
      (a) => a.view.setxattr(ROOT, 'dir', 'system.posix_acl_default', DEFAULT_ACL),
      (a) => a.view.removexattr(ROOT, 'shared', 'system.posix_acl_default'),
      async (a) => await a.overlay.setProtocolData(ROOT, await a.at('plain'), 'dav', Buffer.from('<x/>')),
      async (a) => await a.overlay.setProtocolData(ROOT, await a.at('plain'), 'dav', undefined),
    ],
  },
  {
    name: 'write: by an ordinary user takes setuid away',
    setup: (a) => a.chmod('plain', 0o6775),
    steps: [async (a) => await a.overlay.write(ALICE, await a.at('plain'), Buffer.from('W'), 0, 'file')],
    between: { 0: [(a) => a.chmod('plain', 0o775)] },
  },
]
