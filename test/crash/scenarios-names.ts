import { type Actor, ROOT, type Scenario } from './scenario.ts'

/** A client has the handle of what is at `path`: it leads there from now on, as long as a name is left. */
async function promise(a: Actor, path: string): Promise<void> {
  const inode = await a.at(path)
  a.overlay.retain(inode)
  await a.overlay.retained()
  a.promised(inode.key, inode.generation)
}

/** Names that go. */
export const REMOVE: readonly Scenario[] = [
  { name: 'unlink: a lower file', steps: [(a) => a.unlink('file'), (a) => a.unlink('merged/low1')] },
  {
    name: 'unlink: a copied-up and an upper file',
    setup: async (a) => {
      await a.chmod('file', 0o600)
      await a.create('new', 'n')
    },
    steps: [(a) => a.unlink('file'), (a) => a.unlink('new')],
  },
  {
    name: 'unlink: hard links one after the other',
    steps: ['hard/one', 'dir/three', 'hard/two'].map((path) => (a) => a.unlink(path)),
  },
  {
    name: 'unlink: of copied-up hard links one after the other',
    setup: (a) => a.write('hard/one', 'ONE'),
    steps: ['hard/two', 'hard/one', 'dir/three'].map((path) => (a) => a.unlink(path)),
  },
  {
    name: 'unlink and rename: the one known name of an upper hard link, whose handle leads to the others',
    mounts: 'again',
    setup: async (a) => {
      for (const name of ['pair', 'couple']) {
        await a.create(name, name)
        await a.link(name, `dir/${name}`)
      }
      await a.create('fresh', 'f')
    },
    steps: [
      async (a) => {
        await promise(a, 'pair')
        await a.unlink('pair')
      },
      async (a) => {
        await promise(a, 'couple')
        await a.rename('fresh', 'couple')
      },
    ],
  },
  {
    name: 'rmdir: lower, merged with whiteouts, upper',
    setup: async (a) => {
      await a.unlink('merged/low0', 'merged/low1')
      await a.removeTree('merged/sub')
      await a.mkdir('mine')
    },
    steps: ['dir/empty', 'merged', 'mine'].map((path) => (a) => a.rmdir(path)),
  },
  {
    name: 'rmdir: an opaque directory and one with whiteouts that cover nothing',
    setup: async (a) => {
      await a.removeTree('other')
      await a.mkdir('other')
      await a.rename('merged', 'shifted')
      await a.unlink('shifted/low0', 'shifted/low1')
      await a.removeTree('shifted/sub')
    },
    steps: [(a) => a.rmdir('other'), (a) => a.rmdir('shifted')],
  },
]

/** Names that change. */
export const RENAME: readonly Scenario[] = [
  {
    name: 'rename: a lower file, in its directory, to another, and back',
    steps: [
      (a) => a.rename('file', 'moved'),
      (a) => a.rename('moved', 'dir/moved'),
      (a) => a.rename('dir/moved', 'file'),
    ],
  },
  {
    name: 'rename: an upper file onto upper, lower and whiteout',
    setup: async (a) => {
      await a.create('a', 'A')
      await a.create('b', 'B')
      await a.unlink('plain')
    },
    steps: [(a) => a.rename('a', 'b'), (a) => a.rename('b', 'merged/low1'), (a) => a.rename('merged/low1', 'plain')],
  },
  {
    name: 'rename: a lower file onto a lower one',
    steps: [(a) => a.rename('merged/low0', 'merged/low1'), (a) => a.rename('file', 'dir/top')],
  },
  {
    name: 'rename: hard links',
    steps: [
      (a) => a.rename('hard/one', 'hard/uno'),
      (a) => a.rename('hard/two', 'other/o'),
      (a) => a.rename('plain', 'hard/uno'),
      (a) => a.rename('other/o', 'dir/three'),
    ],
  },
  {
    name: 'rename: a copied-up file replaces the last name of an indexed one',
    setup: async (a) => {
      await a.write('hard/pair', 'PAIR')
      await a.unlink('other/pair')
      await a.chmod('plain', 0o600)
    },
    steps: [(a) => a.rename('plain', 'hard/pair')],
  },
  {
    name: 'rename: a lower directory, in its place and elsewhere',
    steps: [
      (a) => a.rename('dir', 'renamed'),
      (a) => a.rename('renamed', 'other/renamed'),
      (a) => a.rename('other/renamed', 'dir'),
    ],
  },
  {
    name: 'rename: a merged directory with changes below',
    setup: async (a) => {
      await a.create('merged/sub/new', 'N')
      await a.unlink('merged/low0')
    },
    steps: [
      (a) => a.rename('merged', 'dir/merged'),
      (a) => a.rename('dir/merged/sub', 'sub'),
      (a) => a.rename('dir', 'moved'),
    ],
  },
  {
    name: 'rename: an upper directory onto a whiteout and into a merged directory',
    setup: async (a) => {
      await a.mkdir('mine')
      await a.create('mine/f', 'F')
      await a.removeTree('other')
    },
    steps: [(a) => a.rename('mine', 'other'), (a) => a.rename('other', 'merged/other')],
  },
  {
    name: 'rename: directories onto empty ones',
    setup: async (a) => {
      await a.unlink('other/o', 'other/pair')
      await a.mkdir('mine')
      await a.mkdir('mine/below')
    },
    steps: [(a) => a.rename('merged', 'other'), (a) => a.rename('mine', 'dir/empty'), (a) => a.rename('dir', 'fresh')],
  },
  {
    name: 'rename: exchange of files',
    setup: (a) => a.create('new', 'N'),
    steps: [
      (a) => a.rename('file', 'merged/low1', 'exchange'),
      (a) => a.rename('new', 'plain', 'exchange'),
      (a) => a.rename('hard/one', 'dir/top', 'exchange'),
    ],
  },
  {
    name: 'rename: exchange of directories and of a directory with a file',
    steps: [(a) => a.rename('dir', 'merged', 'exchange'), (a) => a.rename('dir/sub', 'file', 'exchange')],
  },
  {
    name: 'rename: without replacing',
    setup: (a) => a.unlink('plain'),
    steps: [(a) => a.rename('file', 'free', 'noReplace'), (a) => a.rename('free', 'plain', 'noReplace')],
  },
  {
    name: 'rename: special files and symlinks',
    steps: [(a) => a.rename('symlink', 'dir/s'), (a) => a.rename('fifo', 'symlink'), (a) => a.rename('device', 'fifo')],
  },
]

