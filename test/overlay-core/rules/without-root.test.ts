import { execFileSync } from 'node:child_process'
import { chmodSync, chownSync, lstatSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { type Tree, withOverlay, xattrOnDisk } from '../../helpers/overlay.ts'
import { runWithoutRoot, SERVER } from '../../helpers/without-root.ts'

const skip = process.getuid?.() === 0 ? false : 'needs root'
const MODULE = new URL('./without-root-scenarios.ts', import.meta.url)

/** Runs `test` with layers that belong to the user of a server without root, and a way to run a scenario in it. */
async function withServer(
  t: Test,
  lower: Tree,
  test: (place: { dir: string; lower: string; upper: string; run: (scenario: string) => unknown }) => void,
): Promise<void> {
  await withOverlay(t, [lower], async (fixture) => {
    await fixture.overlay.unmount()
    const { dir, lowers } = fixture
    chmodSync(dir, 0o755)
    for (const name of ['u', 'w']) {
      mkdirSync(join(dir, name))
      chownSync(join(dir, name), SERVER.uid, SERVER.gid)
    }
    const options = `lowerdir=${lowers[0]},upperdir=${dir}/u,workdir=${dir}/w`
    const run = (scenario: string) => runWithoutRoot(MODULE, scenario, options)
    test({ dir, lower: lowers[0] as string, upper: join(dir, 'u'), run })
    await fixture.remount()
  })
}

t.test(
  'without root, mounts inside a lower are visible, because only root can look below a mount',
  { skip },
  async (t) => {
    await withServer(t, { 'mnt/under': 'u', f: 'f' }, ({ lower, run }) => {
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'mode=755', 'none', join(lower, 'mnt')])
      try {
        writeFileSync(join(lower, 'mnt/over'), 'o')
        t.same(run('listMounted'), { names: ['f', 'mnt'], inside: ['over'] })
      } finally {
        execFileSync('umount', [join(lower, 'mnt')])
      }
      t.same(run('listMounted'), { names: ['f', 'mnt'], inside: ['under'] })
    })
  },
)

t.test('without root all marks are user.overlay attributes and whiteout devices', { skip }, async (t) => {
  const lower = { 'd/f': 'x', gone: 'y', 'empty/': '', 'moved/g': 'z' }
  await withServer(t, lower, ({ upper, run }) => {
    t.same(run('makeMarks'), { names: ['d', 'elsewhere', 'empty'], moved: ['g'] })
    t.same(readdirSync(upper).sort(), ['d', 'elsewhere', 'empty', 'gone', 'moved'])
    for (const name of ['gone', 'moved']) {
      const stat = lstatSync(join(upper, name))
      t.ok(stat.isCharacterDevice() && stat.rdev === 0, `${name} is a whiteout`)
    }
    t.equal(xattrOnDisk(join(upper, 'empty'), 'user.overlay.opaque'), 'y')
    t.equal(xattrOnDisk(join(upper, 'elsewhere'), 'user.overlay.redirect'), 'moved')
    t.equal(xattrOnDisk(join(upper, 'd'), 'user.overlay.impure'), 'y')
    const all = execFileSync('getfattr', ['-R', '-d', '-m', '^trusted', '--absolute-names', upper])
    t.equal(all.toString(), '', 'and nothing is trusted.*')
  })
})

/** Mounts the kernel's overlay as the user of the server, in a user namespace of its own, runs a shell script on it and gives its lines. */
function inUserNamespace(dir: string, lower: string, script: string): string[] {
  const program = `
    set -e
    mount -t overlay overlay -o "lowerdir=$1,upperdir=$2/u,workdir=$2/w,userxattr" "$2/m"
    cd "$2/m"
    ${script}`
  const ids = [`--reuid=${SERVER.uid}`, `--regid=${SERVER.gid}`, '--clear-groups']
  const namespace = ['unshare', '--user', '--map-root-user', '--mount']
  const out = execFileSync('setpriv', [...ids, ...namespace, 'sh', '-c', program, 'sh', lower, dir])
  return out.toString().trim().split('\n')
}

/** As `allContents` in the scenarios. */
const CONTENTS =
  "find . -mindepth 1 '(' -type d -printf '%P/\\n' ')' -o '(' -type f -printf '%P ' -exec cat '{}' ';' -printf '\\n' ')'"

t.test('without root, the kernel mounts for that user what overlayd wrote, and vice versa', { skip }, async (t) => {
  const lower = { 'd/f': 'x', 'd/g': 'y', gone: 'z', 'empty/': '' }
  await withServer(t, lower, ({ dir, lower, run }) => {
    mkdirSync(join(dir, 'm'))
    chownSync(join(dir, 'm'), SERVER.uid, SERVER.gid)
    const ours = run('changePlainly') as string[]
    t.same(ours, ['d/', 'd/f changed', 'd/g y', 'empty/', 'empty/new '])
    t.same(
      inUserNamespace(dir, lower, CONTENTS)
        .map((line) => (line.endsWith('new') ? `${line} ` : line))
        .sort(),
      ours,
    )
    const kernels = inUserNamespace(
      dir,
      lower,
      `rm d/g; rm -r empty; mkdir empty; printf kernel > empty/k; ${CONTENTS}`,
    )
    t.same(run('allContents'), kernels.sort())
    t.same(kernels, ['d/', 'd/f changed', 'empty/', 'empty/k kernel'])
    // As if the kernel had been interrupted when it copied a directory up that nobody may enter.
    const left = join(dir, 'w/work/#1')
    mkdirSync(join(left, 'inside'), { recursive: true })
    for (const path of [join(left, 'inside'), left]) {
      chmodSync(path, 0)
      chownSync(path, SERVER.uid, SERVER.gid)
    }
    t.same(run('allContents'), kernels)
    t.same(readdirSync(join(dir, 'w/work')), [], 'what was left is gone')
  })
})
