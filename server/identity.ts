import type { Settings } from '../config/index.ts'
import type { Cred } from '../overlay-core/index.ts'
import { nobody } from './groups.ts'

/**
 * On whose behalf WebDAV acts: the user of `--as` without further groups; else nobody where the server is run by root, as there is no login and anybody
 * who reaches it would be root; else the user and groups of this process.
 */
export async function webdavCred(as: Settings['as']): Promise<Cred> {
  if (as !== undefined) return { uid: as.uid, gid: as.gid, groups: [] }
  const uid = process.geteuid?.() ?? 0
  if (uid === 0) return { ...(await nobody()), groups: [] }
  return { uid, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
}
