import t from 'tap'
import { ERRNO, type Errno } from '../../../../overlay-core/index.ts'
import { allowedStatuses, listedStatus } from '../../../../protocols/nfs/nfs3/procedure-statuses.ts'
import { NFS3_PROCEDURES } from '../../../../protocols/nfs/nfs3/program.ts'
import * as status from '../../../../protocols/nfs/nfs3/status.ts'
import { PROCEDURES, STATUS } from '../../../helpers/nfs-client.ts'

const { STATUS_OF_ERRNO } = status
const ALL = Object.entries(status)
  .filter(([name]) => name.startsWith('NFS3ERR_'))
  .map(([, value]) => value as number)

t.test('the procedures stand at their numbers', async (t) => {
  t.same(
    NFS3_PROCEDURES.map(({ name }) => name),
    PROCEDURES,
  )
})

t.test('whatever the error, each procedure answers a status that it lists', async (t) => {
  for (const { name } of NFS3_PROCEDURES) {
    for (const value of ALL) t.ok(allowedStatuses(name).has(listedStatus(name, value)), `${name} ${value}`)
  }
})

t.test('a status that is listed is never changed', async (t) => {
  for (const { name } of NFS3_PROCEDURES) {
    for (const value of allowedStatuses(name)) t.equal(listedStatus(name, value), value)
  }
})

t.test('errors that a procedure does not list become the nearest one', async (t) => {
  const cases = [
    ['CREATE', 'EPERM', STATUS.ACCES],
    ['SETATTR', 'EPERM', STATUS.PERM],
    ['REMOVE', 'EPERM', STATUS.ACCES],
    ['REMOVE', 'EISDIR', STATUS.ACCES],
    ['READ', 'EISDIR', STATUS.INVAL],
    ['CREATE', 'EISDIR', STATUS.EXIST],
    ['RENAME', 'EISDIR', STATUS.ISDIR],
    ['LOOKUP', 'EINVAL', STATUS.ACCES],
    ['WRITE', 'EFBIG', STATUS.FBIG],
    ['SETATTR', 'EFBIG', STATUS.INVAL],
    ['READ', 'EIO', STATUS.IO],
    ['GETATTR', 'ENOSPC', STATUS.SERVERFAULT],
    ['RENAME', 'EXDEV', STATUS.XDEV],
    ['LOOKUP', 'ESTALE', STATUS.STALE],
  ] as const
  for (const [procedure, errno, expected] of cases) {
    t.equal(listedStatus(procedure, STATUS_OF_ERRNO[errno]), expected, `${errno} in ${procedure}`)
  }
})

t.test('every error of the core has a status of RFC 1813', async (t) => {
  for (const errno of Object.keys(ERRNO) as Errno[]) t.ok(ALL.includes(STATUS_OF_ERRNO[errno]), errno)
})
