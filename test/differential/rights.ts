import type { Cred } from '../../overlay-core/index.ts'
import { ACL_ACCESS, ACL_DEFAULT, type AclEntry, encodeAcl } from '../../overlay-core/layer/acl.ts'
import type { Random } from './random.ts'

const AclTag = { userObj: 1, user: 2, groupObj: 4, group: 8, mask: 16, other: 32 } as const
const NO_ID = 0xffffffff
/** `struct vfs_cap_data` of version 2: cap_net_bind_service, permitted and effective. */
const CAPABILITY = '\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0'

/** Draws an attribute that decides who may what: other changes take it along, change it or take it away. */
export function someRight(
  random: Random,
  setting: { readonly user: Cred | undefined },
): { name: string; value: string } {
  const name = random.pick([ACL_ACCESS, ACL_DEFAULT, 'security.capability'])
  if (name === 'security.capability') return { name, value: CAPABILITY }
  return { name, value: Buffer.from(acl(random, setting.user)).toString('latin1') }
}

/** An ACL, seldom one that is none; some say no more than a mode does. */
function acl(random: Random, user: Cred | undefined): Uint8Array {
  if (random.chance(4)) return Buffer.from(random.pick(['', 'none', '\x02\0\0\0']), 'latin1')
  const entry = (tag: number, id = NO_ID): AclEntry => ({ tag, perm: random.below(8), id })
  const users = [user?.uid ?? 1000, 1234].filter(() => random.chance(40)).sort((a, b) => a - b)
  const groups = [...(user?.groups ?? [1000]), 1234].filter(() => random.chance(30)).sort((a, b) => a - b)
  const needsMask = users.length + groups.length > 0
  return encodeAcl([
    entry(AclTag.userObj),
    ...users.map((id) => entry(AclTag.user, id)),
    entry(AclTag.groupObj),
    ...groups.map((id) => entry(AclTag.group, id)),
    ...(needsMask || random.chance(20) ? [entry(AclTag.mask)] : []),
    entry(AclTag.other),
  ])
}
