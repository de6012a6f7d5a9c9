import t from 'tap'
import { allowedStatuses, listedStatus } from '../../../../protocols/nfs/nfs4/operation-statuses.ts'
import { OPERATIONS } from '../../../../protocols/nfs/nfs4/operations.ts'
import { OP } from '../../../../protocols/nfs/nfs4/wire/constants.ts'
import { STATUS, STATUS_OF_ERRNO } from '../../../../protocols/nfs/nfs4/wire/status.ts'

t.test('every operation answers only statuses that its RFC lists for it', async (t) => {
  for (const operation of OPERATIONS) {
    if (operation === undefined) continue
    const { name } = operation
    const allowed = allowedStatuses(name)
    t.ok(allowed, `${name} has a list`)
    t.notOk(allowed?.has(undefined as never), `${name}: every word of its list is a status`)
    for (const status of [...Object.values(STATUS_OF_ERRNO), ...Object.values(STATUS)]) {
      if (status !== STATUS.OK && !allowed!.has(listedStatus(name, status))) t.fail(`${name} answers ${status}`)
    }
  }
})

t.test('each operation is at its number, and an ordinary error of the core is no fault of the server', async (t) => {
  OPERATIONS.forEach((operation, number) => {
    if (operation !== undefined) t.equal(OP[operation.name], number, operation.name)
  })
  const ofNames = ['LOOKUP', 'OPEN', 'CREATE', 'REMOVE', 'RENAME', 'LINK', 'SETATTR', 'READ', 'WRITE'] as const
  for (const name of ofNames) {
    for (const errno of [
      'EACCES',
      'EPERM',
      'EIO',
      'ESTALE',
      'EINVAL',
      'EAGAIN',
      'ENOMEM',
      'ENOENT',
      'ENOTDIR',
      'EISDIR',
    ] as const) {
      t.not(listedStatus(name, STATUS_OF_ERRNO[errno]), STATUS.SERVERFAULT, `${name}: ${errno}`)
    }
  }
  for (const name of ['WRITE', 'OPEN', 'CREATE', 'RENAME', 'LINK', 'SETATTR'] as const) {
    for (const errno of ['ENOSPC', 'EDQUOT', 'EROFS'] as const) {
      t.equal(listedStatus(name, STATUS_OF_ERRNO[errno]), STATUS_OF_ERRNO[errno], `${name}: ${errno}`)
    }
  }
})
