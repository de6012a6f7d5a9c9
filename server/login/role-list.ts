import type { Role } from './api/roles.ts'

/** Who has which role. An entry is a login name, or `@GROUP` for all in a group of the source of accounts. */
export interface RoleEntries {
  readonly admins: readonly string[]
  readonly readers: readonly string[]
}

/** The roles of users. */
export class RoleList {
  readonly #entries: RoleEntries

  constructor(entries: RoleEntries) {
    this.#entries = entries
  }

  /** The roles that a user has everywhere. */
  of(name: string, groups: readonly string[]): readonly Role[] {
    const { admins, readers } = this.#entries
    const roles: Role[] = ['user']
    if (isListed(admins, name, groups)) roles.push('admin')
    if (isListed(readers, name, groups)) roles.push('reader')
    return roles
  }
}

/** Whether entries name a user or one of its groups. */
export function isListed(entries: readonly string[], name: string, groups: readonly string[]): boolean {
  return entries.some((entry) => (entry.startsWith('@') ? groups.includes(entry.slice(1)) : entry === name))
}
