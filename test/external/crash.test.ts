import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import t from 'tap'

t.setTimeout(1_200_000)

const program = fileURLToPath(new URL('../crash/run.ts', import.meta.url))

function crash(...args: string[]): { status: number | null; output: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' })
  return { status, output: stdout + stderr }
}

t.test(
  'a process killed at any change of any operation leaves the tree from before or the one from after',
  async (t) => {
    const { status, output } = crash('--sample', '4')
    t.equal(status, 0, output)
    t.match(output, /kills, \d+ of them also looked at by the kernel, 0 wrong/)
  },
)

t.test('killed after the removal of one of two names, a handle leads to the other one after the restart', async (t) => {
  const { status, output } = crash('--scenario', 'unlink: of copied-up hard links')
  t.equal(status, 0, output)
})
