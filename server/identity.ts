import type { Settings } from '../config/index.ts'
import { actsAsRoot, type Cred } from '../overlay-core/index.ts'
import { nobody } from './groups.ts'

/**
 * The caller that WebDAV acts as: the user of `--as` without further groups; otherwise nobody if root runs the server, because there is no login and
 * everyone who reaches it would be root; otherwise the user and groups of this process.
 */
export async function webdavCred(as: Settings['as']): Promise<Cred> {
  if (as !== undefined) return { uid: as.uid, gid: as.gid, groups: [] }
  if (actsAsRoot()) return { ...(await nobody()), groups: [] }
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
}
