import type { Storage } from '../layer/storage.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { actsAsRoot } from '../sys/capabilities.ts'
import { effectiveGid, effectiveGroups, effectiveUid } from '../sys/process.ts'

type ServerRights = Pick<
  SuperBlock,
  'privileged' | 'keepsOwners' | 'fixedOwners' | 'serverUid' | 'serverGid' | 'serverGroups'
>

/** The user and groups by which the disk restricts the server, and whether the disk can store all owners. */
export function serverRights(storage: Storage | undefined): ServerRights {
  const privileged = actsAsRoot()
  const fixedOwners = storage?.owners === false
  return {
    privileged,
    keepsOwners: !privileged || fixedOwners,
    fixedOwners,
    serverUid: effectiveUid(),
    serverGid: effectiveGid(),
    serverGroups: effectiveGroups(),
  }
}
