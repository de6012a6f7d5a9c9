import type { Settings } from '../config/index.ts'
import { giveUpExceedingQuotas, isErrno, keepOnExecute, mayExceedQuotas, OptionError } from '../overlay-core/index.ts'

/**
 * Gives up the right to exceed quotas (CAP_SYS_RESOURCE), if this process has it and file systems shall limit views. Each thread has rights of its own, so the process
 * then executes its program again, and this does not return.
 *
 * @throws OptionError the process may not give it up
 */
export function obeyQuotas({ views, webdav, nfs }: Settings): void {
  if (!views.some(({ template }) => template?.quotaBy === 'filesystem') || !mayExceedQuotas()) return
  try {
    giveUpExceedingQuotas()
  } catch (error) {
    if (!isErrno(error)) throw error
    throw new OptionError(
      'quota_by',
      'the server has CAP_SYS_RESOURCE, so quotas of the file system do not limit it, and it may not give that up; start it without (setpriv --bounding-set -sys_resource)',
    )
  }
  for (const socket of [webdav?.socket, nfs?.socket]) if (socket !== undefined) keepOnExecute(socket)
  process.execve?.(process.execPath, [process.execPath, ...process.execArgv, ...process.argv.slice(1)])
}
