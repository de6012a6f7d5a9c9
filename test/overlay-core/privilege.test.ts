import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, lstatSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Cred, Inode, Overlay } from '../../overlay-core/index.ts'
import { ACL_ACCESS, encodeAcl } from '../../overlay-core/layer/acl.ts'
import { asUser, type Step } from '../helpers/as-user.ts'
import { withKernelOverlay } from '../helpers/kernel-mount.ts'
import { ALICE, at, errnoOf, ROOT, withOverlay } from '../helpers/overlay.ts'

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'
const OWNER = 1000
const CONTENT = 'content'
const CAPABILITY = 'security.capability'

/** In the group of half the files, and able to write where the group may. */
const MEMBER: Cred = { uid: 1002, gid: 2000, groups: [] }
const OTHER: Cred = { uid: 1003, gid: 1003, groups: [] }
const CALLERS = [ROOT, ALICE, MEMBER, OTHER]

const MODES = [0o4755, 0o2775, 0o2765, 0o6777, 0o6766, 0o755]
const ACL = { text: 'u::rw-,u:1001:rw-,g::r-x,m::rwx,o::r--', value: aclValue() }

function aclValue(): Uint8Array {
  const none = 0xffffffff
  return encodeAcl([
    { tag: 1, perm: 6, id: none },
    { tag: 2, perm: 6, id: 1001 },
    { tag: 4, perm: 5, id: none },
    { tag: 16, perm: 7, id: none },
    { tag: 32, perm: 4, id: none },
  ])
}

/** A change as a system call, and as a call of the core. */
interface Change {
  readonly name: string
  readonly kernel: (path: string) => Step
  readonly ours: (overlay: Overlay, cred: Cred, inode: Inode, name: string) => unknown
}

const CHANGES: readonly Change[] = [
  {
    name: 'write',
    kernel: (path) => ['write', path, 3],
    ours: (overlay, cred, inode) => overlay.write(cred, inode, Buffer.from('www'), 0, 'unstable'),
  },
  {
    name: 'write of nothing',
    kernel: (path) => ['write', path, 0],
    ours: (overlay, cred, inode) => overlay.write(cred, inode, Buffer.alloc(0), 0, 'unstable'),
  },
  {
    name: 'truncate',
    kernel: (path) => ['truncate', path, 2],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { size: 2 }),
  },
  {
    name: 'truncate to the same size',
    kernel: (path) => ['truncate', path, CONTENT.length],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { size: CONTENT.length }),
  },
  {
    name: 'open for writing with O_TRUNC',
    kernel: (path) => ['empty', path],
    ours: async (overlay, cred, inode) => (await overlay.open(cred, inode, { write: true, truncate: true })).close(),
  },
  {
    name: 'replacement by a file built aside',
    kernel: (path) => ['empty', path],
    ours: async (overlay, cred, _inode, name) => {
      const staged = await overlay.stage(cred)
      await staged.publish({ dir: overlay.root, name, mode: 0o600 })
    },
  },
  {
    name: 'chown to the same owner',
    kernel: (path) => ['chown', path, OWNER, -1],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { uid: OWNER }),
  },
  {
    name: 'chown to another owner',
    kernel: (path) => ['chown', path, 7, -1],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { uid: 7 }),
  },
  {
    name: 'chown to the group 2000',
    kernel: (path) => ['chown', path, -1, 2000],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { gid: 2000 }),
  },
  {
    name: 'chmod with setuid and setgid',
    kernel: (path) => ['chmod', path, 0o6751],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { mode: 0o6751 }),
  },
  {
    name: 'touch',
    kernel: (path) => ['touch', path],
    ours: (overlay, cred, inode) => overlay.setattr(cred, inode, { atime: 'now', mtime: 'now' }),
  },
  {
    name: 'setting times',
    kernel: (path) => ['utimes', path, 1_000_000],
    ours: (overlay, cred, inode) => {
      const time = { sec: 1_000_000, nsec: 0 }
      return overlay.setattr(cred, inode, { atime: time, mtime: time })
    },
  },
  {
    name: 'setting an ACL',
    kernel: (path) => ['setfacl', path, '--set', ACL.text],
    ours: (overlay, cred, inode) => overlay.setxattr(cred, inode, ACL_ACCESS, ACL.value),
  },
]

interface Case {
  readonly file: string
  readonly what: string
  readonly mode: number
  readonly gid: number
  readonly caller: Cred
  readonly change: Change
  readonly capable: boolean
  /** It is copied up before the change. */
  readonly copied: boolean
}

