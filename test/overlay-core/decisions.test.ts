import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { type Cred, type Inode, type Overlay, OverlayError } from '../../overlay-core/index.ts'
import { Random } from '../differential/random.ts'
import { asUser, type Step } from '../helpers/as-user.ts'
import { withKernelOverlay } from '../helpers/kernel-mount.ts'
import { at, errnoOf, ROOT, withOverlay } from '../helpers/overlay.ts'

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'
t.setTimeout(120_000)
const CASES = 600

const CALLERS: readonly Cred[] = [
  ROOT,
  { uid: 1000, gid: 1000, groups: [2000] },
  { uid: 1001, gid: 1001, groups: [] },
  { uid: 1002, gid: 2000, groups: [3000] },
]
const OWNERS = [0, 1000, 1001, 4242]
const GROUPS = [0, 1000, 2000, 3000]

/** A call in the directory of a case, which holds the files `f` and `g` and the directory `s`. */
interface Call {
  readonly name: string
  readonly kernel: (dir: string) => Step
  readonly ours: (overlay: Overlay, cred: Cred, dir: Inode) => unknown
}

async function child(overlay: Overlay, cred: Cred, dir: Inode, name: string): Promise<Inode> {
  const inode = await overlay.lookup(cred, dir, name)
  if (!inode) throw new OverlayError('ENOENT', 'lookup', name)
  return inode
}

/** A change of the attributes of `f`. */
function onFile(name: string, step: (path: string) => Step, change: Parameters<Overlay['setattr']>[2]): Call {
  return {
    name,
    kernel: (dir) => step(`${dir}/f`),
    ours: async (overlay, cred, dir) => overlay.setattr(cred, await child(overlay, cred, dir, 'f'), change),
  }
}

function opening(name: string, how: { read?: boolean; write?: boolean; truncate?: boolean }): Call {
  return {
    name,
    kernel: (dir) => [name, `${dir}/f`],
    ours: async (overlay, cred, dir) => (await overlay.open(cred, await child(overlay, cred, dir, 'f'), how)).close(),
  }
}

const PAST = { sec: 1_000_000, nsec: 0 }
const CALLS: readonly Call[] = [
  {
    name: 'create',
    kernel: (dir) => ['create', `${dir}/new`, 0o2666],
    ours: (overlay, cred, dir) => overlay.create(cred, dir, 'new', { mode: 0o2666 }),
  },
  {
    name: 'mkdir',
    kernel: (dir) => ['mkdir', `${dir}/new`, 0o777],
    ours: (overlay, cred, dir) => overlay.mkdir(cred, dir, 'new', { mode: 0o777 }),
  },
  {
    name: 'symlink',
    kernel: (dir) => ['symlink', `${dir}/new`],
    ours: (overlay, cred, dir) => overlay.symlink(cred, dir, 'new', Buffer.from('target'), { mode: 0o777 }),
  },
  {
    name: 'unlink',
    kernel: (dir) => ['unlink', `${dir}/f`],
    ours: (overlay, cred, dir) => overlay.unlink(cred, dir, 'f'),
  },
  {
    name: 'rmdir',
    kernel: (dir) => ['rmdir', `${dir}/s`],
    ours: (overlay, cred, dir) => overlay.rmdir(cred, dir, 's'),
  },
  {
    name: 'rename',
    kernel: (dir) => ['rename', `${dir}/f`, `${dir}/moved`],
    ours: (overlay, cred, dir) => overlay.rename(cred, dir, 'f', dir, 'moved'),
  },
  {
    name: 'rename onto another',
    kernel: (dir) => ['rename', `${dir}/f`, `${dir}/g`],
    ours: (overlay, cred, dir) => overlay.rename(cred, dir, 'f', dir, 'g'),
  },
  {
    name: 'rename into a directory',
    kernel: (dir) => ['rename', `${dir}/f`, `${dir}/s/f`],
    ours: async (overlay, cred, dir) => overlay.rename(cred, dir, 'f', await child(overlay, cred, dir, 's'), 'f'),
  },
  {
    name: 'rename of a directory',
    kernel: (dir) => ['rename', `${dir}/s`, `${dir}/moved`],
    ours: (overlay, cred, dir) => overlay.rename(cred, dir, 's', dir, 'moved'),
  },
  {
    name: 'stat',
    kernel: (dir) => ['stat', `${dir}/f`],
    ours: (overlay, cred, dir) => child(overlay, cred, dir, 'f'),
  },
  {
    name: 'list',
    kernel: (dir) => ['list', dir],
    ours: (overlay, cred, dir) => overlay.readdir(cred, dir, 0, () => true),
  },
  opening('read', { read: true }),
  opening('append', { read: true, write: true }),
  opening('empty', { write: true, truncate: true }),
  onFile('chmod', (path) => ['chmod', path, 0o6711], { mode: 0o6711 }),
  onFile('chown', (path) => ['chown', path, 1001, -1], { uid: 1001 }),
  onFile('chgrp', (path) => ['chown', path, -1, 2000], { gid: 2000 }),
  onFile('utimes', (path) => ['utimes', path, PAST.sec], { atime: PAST, mtime: PAST }),
  onFile('touch', (path) => ['touch', path], { atime: 'now', mtime: 'now' }),
]

interface Case {
  readonly dir: string
  readonly call: Call
  readonly caller: Cred
  /** The directory and what is in it are copied up before. */
  readonly copied: boolean
}

