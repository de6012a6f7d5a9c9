import type { Settings } from '../config/index.ts'
import type { Cred } from '../overlay-core/index.ts'

/** On whose behalf WebDAV acts: the user of `--as` without further groups, else the user and groups of this process. */
export function webdavCred(as: Settings['as']): Cred {
  if (as !== undefined) return { uid: as.uid, gid: as.gid, groups: [] }
  return { uid: process.geteuid?.() ?? 0, gid: process.getegid?.() ?? 0, groups: process.getgroups?.() ?? [] }
}