function allCases(): Case[] {
  const cases: Case[] = []
  for (const change of CHANGES) {
    for (const mode of MODES) {
      for (const gid of [2000, 3000]) {
        for (const caller of CALLERS) {
          const index = cases.length
          const what = `${change.name} by ${caller.uid} of ${mode.toString(8)} ${OWNER}:${gid}`
          const copied = index % 2 === 0
          const capable = Math.floor(index / CALLERS.length) % 3 !== 0
          cases.push({ file: `f${index}`, what, mode, gid, caller, change, capable, copied })
          cases.push({ file: `f${index + 1}`, what, mode, gid, caller, change, capable: !capable, copied: !copied })
        }
      }
    }
  }
  return cases
}

function build(lower: string, cases: readonly Case[]): void {
  for (const { file, gid, mode } of cases) {
    const path = join(lower, file)
    writeFileSync(path, CONTENT)
    chownSync(path, OWNER, gid)
    chmodSync(path, mode)
  }
  const capable = cases
    .filter((one) => one.capable)
    .flatMap(({ file }) => ['cap_net_bind_service=ep', join(lower, file)])
  execFileSync('setcap', capable)
}

/** Owner, group, mode, ACL and capability of every file, as the tree at `path` shows them. */
function stateOf(path: string, cases: readonly Case[]): string[] {
  const files = cases.map(({ file }) => file)
  const capable = new Set(
    execFileSync('getcap', files, { cwd: path, encoding: 'utf8' })
      .split('\n')
      .map((line) => line.split(' ')[0]),
  )
  return cases.map(({ file, what }) => {
    const { uid, gid, mode } = lstatSync(join(path, file))
    return `${what}: ${uid}:${gid} ${(mode & 0o7777).toString(8)}${capable.has(file) ? ' with capability' : ''}`
  })
}

function byKernel(merged: string, cases: readonly Case[]): string[] {
  const touched = cases.filter(({ copied }) => copied).map(({ file }): Step => ['utimes', join(merged, file), 7])
  asUser(ROOT, touched)
  const answers = new Map<Case, string>()
  for (const cred of CALLERS) {
    const mine = cases.filter(({ caller }) => caller === cred)
    const given = asUser(
      cred,
      mine.map(({ change, file }) => change.kernel(join(merged, file))),
    )
    for (const [i, one] of mine.entries()) answers.set(one, given[i] as string)
  }
  return cases.map((one) => `${one.what}: ${answers.get(one)}`)
}

async function byCore(overlay: Overlay, cases: readonly Case[]): Promise<string[]> {
  const answers: string[] = []
  for (const { file, what, caller, change, copied } of cases) {
    const inode = await at(overlay, file)
    if (copied) await overlay.setattr(ROOT, inode, { mtime: 'now' })
    const code = await errnoOf(() => change.ours(overlay, caller, inode, file))
    answers.push(`${what}: ${code === 'none' ? 'ok' : code}`)
  }
  return answers
}

async function viewOf(overlay: Overlay, cases: readonly Case[]): Promise<string[]> {
  const lines: string[] = []
  for (const { file, what } of cases) {
    const inode = await at(overlay, file)
    const { uid, gid, mode } = await overlay.getattr(inode)
    const capable = await overlay.getxattr(ROOT, inode, CAPABILITY)
    lines.push(`${what}: ${uid}:${gid} ${mode.toString(8)}${capable ? ' with capability' : ''}`)
  }
  return lines
}

t.test(
  'setuid, setgid and capabilities are dropped exactly where the kernel drops them, before and after copy-up',
  { skip: needsRoot },
  async (t) => {
    const cases = allCases()
    await withOverlay(
      t,
      [{}],
      async (fixture) => {
        const { dir, upper, work } = fixture
        const lower = fixture.lowers[0] as string
        chmodSync(dir, 0o755)
        const theirs = { lower, upper: join(dir, 'kernel-upper'), work: join(dir, 'kernel-work') }
        mkdirSync(theirs.upper)
        mkdirSync(theirs.work)
        const [answers, state] = await withKernelOverlay(join(dir, 'merged'), theirs, () => {
          const given = byKernel(join(dir, 'merged'), cases)
          return [given, stateOf(join(dir, 'merged'), cases)]
        })
        t.same(await byCore(fixture.overlay, cases), answers, `${cases.length} changes have the kernel's result`)
        t.same(await viewOf(fixture.overlay, cases), state, 'and leave what the kernel leaves')
        await fixture.overlay.unmount()
        await withKernelOverlay(join(dir, 'ours'), { lower, upper, work }, () => {
          t.same(stateOf(join(dir, 'ours'), cases), state, 'also for a kernel that mounts the layers')
        })
        await fixture.remount()
      },
      { prepare: ([lower]) => build(lower as string, cases) },
    )
  },
)
