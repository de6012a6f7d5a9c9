import type { Attack } from './attack.ts'
import { FILES } from './attacks/files.ts'
import { LOGINS } from './attacks/logins.ts'
import { LOOPS } from './attacks/loops.ts'
import { MEMORY } from './attacks/memory.ts'
import { NFS4 } from './attacks/nfs4.ts'
import { OUTSIDERS } from './attacks/outsiders.ts'
import { OWNERS } from './attacks/owners.ts'
import { PRIVILEGE } from './attacks/privilege.ts'
import { SERVICE } from './attacks/service.ts'
import { TLS } from './attacks/tls.ts'
import { VIEWS } from './attacks/views.ts'
import { WEB_PAGES } from './attacks/web-pages.ts'

/** Every attack, in the order in which docs/security.md speaks of them. */
export const ATTACKS: readonly Attack[] = [
  ...PRIVILEGE,
  ...LOOPS,
  ...MEMORY,
  ...NFS4,
  ...OUTSIDERS,
  ...TLS,
  ...LOGINS,
  ...OWNERS,
  ...SERVICE,
  ...FILES,
  ...VIEWS,
  ...WEB_PAGES,
]
