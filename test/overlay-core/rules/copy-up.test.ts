import { execFileSync } from 'node:child_process'
import {
  chmodSync,
  closeSync,
  ftruncateSync,
  lchownSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Inode, mount, type Overlay, parseOptions } from '../../../overlay-core/index.ts'
import { setFaultPoints } from '../../../overlay-core/sys/fault.ts'
import { withKernelOverlay } from '../../helpers/kernel-mount.ts'
import { at, ROOT, withOverlay } from '../../helpers/overlay.ts'
import { mountStorage } from '../../helpers/storage.ts'

t.setTimeout(120_000)

const skip = process.getuid?.() === 0 ? false : 'needs root'
const TYPES = ['file', 'directory', 'symlink', 'fifo', 'device'] as const
type Type = (typeof TYPES)[number]
const PAST = 1_000_000_000

/** A change that needs the object in the upper: by the kernel on a path, and by overlay-core. */
interface Change {
  readonly name: string
  readonly types: readonly Type[]
  readonly kernel: (path: string) => void
  readonly ours: (overlay: Overlay, inode: Inode, dir: Inode, name: string) => unknown
}

const NO_SYMLINK = TYPES.filter((type) => type !== 'symlink')
const NO_DIRECTORY = TYPES.filter((type) => type !== 'directory')

const CHANGES: readonly Change[] = [
  {
    name: 'open',
    types: ['file'],
    kernel: (path) => closeSync(openSync(path, 'r+')),
    ours: async (overlay, inode) => (await overlay.open(ROOT, inode, { write: true })).close(),
  },
  {
    name: 'write',
    types: ['file'],
    kernel(path) {
      const fd = openSync(path, 'r+')
      writeSync(fd, 'written', 3)
      closeSync(fd)
    },
    ours: (overlay, inode) => overlay.write(ROOT, inode, Buffer.from('written'), 3, 'unstable'),
  },
  {
    name: 'truncate',
    types: ['file'],
    kernel: (path) => truncateSync(path, 5),
    ours: (overlay, inode) => overlay.setattr(ROOT, inode, { size: 5 }),
  },
  {
    name: 'chmod',
    types: NO_SYMLINK,
    kernel: (path) => chmodSync(path, 0o705),
    ours: (overlay, inode) => overlay.setattr(ROOT, inode, { mode: 0o705 }),
  },
  {
    name: 'chown',
    types: TYPES,
    kernel: (path) => lchownSync(path, 77, 88),
    ours: (overlay, inode) => overlay.setattr(ROOT, inode, { uid: 77, gid: 88 }),
  },
  {
    name: 'utimes',
    types: TYPES,
    kernel: (path) => lutimesSync(path, 1234, 5678),
    ours: (overlay, inode) =>
      overlay.setattr(ROOT, inode, { atime: { sec: 1234, nsec: 0 }, mtime: { sec: 5678, nsec: 0 } }),
  },
  {
    name: 'setxattr',
    types: TYPES,
    kernel: (path) => void execFileSync('setfattr', ['-h', '-n', 'trusted.set', '-v', 'v', path]),
    ours: (overlay, inode) => overlay.setxattr(ROOT, inode, 'trusted.set', Buffer.from('v')),
  },
  {
    name: 'link',
    types: NO_DIRECTORY,
    kernel: (path) => linkSync(path, `${path}.2`),
    ours: (overlay, inode, dir, name) => overlay.link(ROOT, inode, dir, `${name}.2`),
  },
  {
    name: 'rename',
    types: TYPES,
    kernel: (path) => renameSync(path, `${path}.2`),
    ours: (overlay, _inode, dir, name) => overlay.rename(ROOT, dir, name, dir, `${name}.2`),
  },
]

const CASES = CHANGES.flatMap((change) => change.types.map((type) => ({ change, name: `${change.name}-${type}` })))

/** An object with everything that an object can have: owner, mode, ACL, attributes, a hole, times to the nanosecond. */
function make(path: string, type: Type): void {
  if (type === 'directory') mkdirSync(path)
  else if (type === 'symlink') symlinkSync('to\tnowhere', path)
  else if (type === 'fifo') execFileSync('mkfifo', [path])
  else if (type === 'device') execFileSync('mknod', [path, 'c', '7', '300'])
  else {
    const fd = openSync(path, 'w')
    writeSync(fd, 'data')
    writeSync(fd, 'after a hole', 500_000)
    ftruncateSync(fd, 900_000)
    closeSync(fd)
  }
  lchownSync(path, 1000, 2000)
  execFileSync('setfattr', ['-h', '-n', 'trusted.below', '-v', 'kept', path])
  if (type !== 'symlink') chmodSync(path, type === 'file' ? 0o640 : 0o750)
  if (type === 'file') {
    execFileSync('setfattr', ['-n', 'user.colour', '-v', 'blue', path])
    execFileSync('setfacl', ['-m', 'u:1001:rw', path])
  }
  execFileSync('touch', ['-h', '-d', '@987654321.123456789', path])
}

