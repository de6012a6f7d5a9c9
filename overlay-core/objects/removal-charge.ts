import { FileType } from '../api/types.ts'
import type { Charge, Charges } from './charges.ts'
import type { OvlInode } from './dentry.ts'

/** The effect on the quota of the removal of a name, and of the new file that takes the name, if any. */
export class RemovalCharge {
  readonly #charges: Charges
  readonly #inode: OvlInode
  /** Whether an object leaves the upper. */
  readonly #leaves: boolean
  /** Of a regular file that leaves the upper. */
  readonly #charge: Charge | undefined
  /** The size of the new file. */
  #newBytes: number | undefined
  #held = { bytes: 0, files: 0 }
  #done = false

  private constructor(charges: Charges, inode: OvlInode, leaves: boolean, charge: Charge | undefined) {
    this.#charges = charges
    this.#inode = inode
    this.#leaves = leaves
    this.#charge = charge
  }

  /**
   * Begins the removal of a name of `inode`, whose lock is held. `last`: it loses its last name.
   *
   * @param newBytes the size of a new file that takes its name
   * @throws EDQUOT the new file exceeds the quota
   */
  static async begin(
    charges: Charges,
    inode: OvlInode,
    last: boolean,
    newBytes: number | undefined,
  ): Promise<RemovalCharge> {
    const leaves = last && inode.upper !== undefined
    const charge = leaves && inode.type === FileType.regular ? await charges.beginReading(inode, true) : undefined
    const removal = new RemovalCharge(charges, inode, leaves, charge)
    try {
      if (newBytes !== undefined) removal.#reserve(newBytes)
      return removal
    } catch (error) {
      await removal.end()
      throw error
    }
  }

  #reserve(newBytes: number): void {
    const bytes = Math.max(0, newBytes - (this.#charge?.size ?? 0))
    const files = this.#leaves ? 0 : 1
    this.#charges.quota.reserve(bytes, files, 'publish')
    this.#newBytes = newBytes
    this.#held = { bytes, files }
  }

  /** Counts the removal, which has just happened. */
  removed(): void {
    this.#done = true
    const old = this.#charge ? this.#charges.remove(this.#inode, this.#charge) : 0
    const made = this.#newBytes === undefined ? 0 : 1
    const bytes = (this.#newBytes ?? 0) - this.#held.bytes - old
    this.#charges.quota.add(bytes, made - this.#held.files - (this.#leaves ? 1 : 0))
  }

  /** Gives back what was reserved, if nothing was removed. */
  async end(): Promise<void> {
    if (this.#done) return
    this.#charges.quota.add(-this.#held.bytes, -this.#held.files)
    if (this.#charge) await this.#charges.endReading(this.#inode, this.#charge, true)
  }
}
