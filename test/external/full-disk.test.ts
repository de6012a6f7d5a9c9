import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import t, { type Test } from 'tap'
import type { Outcome } from '../helpers/full-disk-program.ts'

const PROGRAM = fileURLToPath(new URL('../helpers/full-disk-program.ts', import.meta.url))
/** What the program prints. */
interface Result {
  readonly full: readonly Outcome[]
  readonly again: string
  readonly afterwards: readonly string[]
  readonly roomy: readonly Outcome[]
}

/** Makes a file system in a file, mounts it until the test ends, and gives where, and a folder for the lower. */
function disk(t: Test, size: string, makeIt: readonly string[], options: string): { upper: string; lower: string } {
  const scratch = mkdtempSync(join(tmpdir(), 'overlayd-full-'))
  const [image, upper, lower] = ['image', 'disk', 'lower'].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ]
  for (const path of [upper, lower]) mkdirSync(path)
  t.teardown(() => rmSync(scratch, { recursive: true, force: true }))
  execFileSync('truncate', ['-s', size, image])
  execFileSync(makeIt[0] as string, [...makeIt.slice(1), image])
  execFileSync('mount', ['-o', `loop,${options}`, image, upper])
  t.teardown(() => execFileSync('umount', [upper]))
  return { upper, lower }
}

function run(upper: string, lower: string): Result {
  return JSON.parse(execFileSync(process.execPath, [PROGRAM, upper, lower], { encoding: 'utf8', maxBuffer: 1e8 }))
}

/** A write that fails in the kernel has set the time of the file by then. */
function noTimeOfWrite(line: string): boolean {
  return !line.startsWith('/mine: mtime: ')
}

/** Everything failed with `errno` and nothing of it is seen; with room again everything works. */
function check(t: Test, { full, again, afterwards, roomy }: Result, errno: string): void {
  for (const { change, answer, differences } of full) {
    t.equal(answer, errno, change)
    t.same(differences.filter(noTimeOfWrite), [], `${change}: the tree is as before, and nothing is left`)
  }
  t.ok(again === 'ok' || again === errno, `unmount and mount on the full disk: ${again}`)
  t.same(afterwards.filter(noTimeOfWrite), [], 'with room again the tree is as before')
  for (const { change, answer, differences } of roomy) {
    t.equal(answer, 'ok', change)
    t.same(differences, [])
  }
}

t.test(
  'on a full ext4 every change fails with ENOSPC and leaves the tree as it was; with room it works again',
  async (t) => {
    const { upper, lower } = disk(t, '32M', ['mkfs.ext4', '-q', '-m', '0', '-N', '256'], 'noatime')
    check(t, run(upper, lower), 'ENOSPC')
  },
)

t.test('on a full xfs too', async (t) => {
  const { upper, lower } = disk(t, '320M', ['mkfs.xfs', '-q', '-m', 'reflink=1', '-i', 'maxpct=1'], 'noatime')
  check(t, run(upper, lower), 'ENOSPC')
})

t.test('where a quota is used up it is EDQUOT', async (t) => {
  // Kernels of appliances and containers often lack the quotas of ext4 and xfs; those of btrfs are part of it, and count for root too.
  const { upper, lower } = disk(t, '160M', ['mkfs.btrfs', '-q'], 'noatime')
  const limited = join(upper, 'limited')
  execFileSync('btrfs', ['quota', 'enable', upper])
  execFileSync('btrfs', ['-q', 'subvolume', 'create', limited])
  execFileSync('btrfs', ['qgroup', 'limit', '16M', limited])
  check(t, run(limited, lower), 'EDQUOT')
})
