import { ADMIN } from './admin-tables.ts'
import { BOOT, GROUPS, MACHINES } from './boot-tables.ts'
import type { Table } from './key.ts'
import { LDAP } from './ldap-tables.ts'
import { LIMITS } from './limit-tables.ts'
import { LOGIN } from './login-tables.ts'
import { METRICS } from './metrics-table.ts'
import { OIDC } from './oidc-tables.ts'
import { LOG, NFS, SERVER, TLS, WEBDAV } from './server-tables.ts'
import { USERS } from './user-tables.ts'
import { EXPORTS, LAYERS, STACKS, VIEWS } from './view-tables.ts'

/** All tables of a configuration file, in the order of the manual. */
export const TABLES: readonly Table[] = [
  LAYERS,
  STACKS,
  VIEWS,
  EXPORTS,
  USERS,
  LOGIN,
  LDAP,
  OIDC,
  WEBDAV,
  NFS,
  TLS,
  BOOT,
  GROUPS,
  MACHINES,
  ADMIN,
  SERVER,
  METRICS,
  LIMITS,
  LOG,
]
