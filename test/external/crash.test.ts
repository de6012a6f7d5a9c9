import t from 'tap'
import { crashProgram } from '../helpers/crash-program.ts'

t.setTimeout(1_200_000)

t.test(
  'a process killed at any change of any operation leaves the tree from before or the one from after',
  async (t) => {
    const { status, output } = crashProgram('kill.ts', '--sample', '3', '--random', '0')
    t.equal(status, 0, output)
    t.match(output, /[1-9]\d* kills, .*, [1-9]\d* also looked at by the kernel, 0 wrong/)
  },
)

t.test('killed at random with writers at work, it loses nothing that was answered', async (t) => {
  const { status, output } = crashProgram('kill.ts', '--kills', '0', '--random', '24')
  t.equal(status, 0, output)
  t.match(
    output,
    /24 kills, 24 of them at random after [1-9]\d* changes under load, [1-9]\d* also looked at by the kernel, 0 wrong/,
  )
})

t.test('killed between the calls that a thread makes on one trip, it does so too', async (t) => {
  const { status, output } = crashProgram('kill.ts', '--calls', 'threads', '--scenario', 'create: in', '--sample', '8')
  t.equal(status, 0, output)
  t.match(output, /[1-9]\d* kills, .*, 0 wrong/)
})

t.test('killed after the removal of one of two names, a handle leads to the other one after the restart', async (t) => {
  const { status, output } = crashProgram('kill.ts', '--scenario', 'unlink: of copied-up hard links', '--sample', '20')
  t.equal(status, 0, output)
})

t.test(
  'a server killed while views change leaves each view whole or absent, and all others as they were',
  async (t) => {
    const { status, output } = crashProgram('kill.ts', '--views', '--sample', '1', '--random', '3')
    t.equal(status, 0, output)
    t.match(output, /^25 kills while views change, [1-9]\d* before an answer, 3 of all at random, 0 wrong/m)
  },
)
