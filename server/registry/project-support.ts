import { dirname } from 'node:path'
import { isErrno, limitsProjects, mayExceedQuotas, OptionError, projectUsage } from '../../overlay-core/index.ts'
import { isThere } from '../make-directory.ts'
import { LEAST_ID } from './view-project.ts'

/** Why the file system of `directory`, which need not exist yet, cannot limit views; undefined if it can. */
export async function whyNoProjects(directory: string): Promise<string | undefined> {
  let place = directory
  while (!(await isThere(place)) && place !== dirname(place)) place = dirname(place)
  try {
    if (await limitsProjects(place)) return undefined
  } catch (error) {
    // Who checks a configuration may not be who runs the server.
    if (isErrno(error, 'EACCES')) return undefined
    throw error
  }
  return `quota_by = "filesystem": the file system of ${directory} does not limit projects; mount it with prjquota (ext4 needs the features quota and project), or remove quota_by`
}

/** Checks that this process can set limits for projects in `directory`, and is subject to them. @throws OptionError naming `quota_by` */
export async function needProjects(directory: string): Promise<void> {
  const wrong = await whyNoProjects(directory)
  if (wrong !== undefined) throw new OptionError('quota_by', wrong)
  try {
    await projectUsage(directory, LEAST_ID)
  } catch (error) {
    if (!isErrno(error, 'EPERM')) throw error
    throw new OptionError(
      'quota_by',
      'only a server with CAP_SYS_ADMIN can set project quotas; run it as root, or remove quota_by = "filesystem"',
    )
  }
  // The right is given up at the start.
  if (mayExceedQuotas())
    throw new OptionError('quota_by', 'quota_by = "filesystem" takes effect at the next start; restart the server')
}