export const LINK: readonly Scenario[] = [
  {
    name: 'link: of lower and upper objects, new and over a whiteout',
    setup: (a) => a.unlink('plain'),
    steps: [
      (a) => a.link('file', 'dir/linked'),
      (a) => a.link('dir/linked', 'plain'),
      (a) => a.link('symlink', 'other/s'),
      (a) => a.unlink('file'),
    ],
  },
  {
    name: 'link: a further name of lower hard links',
    steps: [
      (a) => a.link('hard/one', 'hard/more'),
      (a) => a.link('hard/pair', 'merged/pair'),
      (a) => a.unlink('hard/one'),
      (a) => a.unlink('hard/pair'),
      (a) => a.unlink('other/pair'),
      (a) => a.unlink('merged/pair'),
    ],
  },
  {
    name: 'hard links: written through one name, seen at all',
    steps: [(a) => a.write('hard/two', 'TWO'), (a) => a.chmod('hard/one', 0o600), (a) => a.write('dir/three', '3', 5)],
  },
]

/** Files built aside (PUT). */
export const STAGED: readonly Scenario[] = [
  {
    name: 'publish: new, durable and not',
    steps: [(a) => a.put('put', 'P'.repeat(5000)), (a) => a.put('dir/deep/put', 'q', false)],
  },
  {
    name: 'publish: replaces a lower, an upper and a rich file',
    setup: (a) => a.create('new', 'before'),
    steps: [(a) => a.put('plain', 'PLAIN'), (a) => a.put('new', 'after'), (a) => a.put('rich', 'not so rich')],
  },
  {
    name: 'publish: replaces hard links',
    steps: [(a) => a.put('hard/one', 'alone'), (a) => a.put('hard/pair', '1'), (a) => a.put('other/pair', '2')],
  },
  {
    name: 'publish: into hard links',
    setup: (a) => a.create('new', 'before').then(() => a.link('new', 'newer')),
    steps: [
      (a) => a.putInto('hard/one', 'both'),
      (a) => a.putInto('new', 'n'),
      (a) => a.putInto('newer', 'longer than before'),
    ],
  },
  {
    name: 'publish: over whiteouts',
    setup: (a) => a.unlink('plain'),
    steps: [(a) => a.put('plain', 'again'), (a) => a.put('gone', 'is here')],
  },
  {
    name: 'publish: given up',
    steps: [
      async (a) => {
        const staged = await a.overlay.stage(ROOT)
        try {
          await staged.append([Buffer.from('never seen')])
        } finally {
          await staged.discard()
        }
        await a.overlay.commit(ROOT, await a.at('dir'))
      },
    ],
  },
]
