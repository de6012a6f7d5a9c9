import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { Attr, Cred, Overlay } from '../../../overlay-core/index.ts'
import { beyondMode, parseAcl } from '../../../overlay-core/layer/acl.ts'
import { type CheckedAttr, ownAttr } from '../../../overlay-core/layer/object-attr.ts'
import { may } from '../../../overlay-core/objects/permission.ts'
import { asUser } from '../../helpers/as-user.ts'
import { at, ROOT, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'

const needsRoot = process.geteuid?.() === 0 ? false : 'needs root'
const CASES = 320

const CALLERS: readonly Cred[] = [
  ROOT,
  { uid: 1000, gid: 1000, groups: [2000] },
  { uid: 1001, gid: 1001, groups: [] },
  { uid: 1002, gid: 3000, groups: [2000, 3000] },
  { uid: 1003, gid: 2000, groups: [1000, 5000] },
  { uid: 5000, gid: 5000, groups: [] },
]

/** A small generator of numbers below `limit` (mulberry32), the same for the same seed. */
function randomFrom(seed: number): (limit: number) => number {
  let state = seed
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit
  }
}

const letters = (perm: number) => `${perm & 4 ? 'r' : '-'}${perm & 2 ? 'w' : '-'}${perm & 1 ? 'x' : '-'}`

interface Case {
  readonly name: string
  readonly directory: boolean
  readonly uid: number
  readonly gid: number
  readonly mode: number
  /** For `setfacl --restore`; undefined for none. */
  readonly acl: string | undefined
}

/** An object with an owner, a mode and often an ACL, each drawn from few values so that callers and entries meet. */
function drawCase(random: (limit: number) => number, index: number): Case {
  const pick = <T>(values: readonly T[]) => values[random(values.length)] as T
  const perms = () => pick([0, 1, 2, 4, 5, 6, 7, random(8)])
  const lines = [`user::${letters(perms())}`]
  for (const id of [1000, 1001, 1002]) if (random(3) === 0) lines.push(`user:${id}:${letters(perms())}`)
  lines.push(`group::${letters(perms())}`)
  for (const id of [1000, 2000, 3000]) if (random(3) === 0) lines.push(`group:${id}:${letters(perms())}`)
  lines.push(`mask::${letters(pick([0, 7, 7, random(8)]))}`, `other::${letters(perms())}`)
  return {
    name: `object${index}`,
    directory: random(2) === 0,
    uid: pick([0, 1000, 1001, 4242]),
    gid: pick([0, 1000, 2000, 3000]),
    mode: random(4) === 0 ? pick([0o777, 0o070, 0o707, 0o600]) : random(0o1000),
    acl: random(5) === 0 ? undefined : lines.join('\n'),
  }
}

function makeCases(dir: string, cases: readonly Case[]): void {
  for (const { name, directory, uid, gid, mode } of cases) {
    if (directory) mkdirSync(join(dir, name))
    else writeFileSync(join(dir, name), name)
    chownSync(join(dir, name), uid, gid)
    chmodSync(join(dir, name), mode)
  }
  const acls = cases.filter(({ acl }) => acl !== undefined).map(({ name, acl }) => `# file: ${name}\n${acl}\n`)
  execFileSync('setfacl', ['--restore=-'], { cwd: dir, input: acls.join('\n') })
}

/** What the kernel answers for each case: the rights that access(2) grants one by one, and whether it grants each set of them. */
function kernelAnswers(dir: string, cred: Cred, cases: readonly Case[]): boolean[][] {
  const steps = cases.flatMap(({ name }) =>
    [1, 2, 3, 4, 5, 6, 7].map((mask) => ['access', join(dir, name), mask] as const),
  )
  const answers = asUser(cred, steps)
  return cases.map((_, i) => answers.slice(i * 7, i * 7 + 7).map((answer) => answer === 'ok'))
}

async function needSame(
  t: Test,
  overlay: Overlay,
  cases: readonly Case[],
  kernel: ReadonlyMap<Cred, boolean[][]>,
  when: string,
): Promise<void> {
  const wrong: string[] = []
  for (const cred of CALLERS) {
    for (const [i, { name }] of cases.entries()) {
      const inode = await at(overlay, name)
      const granted = await overlay.access(cred, inode, 7)
      const single = [1, 2, 4].map((bit) => (kernel.get(cred) as boolean[][])[i]?.[bit - 1])
      const ours = [1, 2, 4].map((bit) => (granted & bit) !== 0)
      if (ours.join() !== single.join()) wrong.push(`${when}: ${JSON.stringify({ cred, ours, single, of: cases[i] })}`)
    }
  }
  t.same(wrong, [])
}

t.test(
  'access is granted exactly where the kernel grants it, by mode and ACL, before and after copy-up',
  { skip: needsRoot },
  async (t) => {
    const random = randomFrom(20260)
    const cases = Array.from({ length: CASES }, (_, i) => drawCase(random, i))
    await withOverlay(
      t,
      [{}],
      async (fixture) => {
        const lower = fixture.lowers[0] as string
        chmodSync(fixture.dir, 0o755)
        const kernel = new Map(CALLERS.map((cred) => [cred, kernelAnswers(lower, cred, cases)]))
        await needSame(t, fixture.overlay, cases, kernel, 'lower')
        const read: Attr[] = []
        for (const { name } of cases) read.push(await fixture.overlay.getattr(await at(fixture.overlay, name)))
        for (const { name } of cases) {
          await fixture.overlay.setattr(ROOT, await at(fixture.overlay, name), { mtime: { sec: 1, nsec: 1 } })
        }
        await needSame(t, fixture.overlay, cases, kernel, 'copied up')
        const again = await fixture.remount()
        await needSame(t, again, cases, kernel, 'copied up and mounted again')
        t.same(
          rightsOf(fixture.upper, cases),
          rightsOf(lower, cases),
          'owner, mode and ACL on disk are those of the lower',
        )
        checkSets(t, lower, cases, read, kernel)
      },
      { prepare: ([lower]) => makeCases(lower as string, cases) },
    )
  },
)

/** Rights asked for together need one entry that has them all: compares every set of them. */
function checkSets(
  t: Test,
  lower: string,
  cases: readonly Case[],
  attrs: readonly Attr[],
  kernel: ReadonlyMap<Cred, boolean[][]>,
): void {
  const wrong: string[] = []
  let checked = 0
  for (const [i, { name }] of cases.entries()) {
    const value = xattrOnDisk(join(lower, name), 'system.posix_acl_access')
    const acl = value === undefined ? undefined : beyondMode(parseAcl(Buffer.from(value, 'latin1')))
    for (const cred of CALLERS) {
      for (let mask = 1; mask <= 7; mask++) {
        const ours = may(cred, { ...ownAttr(attrs[i] as CheckedAttr), acl }, mask)
        checked++
        if (ours !== kernel.get(cred)?.[i]?.[mask - 1]) wrong.push(JSON.stringify({ cred, mask, ours, of: cases[i] }))
      }
    }
  }
  t.same(wrong, [], `${checked} sets of rights are granted as by the kernel`)
}

/** Owner, group, mode and ACL of every case, as getfacl(1) prints them. */
function rightsOf(dir: string, cases: readonly Case[]): string[] {
  const names = cases.map(({ name }) => name)
  return execFileSync('getfacl', ['-n', ...names], { cwd: dir, encoding: 'utf8' }).split('\n\n')
}
