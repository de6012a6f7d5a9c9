import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.setTimeout(1_200_000)

function run(program: string, ...args: string[]): { status: number | null; output: string } {
  const path = fileURLToPath(new URL(`../crash/${program}`, import.meta.url))
  const { status, stdout, stderr } = spawnSync(process.execPath, [path, ...args], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

t.test(
  'a process killed at any change of any operation leaves the tree from before or the one from after',
  async (t) => {
    const { status, output } = run('kill.ts', '--sample', '4')
    t.equal(status, 0, output)
    t.match(output, /kills, \d+ of them also looked at by the kernel, 0 wrong/)
  },
)

t.test('killed after the removal of one of two names, a handle leads to the other one after the restart', async (t) => {
  const { status, output } = run('kill.ts', '--scenario', 'unlink: of copied-up hard links')
  t.equal(status, 0, output)
})

t.test('a system call that fails leaves the tree unchanged, gives its errno, and leaks nothing', async (t) => {
  const { status, output } = run('fail.ts', '--sample', '1')
  t.equal(status, 0, output)
  t.match(output, /failing calls, 0 wrong/)
})