/** Everything of the objects on disk, marks included: those that both sides must leave in the upper. */
function picture(dir: string): string[] {
  // Of directories size and link count are the file system's own affair.
  const format = '%P %y %m %U:%G %T@ links %n size %s to %l\\n'
  const objects = execFileSync('find', ['.', '-mindepth', '1', '-printf', format], { cwd: dir, encoding: 'latin1' })
  const lines = objects
    .trim()
    .split('\n')
    .map((line) => {
      const [, name, type, rest = ''] = /^(\S+) (\S) (.*)$/.exec(line) as RegExpExecArray
      const shown = rest.replace(/ (\d{10,}\.\d+) /, (_, time) => (Number(time) > PAST ? ' now ' : ` ${time} `))
      return `${name} ${type} ${type === 'd' ? shown.replace(/ links .*/, '') : shown}`
    })
  const xattrs = execFileSync('getfattr', ['-R', '-h', '-d', '-e', 'hex', '-m', '-', '.'], {
    cwd: dir,
    encoding: 'latin1',
  })
  // The kernel notes on the root which lower it was made over, and refuses others; here lowers may be exchanged.
  const marks = xattrs.split('\n\n').filter((object) => !object.startsWith('# file: .\n'))
  return [...lines.sort(), ...marks.sort()]
}

t.test(
  'copy-up at the first change of any kind leaves in the upper exactly what the kernel leaves there',
  { skip },
  async (t) => {
    const prepare = ([lower]: readonly string[]) => {
      const dir = join(lower as string, 'd/e')
      for (const { name } of CASES) make(join(dir, name), name.split('-')[1] as Type)
      for (const path of [dir, join(lower as string, 'd')]) lutimesSync(path, 900_000_000, 900_000_000)
    }
    await withOverlay(
      t,
      [{ 'd/': { mode: 0o2775 }, 'd/e/': { mode: 0o755 } }],
      async ({ overlay, dir, upper, lowers }) => {
        const theirs = { lower: lowers[0] as string, upper: join(dir, 'u'), work: join(dir, 'w') }
        mkdirSync(theirs.upper)
        mkdirSync(theirs.work)
        await withKernelOverlay(join(dir, 'merged'), theirs, () => {
          for (const { change, name } of CASES) change.kernel(join(dir, 'merged/d/e', name))
        })
        const parent = await at(overlay, 'd/e')
        for (const { change, name } of CASES) {
          await change.ours(overlay, await at(overlay, `d/e/${name}`), parent, name)
        }
        const ours = picture(upper)
        t.ok(ours.length > 60, `${ours.length} objects and lists of attributes`)
        t.same(ours, picture(theirs.upper))
        t.ok(statSync(join(upper, 'd/e/chmod-file')).blocks * 512 < 100_000, 'holes stay holes')
      },
      { prepare },
    )
  },
)

t.test('copy-up copies parents first, each once, and nothing else', { skip }, async (t) => {
  await withOverlay(
    t,
    [{ 'a/b/c/f': 'f', 'a/b/c/g': 'g', 'a/b/x/h': 'h', 'other/f': 'f' }],
    async ({ overlay, upper }) => {
      await overlay.setattr(ROOT, await at(overlay, 'a/b/c/f'), { mode: 0o600 })
      const found = execFileSync('find', ['.', '-mindepth', '1'], { cwd: upper, encoding: 'latin1' })
      t.same(found.trim().split('\n').sort(), ['./a', './a/b', './a/b/c', './a/b/c/f'])
    },
  )
})

const EOPNOTSUPP = 95
const EXDEV = 18

/** Runs `work` and tells which system calls were made; those in `failing` are not made and give that errno. */
async function watching(failing: Readonly<Record<string, number>>, work: () => Promise<unknown>): Promise<string[]> {
  const made: string[] = []
  setFaultPoints({
    before: (op) => {
      made.push(op)
      return failing[op] ?? 0
    },
    after: () => undefined,
  })
  try {
    await work()
  } finally {
    setFaultPoints(undefined)
  }
  return made
}

t.test('copy-up shares blocks if possible, otherwise lets the kernel copy, otherwise copies in chunks', async (t) => {
  const content = 'chunk'.repeat(60_000)
  await withOverlay(t, [{ one: content, two: content }], async ({ overlay, upper }) => {
    const copied = async (name: string, failing: Readonly<Record<string, number>>) => {
      const inode = await at(overlay, name)
      const made = await watching(failing, () => overlay.setattr(ROOT, inode, { mode: 0o600 }) as Promise<unknown>)
      t.equal(readFileSync(join(upper, name), 'latin1'), content, name)
      const copying = made.filter((op) => ['ficlone', 'copy_file_range', 'pread', 'pwrite'].includes(op))
      return [...new Set(copying)]
    }
    t.same(await copied('one', { ficlone: EOPNOTSUPP }), ['ficlone', 'copy_file_range'])
    // That these file systems cannot share blocks need not be asked again.
    const chunks = await copied('two', { ficlone: EOPNOTSUPP, copy_file_range: EXDEV })
    t.same(
      chunks.filter((op) => op !== 'ficlone'),
      ['copy_file_range', 'pread', 'pwrite'],
    )
  })
})

