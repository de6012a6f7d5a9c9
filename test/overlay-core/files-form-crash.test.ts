import { execFileSync } from 'node:child_process'
import { mkdirSync, readdirSync } from 'node:fs'
import { basename, join } from 'node:path'
import t from 'tap'
import { FileType, mount, type Overlay, parseOptions } from '../../overlay-core/index.ts'
import { setFaultPoints } from '../../overlay-core/sys/fault.ts'
import { at, type Fixture, list, ROOT, type Tree, text, withOverlay } from '../helpers/overlay.ts'

// Each of hundreds of disks is mounted.
t.setTimeout(120_000)
const MODE = { mode: 0o755 }
const CHANGES_DISK = new Set(['renameat2', 'unlinkat', 'mknodat', 'linkat', 'mkdirat', 'setxattr', 'pwrite'])
const O_CREAT = 0o100

/** Whether the disk can be another one after this system call. */
function changesDisk(op: string, args: readonly unknown[]): boolean {
  if (op !== 'openat2') return CHANGES_DISK.has(op)
  const how = args[3]
  return how instanceof Uint32Array && ((how[0] ?? 0) & O_CREAT) !== 0
}

/** A change of several steps in an overlay that `prepare` has brought so far. */
interface Change {
  readonly what: string
  readonly prepare?: (overlay: Overlay) => Promise<void>
  readonly make: (overlay: Overlay) => Promise<unknown>
}

const LOWER: Tree = { file: 'lower', other: 'other', 'd/a': '1', 'd/b': '2', 'e/c': '3', 'e/d': '4', 'f/g/h': '5' }

const CHANGES: readonly Change[] = [
  { what: 'unlink of a lower file', make: async (overlay) => await overlay.unlink(ROOT, overlay.root, 'file') },
  {
    what: 'unlink of a copied-up file',
    prepare: async (overlay) => void (await overlay.setattr(ROOT, await at(overlay, 'file'), { mode: 0o600 })),
    make: async (overlay) => await overlay.unlink(ROOT, overlay.root, 'file'),
  },
  {
    what: 'rmdir of a merged directory that holds whiteouts',
    prepare: (overlay) => emptied(overlay, 'd'),
    make: (overlay) => overlay.rmdir(ROOT, overlay.root, 'd'),
  },
  {
    what: 'create over a whiteout',
    prepare: async (overlay) => await overlay.unlink(ROOT, overlay.root, 'file'),
    make: async (overlay) => await overlay.create(ROOT, overlay.root, 'file', MODE),
  },
  {
    what: 'mkdir over a whiteout',
    prepare: (overlay) => removed(overlay, 'd'),
    make: (overlay) => overlay.mkdir(ROOT, overlay.root, 'd', MODE),
  },
  {
    what: 'link over a whiteout',
    prepare: async (overlay) => {
      await overlay.create(ROOT, overlay.root, 'new', MODE)
      await overlay.unlink(ROOT, overlay.root, 'file')
    },
    make: async (overlay) => overlay.link(ROOT, await at(overlay, 'new'), overlay.root, 'file'),
  },
  {
    what: 'publish over a whiteout',
    prepare: async (overlay) => await overlay.unlink(ROOT, overlay.root, 'file'),
    make: async (overlay) => {
      const staged = await overlay.stage(ROOT)
      await staged.append([Buffer.from('staged')])
      await staged.publish({ dir: overlay.root, name: 'file', mode: 0o644, durable: false })
    },
  },
  {
    what: 'rename of a lower file to a new name',
    make: (overlay) => overlay.rename(ROOT, overlay.root, 'file', overlay.root, 'new'),
  },
  {
    what: 'rename of a lower file over another',
    make: async (overlay) => overlay.rename(ROOT, overlay.root, 'file', await at(overlay, 'd'), 'a'),
  },
  {
    what: 'rename of a lower file over a whiteout',
    prepare: async (overlay) => overlay.unlink(ROOT, await at(overlay, 'd'), 'a'),
    make: async (overlay) => overlay.rename(ROOT, overlay.root, 'file', await at(overlay, 'd'), 'a'),
  },
  {
    what: 'rename of a merged directory',
    make: (overlay) => overlay.rename(ROOT, overlay.root, 'f', overlay.root, 'moved'),
  },
  {
    what: 'rename of a directory over the whiteout of one',
    prepare: (overlay) => removed(overlay, 'd'),
    make: (overlay) => overlay.rename(ROOT, overlay.root, 'f', overlay.root, 'd'),
  },
  {
    what: 'rename of a directory over one that shows nothing',
    prepare: (overlay) => emptied(overlay, 'd'),
    make: (overlay) => overlay.rename(ROOT, overlay.root, 'f', overlay.root, 'd'),
  },
  {
    what: 'exchange of a file and a directory',
    make: (overlay) => overlay.rename(ROOT, overlay.root, 'file', overlay.root, 'f', { exchange: true }),
  },
]

