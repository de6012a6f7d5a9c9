import t from 'tap'
import { ERRNO, OverlayError } from '../../../overlay-core/api/errno.ts'
import { argumentError, sysError } from '../../../overlay-core/sys/error.ts'

t.test('every errno of the core keeps its name', async (t) => {
  for (const [code, number] of Object.entries(ERRNO)) {
    const error = sysError('op', number, 'name')
    t.ok(error instanceof OverlayError)
    t.match(error, { code, op: 'op', cause: undefined }, code)
  }
})

t.test('an errno without a name in the core becomes EIO, with the cause as text', async (t) => {
  t.match(sysError('renameat2', 84), { code: 'EIO', op: 'renameat2', cause: 'errno 84 (EILSEQ)' })
  t.match(sysError('x', 99999), { code: 'EIO', cause: 'errno 99999' })
  t.match(sysError('x', Number.NaN), { code: 'EIO' })
})

t.test('refused arguments become EINVAL with the refusal as cause', async (t) => {
  const cause = new TypeError('no')
  t.match(argumentError('op', cause, 'n'), { code: 'EINVAL', op: 'op', cause })
})