t.test(
  'copy-up on a file system that can share blocks shares them, needs no space, and syncs nothing',
  { skip },
  async (t) => {
    const disk = await mountStorage('xfs')
    t.teardown(() => disk.unmount())
    for (const name of ['l', 'u', 'w']) mkdirSync(join(disk.dir, name))
    writeFileSync(join(disk.dir, 'l/big'), Buffer.alloc(32 * 1024 * 1024, 'b'))
    const overlay = await mount(parseOptions(`lowerdir=${disk.dir}/l,upperdir=${disk.dir}/u,workdir=${disk.dir}/w`))
    try {
      await overlay.sync()
      const before = (await overlay.statfs()).freeBytes
      const inode = await at(overlay, 'big')
      const made = await watching(
        {},
        () => overlay.write(ROOT, inode, Buffer.from('B'), 0, 'unstable') as Promise<void>,
      )
      t.ok(made.includes('ficlone') && !made.includes('copy_file_range') && !made.includes('pread'))
      // As the kernel: the journal has the blocks before the name.
      t.notOk(made.includes('fsync'))
      await overlay.sync()
      const taken = before - (await overlay.statfs()).freeBytes
      t.ok(taken < 2 * 1024 * 1024, `${taken} bytes`)
      t.equal(statSync(join(disk.dir, 'u/big')).size, 32 * 1024 * 1024)
      t.equal(readFileSync(join(disk.dir, 'l/big'))[0], 98, 'the lower is as it was')
    } finally {
      await overlay.unmount()
    }
  },
)

t.test('copy-up makes data durable before the name: fsync=auto the data, strict all, volatile nothing', async (t) => {
  const fsyncs = { auto: [1, 0, 0], strict: [1, 1, 1], volatile: [0, 0, 0] }
  for (const [mode, [data, attributes, directory]] of Object.entries(fsyncs)) {
    const metacopy = mode === 'volatile' || process.getuid?.() !== 0 ? '' : ',metacopy=on'
    await withOverlay(
      t,
      [{ f: 'data', g: 'data', 'd/': '' }],
      async ({ overlay }) => {
        const counted = async (what: string, work: () => unknown) => {
          const made = await watching({}, async () => await work())
          const published = made.indexOf('renameat2')
          t.ok(published >= 0, what)
          t.notOk(made.includes('fsync', published), `${what}: none after the name`)
          return made.filter((op) => op === 'fsync').length
        }
        const [f, g, d] = [await at(overlay, 'f'), await at(overlay, 'g'), await at(overlay, 'd')]
        const write = () => overlay.write(ROOT, f, Buffer.from('D'), 0, 'unstable')
        t.equal(await counted(`${mode}: data`, write), data)
        const chmod = () => overlay.setattr(ROOT, g, { mode: 0o600 })
        if (metacopy) t.equal(await counted(`${mode}: attributes alone`, chmod), attributes)
        t.equal(await counted(`${mode}: a directory`, () => overlay.setattr(ROOT, d, { mode: 0o700 })), directory)
      },
      { options: `,fsync=${mode}${metacopy}` },
    )
  }
})

t.test('a copy-up is never partly visible: until it is done clients and layers show the old file', async (t) => {
  const content = 'x'.repeat(20 * 1024 * 1024)
  await withOverlay(t, [{ f: content }], async ({ overlay, upper }) => {
    const inode = await at(overlay, 'f')
    const states = new Set<string>()
    const look = () => {
      const stat = statSync(join(upper, 'f'), { throwIfNoEntry: false })
      states.add(stat === undefined ? 'absent' : `${stat.size} bytes, mode ${(stat.mode & 0o777).toString(8)}`)
      return 0
    }
    setFaultPoints({ before: look, after: look })
    t.teardown(() => setFaultPoints(undefined))
    let done = false
    const change = Promise.resolve(overlay.write(ROOT, inode, Buffer.from('NEW'), 0, 'unstable')).finally(() => {
      done = true
    })
    const seen = new Set<string>()
    const buffer = Buffer.alloc(4096)
    const file = await overlay.open(ROOT, inode, { read: true })
    while (!done) {
      // A read of what is in memory never waits: the copy gets its turn.
      await new Promise((resolve) => setImmediate(resolve))
      const position = content.length - 4096
      seen.add(`${await file.read(buffer, 0, 4096, position)} ${buffer.equals(Buffer.alloc(4096, 'x'))}`)
    }
    await change
    file.close()
    setFaultPoints(undefined)
    t.same([...states].sort(), ['20971520 bytes, mode 644', 'absent'])
    t.same([...seen], ['4096 true'])
  })
})