async function emptied(overlay: Overlay, path: string): Promise<void> {
  for (const name of await list(overlay, path)) await overlay.unlink(ROOT, await at(overlay, path), name)
}

async function removed(overlay: Overlay, path: string): Promise<void> {
  await emptied(overlay, path)
  await overlay.rmdir(ROOT, overlay.root, path)
}

/** All that a client can see: paths, and what is in the files. */
async function view(overlay: Overlay, path = ''): Promise<string[]> {
  const lines: string[] = []
  for (const name of await list(overlay, path)) {
    const below = join(path, name)
    const directory = (await at(overlay, below)).type === FileType.directory
    lines.push(directory ? `${below}/` : `${below}=${await text(overlay, below)}`)
    if (directory) lines.push(...(await view(overlay, below)))
  }
  return lines
}

/** The whiteouts that stand beside an object of the same name, in a tree on disk. */
function doubled(dir: string): string[] {
  const names = readdirSync(dir, { withFileTypes: true })
  const here = names.filter(({ name }) => names.some((other) => other.name === `.wh.${name}`)).map(({ name }) => name)
  return [...here, ...names.filter((entry) => entry.isDirectory()).flatMap((entry) => doubled(join(dir, entry.name)))]
}

/** Makes the change; the disk as it is after each system call, which is what a crash would leave there, is copied. */
async function copiesDuring(fixture: Fixture, make: () => Promise<unknown>): Promise<string[]> {
  const copies: string[] = []
  setFaultPoints({
    before: () => 0,
    after: (op, args) => {
      if (!changesDisk(op, args)) return
      const copy = join(fixture.dir, `crash${copies.length}`)
      mkdirSync(copy)
      execFileSync('cp', ['-a', fixture.upper, fixture.work, copy])
      copies.push(copy)
    },
  })
  try {
    await make()
  } finally {
    setFaultPoints(undefined)
  }
  return copies
}

for (const { what, prepare, make } of CHANGES) {
  t.test(`a crash anywhere in ${what} leaves the tree from before or after, and mount clears up`, async (t) => {
    await withOverlay(
      t,
      [LOWER],
      async (fixture) => {
        const { overlay } = fixture
        await prepare?.(overlay)
        const before = await view(overlay)
        const copies = await copiesDuring(fixture, () => make(overlay))
        const after = await view(overlay)
        t.strictNotSame(after, before)
        t.ok(copies.length >= 2)
        for (const copy of copies) {
          const [upper, work] = [join(copy, basename(fixture.upper)), join(copy, basename(fixture.work))]
          const options = `lowerdir=${fixture.lowers[0]},upperdir=${upper},workdir=${work}`
          const again = await mount(parseOptions(options))
          const seen = await view(again)
          await again.unmount()
          const same = (tree: string[]) => JSON.stringify(tree) === JSON.stringify(seen)
          t.ok(same(before) || same(after), `${basename(copy)}: ${seen.join(' ')}`)
          t.same(doubled(upper), [], basename(copy))
          t.same(readdirSync(join(work, 'work')), [], basename(copy))
        }
      },
      { options: ',whiteouts=files' },
    )
  })
}
