import type { Identity } from '../../config/index.ts'

/** Looks up users in the name service of the machine. */
export interface Accounts {
  /** The ids of a user; undefined if there is no such user. @throws Error the lookup fails */
  byName(name: string): Promise<Identity | undefined>
}