const letters = (perm: number) => `${perm & 4 ? 'r' : '-'}${perm & 2 ? 'w' : '-'}${perm & 1 ? 'x' : '-'}`

/** Some ACLs, each for many objects: setfacl takes a while to start. */
function someAcls(random: Random, directory: boolean): Map<string, string[]> {
  const perm = () => letters(random.pick([0, 1, 3, 5, 6, 7, 7]))
  const draw = () => {
    const acl = [`u:${random.pick([1000, 1001])}:${perm()}`, `g:${random.pick([2000, 3000])}:${perm()}`]
    if (directory && random.chance(50)) acl.push(`d:u:1001:${perm()}`, `d:g::${perm()}`)
    return acl.join(',')
  }
  return new Map(Array.from({ length: 12 }, () => [draw(), []]))
}

/** Gives an object an owner, a mode and sometimes an ACL, of few values so that they meet the callers. */
function giveRights(random: Random, path: string, directory: boolean, acls: ReadonlyMap<string, string[]>): void {
  chownSync(path, random.pick(OWNERS), random.pick(GROUPS))
  const perm = () => random.pick([0, 1, 3, 5, 6, 7, 7])
  const special = directory
    ? random.pick([0, 0, 0, 0o1000, 0o1000, 0o2000, 0o3000])
    : random.pick([0, 0, 0o4000, 0o2000])
  chmodSync(path, special | (perm() << 6) | (perm() << 3) | perm())
  if (random.chance(25)) acls.get(random.pick([...acls.keys()]))?.push(path)
}

function build(random: Random, lower: string, cases: readonly Case[]): void {
  const [ofFiles, ofDirectories] = [someAcls(random, false), someAcls(random, true)]
  for (const { dir } of cases) {
    const path = join(lower, dir)
    mkdirSync(path)
    for (const name of ['f', 'g']) {
      writeFileSync(join(path, name), name)
      giveRights(random, join(path, name), false, ofFiles)
    }
    mkdirSync(join(path, 's'))
    giveRights(random, join(path, 's'), true, ofDirectories)
    giveRights(random, path, true, ofDirectories)
  }
  for (const [acl, paths] of [...ofFiles, ...ofDirectories])
    if (paths.length > 0) execFileSync('setfacl', ['-m', acl, ...paths])
}

/** Owner, group, mode, type, target and ACL of everything in a mounted tree. */
function rightsIn(tree: string): string[] {
  const found = execFileSync('find', ['.', '-printf', '%P %y %m %U:%G %l\\n'], { cwd: tree, encoding: 'latin1' })
  const acls = execFileSync('getfacl', ['-R', '-n', '-p', '-s', '.'], { cwd: tree, encoding: 'latin1' })
  return [...found.split('\n').sort(), ...acls.split('\n\n').sort()]
}

t.test(
  'every operation is allowed and refused as by the kernel, for any owner, mode, sticky bit, setgid and ACL, before and after copy-up',
  { skip: needsRoot },
  async (t) => {
    const random = new Random(4711)
    const cases = Array.from({ length: CASES }, (_, i): Case => {
      return { dir: `c${i}`, call: random.pick(CALLS), caller: random.pick(CALLERS), copied: random.chance(50) }
    })
    await withOverlay(
      t,
      [{}],
      async (fixture) => {
        const { overlay, dir, upper, work } = fixture
        const lower = fixture.lowers[0] as string
        chmodSync(dir, 0o755)
        const theirs = { lower, upper: join(dir, 'kernel-upper'), work: join(dir, 'kernel-work') }
        for (const path of [theirs.upper, theirs.work]) {
          mkdirSync(path)
          chmodSync(path, 0o755)
        }
        const merged = join(dir, 'merged')
        const [answers, state] = await withKernelOverlay(merged, theirs, () => {
          const touched = cases
            .filter(({ copied }) => copied)
            .map(({ dir }): Step => ['utimes', `${merged}/${dir}/f`, 7])
          asUser(ROOT, touched)
          const given = new Map<Case, string>()
          for (const cred of CALLERS) {
            const mine = cases.filter(({ caller }) => caller === cred)
            const steps = mine.map(({ call, dir }) => call.kernel(`${merged}/${dir}`))
            for (const [i, answer] of asUser(cred, steps).entries()) given.set(mine[i] as Case, answer)
          }
          return [cases.map((one) => given.get(one)), rightsIn(merged)]
        })
        const wrong: string[] = []
        const refused = new Set<string>()
        for (const [i, { dir, call, caller, copied }] of cases.entries()) {
          if (copied) await overlay.setattr(ROOT, await at(overlay, `${dir}/f`), { mtime: { sec: 7, nsec: 0 } })
          const code = await errnoOf(async () => call.ours(overlay, caller, await at(overlay, dir)))
          const answer = code === 'none' ? 'ok' : code
          if (answer !== 'ok') refused.add(`${call.name} ${answer}`)
          if (answer !== answers[i])
            wrong.push(`${dir}: ${call.name} by ${caller.uid}: ${answer}, kernel ${answers[i]}`)
        }
        t.same(wrong, [], `${cases.length} calls have the kernel's answer`)
        t.ok(refused.size > 20, `of ${refused.size} kinds of refusal`)
        await overlay.unmount()
        await withKernelOverlay(join(dir, 'ours'), { lower, upper, work }, () => {
          t.same(rightsIn(join(dir, 'ours')), state, 'and leave what the kernel leaves')
        })
        await fixture.remount()
      },
      { prepare: ([lower]) => build(random, lower as string, cases) },
    )
  },
)
