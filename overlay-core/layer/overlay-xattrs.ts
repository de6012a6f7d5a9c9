import { OVERRIDE_STAT } from './override-stat.ts'

/**
 * The names of overlay-private extended attributes, and how they are kept from clients (fs/overlayfs/xattrs.c): a client's own
 * `<prefix>NAME` is stored as `<prefix>overlay.NAME` and shown without the inner `overlay.`.
 */
export class XattrNames {
  /** `trusted.overlay.` or `user.overlay.`. */
  readonly prefix: string
  readonly opaque: string
  readonly redirect: string
  readonly origin: string
  readonly impure: string
  readonly nlink: string
  readonly uuid: string
  readonly metacopy: string
  readonly whiteout: string
  /** An attribute of this program: the identity of a separated hard link (index=off), of a lower object whose origin cannot be followed, or of an object in a squashed layer. */
  readonly identity: string
  /** An attribute of this program: the link count that a hard link in a squashed layer has for clients, in decimal digits. */
  readonly links: string
  readonly #escaped: string
  readonly #record: string | undefined

  /** @param keepsOwners the attribute with recorded owners is private too */
  constructor(userxattr: boolean, keepsOwners = false) {
    this.prefix = userxattr ? 'user.overlay.' : 'trusted.overlay.'
    this.#escaped = `${this.prefix}overlay.`
    this.#record = keepsOwners ? OVERRIDE_STAT : undefined
    this.opaque = `${this.prefix}opaque`
    this.redirect = `${this.prefix}redirect`
    this.origin = `${this.prefix}origin`
    this.impure = `${this.prefix}impure`
    this.nlink = `${this.prefix}nlink`
    this.uuid = `${this.prefix}uuid`
    this.metacopy = `${this.prefix}metacopy`
    this.whiteout = `${this.prefix}whiteout`
    this.identity = `${this.prefix}identity`
    this.links = `${this.prefix}links`
  }

  /** The stored attribute name of protocol data. */
  protocolData(slot: string): string {
    return `${this.prefix}overlayd.${slot}`
  }

  /** The slot of protocol data for a stored attribute name; undefined if it is not protocol data. */
  slotOf(stored: string): string | undefined {
    const start = `${this.prefix}overlayd.`
    return stored.startsWith(start) ? stored.slice(start.length) : undefined
  }

  /** The stored name for a client's name. */
  toStored(name: string): string {
    return name.startsWith(this.prefix) ? this.#escaped + name.slice(this.prefix.length) : name
  }

  /** The client's name for a stored name; undefined if it is private. */
  toShown(stored: string): string | undefined {
    if (stored === this.#record) return undefined
    if (!stored.startsWith(this.prefix)) return stored
    if (stored.startsWith(this.#escaped)) return this.prefix + stored.slice(this.#escaped.length)
    return undefined
  }

  /** Whether clients must not use this name. */
  isRefused(name: string): boolean {
    return name === this.#record
  }

  /** Whether copy-up copies this stored attribute: all except those private to the lower's own overlay. */
  copiesUp(stored: string): boolean {
    return this.toShown(stored) !== undefined || this.slotOf(stored) !== undefined
  }
}
