import t from 'tap'
import { isUnwritable, OverlayError } from '../../../overlay-core/index.ts'

t.test('a file system that accepts no writes is told by errors of the core and of Node', async (t) => {
  for (const code of ['ENOSPC', 'EDQUOT', 'EROFS'] as const) t.ok(isUnwritable(new OverlayError(code, 'write')), code)
  t.ok(isUnwritable(Object.assign(new Error('ENOSPC'), { code: 'ENOSPC', errno: -28 })))
  t.ok(
    isUnwritable(Object.assign(new Error('UNKNOWN'), { code: 'UNKNOWN', errno: -122 })),
    'Node has no name for EDQUOT',
  )
  t.notOk(isUnwritable(Object.assign(new Error('EIO'), { code: 'EIO', errno: -5 })))
  t.notOk(isUnwritable('ENOSPC'))
})
