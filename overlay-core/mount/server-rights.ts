import type { Storage } from '../layer/storage.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { effectiveGid, effectiveGroups, effectiveUid } from '../sys/process.ts'

type ServerRights = Pick<
  SuperBlock,
  'privileged' | 'keepsOwners' | 'fixedOwners' | 'serverUid' | 'serverGid' | 'serverGroups'
>

/** The user and groups by which the disk restricts the server, and whether the disk can store all owners. */
export function serverRights(storage: Storage | undefined): ServerRights {
  const uid = effectiveUid()
  const fixedOwners = storage?.owners === false
  return {
    privileged: uid === 0,
    keepsOwners: uid !== 0 || fixedOwners,
    fixedOwners,
    serverUid: uid,
    serverGid: effectiveGid(),
    serverGroups: effectiveGroups(),
  }
}
