import t from 'tap'
import { crashProgram } from '../helpers/crash-program.ts'

t.setTimeout(1_200_000)

t.test('a system call that fails leaves the tree unchanged, gives its errno, and leaks nothing', async (t) => {
  const { status, output } = crashProgram('fail.ts', '--sample', '1')
  t.equal(status, 0, output)
  t.match(output, /failing calls, 0 wrong/)
})

t.test('one that fails in the middle of a trip to a thread does so too', async (t) => {
  const { status, output } = crashProgram('fail.ts', '--calls', 'threads', '--scenario', 'create: in', '--sample', '4')
  t.equal(status, 0, output)
  t.match(output, /[1-9]\d* failing calls, 0 wrong/)
})
