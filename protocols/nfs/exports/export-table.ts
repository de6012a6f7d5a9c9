import { createHash } from 'node:crypto'
import type { Cred, Overlay } from '../../../overlay-core/index.ts'
import type { Peer } from '../rpc/call.ts'
import { AUTH_NONE } from '../rpc/constants.ts'
import { type Credential, DerivedRights } from '../rpc/credential.ts'
import { type AddressesOf, ClientMatcher } from './client-matcher.ts'
import type { ExportRule } from './export-rules.ts'

/** One overlay offered to clients. */
export interface NfsExportSettings {
  /** `overlay` is exported as `/overlay`. */
  name: string
  overlay: Overlay
  rules: readonly ExportRule[]
}

/** The rights of one caller in one export. */
export interface Grant {
  readonly cred: Cred
  readonly readOnly: boolean
  /** Whether data is on disk before the reply. */
  readonly sync: boolean
}

/** uid or gid -1 on the wire: no user at all. */
const NO_ID = 0xffff_ffff
const PRIVILEGED_PORTS = 1024

/** An export as it is being served. */
export class NfsExport {
  readonly name: string
  /** The path for MNT, as bytes, one per code unit. */
  readonly path: string
  readonly overlay: Overlay
  readonly rules: readonly ExportRule[]
  /** The number of the view in file handles, derived from name and overlay, so that it survives a restart. */
  readonly view: number
  /** `fsid` of all attributes, high and low 32 bits, derived from the overlay's UUID. */
  readonly fsidHi: number
  readonly fsidLo: number
  /** Position among the exports of the server. */
  readonly index: number
  readonly #matcher: ClientMatcher

  constructor(options: NfsExportSettings, index: number, addressesOf?: AddressesOf) {
    this.name = options.name
    this.path = `/${Buffer.from(options.name).toString('latin1')}`
    this.overlay = options.overlay
    this.rules = options.rules
    this.index = index
    this.#matcher = new ClientMatcher(options.rules, addressesOf)
    const uuid = Buffer.from(options.overlay.uuid)
    this.fsidHi = uuid.readUInt32BE(0)
    this.fsidLo = uuid.readUInt32BE(4)
    this.view = createHash('sha256').update(uuid).update(options.name).digest().readUInt32BE(0)
  }

  /** The rule for a client; undefined if it has no access: no rule matches its address, or its port is not privileged. */
  ruleFor(peer: Peer): ExportRule | undefined {
    const rule = this.#matcher.find(peer.address)
    return rule?.secure && peer.port >= PRIVILEGED_PORTS ? undefined : rule
  }

  /** Whether a rule matches an address, regardless of the port. */
  isFor(address: string): boolean {
    return this.#matcher.find(address) !== undefined
  }

  /** The rights of the caller here; undefined for none. They are cached in the credential, which belongs to one connection. */
  grant(peer: Peer, credential: Credential): Grant | undefined {
    const grants = grantsOf(credential)
    const known = grants[this.index]
    if (known !== undefined) return known ?? undefined
    const grant = this.#makeGrant(peer, credential)
    grants[this.index] = grant ?? null
    return grant
  }

  #makeGrant(peer: Peer, credential: Credential): Grant | undefined {
    const rule = this.ruleFor(peer)
    if (rule === undefined) return undefined
    return { cred: squash(credential, rule), readOnly: rule.readOnly, sync: rule.sync }
  }
}

/** The grants of a credential by export; null if it was looked up and has none. */
class GrantList extends DerivedRights {
  readonly byExport: (Grant | null | undefined)[] = []
}

function grantsOf(credential: Credential): (Grant | null | undefined)[] {
  const { derived } = credential
  if (derived instanceof GrantList) return derived.byExport
  const list = new GrantList()
  credential.derived = list
  return list.byExport
}

/** The caller of a credential under a rule, with squashing as in exports(5). */
export function squash(credential: Credential, rule: ExportRule): Cred {
  const { anonUid, anonGid } = rule
  if (rule.squash === 'all' || credential.flavor === AUTH_NONE || credential.uid === NO_ID) {
    return { uid: anonUid, gid: anonGid, groups: [] }
  }
  const mapGid = (gid: number) => ((rule.squash === 'root' && gid === 0) || gid === NO_ID ? anonGid : gid)
  return {
    uid: rule.squash === 'root' && credential.uid === 0 ? anonUid : credential.uid,
    gid: mapGid(credential.gid),
    groups: credential.groups.map(mapGid),
  }
}

/** All exports of a server. */
export class ExportTable {
  readonly exports: readonly NfsExport[]
  readonly #byView = new Map<number, NfsExport>()

  /** @throws Error a name is empty, has a slash or is used twice, or an overlay is exported twice */
  constructor(exports: readonly NfsExportSettings[], addressesOf?: AddressesOf) {
    this.exports = exports.map((options, index) => new NfsExport(options, index, addressesOf))
    const names = new Set<string>()
    const overlays = new Set<Overlay>()
    for (const served of this.exports) {
      const { name, overlay } = served
      if (!/^[^/\0]+$/.test(name)) throw new Error(`export name '${name}' is not a single path component`)
      if (names.has(name)) throw new Error(`two exports are named '${name}'`)
      // Each inode has a single file handle.
      if (overlays.has(overlay)) throw new Error(`export '${name}': the overlay is already exported under another name`)
      if (this.#byView.has(served.view))
        throw new Error(`export '${name}': file handles would be ambiguous; choose another name`)
      names.add(name)
      overlays.add(overlay)
      this.#byView.set(served.view, served)
    }
  }

  /** The export of a file handle. */
  byView(view: number): NfsExport | undefined {
    return this.#byView.get(view)
  }

  /** The export whose path is a prefix of `path`, and the remaining components; undefined if there is none. */
  byPath(path: string): { served: NfsExport; rest: string[] } | undefined {
    const components = path.split('/').filter((component) => component !== '' && component !== '.')
    if (!path.startsWith('/')) return undefined
    const served = this.exports.find((candidate) => candidate.path === `/${components[0]}`)
    return served === undefined ? undefined : { served, rest: components.slice(1) }
  }
}
