import type { Layer } from '../layer/layer.ts'
import { type FileSystem, hexOf, isPartOf } from './file-systems.ts'
import type { KnownFileSystem } from './identity-file.ts'
import type { IdentityKeeper } from './identity-keeper.ts'

/** A lower of the stack, and the file system it is on. */
export interface TrustedLayer {
  readonly layer: Layer
  readonly path: string
  readonly fileSystem: FileSystem
  /** Whether its file system has file handles. */
  readonly hasHandles: boolean
}

/** The position of the UUID in the names of index entries, in hex digits. */
const UUID_AT = 10
const UUID_DIGITS = 32

/**
 * Decides for each of the `fresh` layers among `lowers` whether the index joins its hard links and whether its origins are followed. Both happen only
 * while UUID and file handle are unambiguous (as in ovl_lower_uuid_ok and ovl_get_fsid in fs/overlayfs/super.c; in addition, this detects that one
 * file system has replaced another). For other layers the earlier decision stands.
 *
 * @param index the names in the index directory; undefined with index=off
 * @returns the consequences, as sentences for the administrator
 */
export function decideTrust(
  lowers: readonly TrustedLayer[],
  fresh: (layer: Layer) => boolean,
  index: readonly string[] | undefined,
  keeper: IdentityKeeper,
): string[] {
  const uuids = uuidsIn(index ?? [])
  const notices: string[] = []
  for (const lower of lowers) {
    const { layer, fileSystem } = lower
    const reason = whyNot(lower, lowers, uuids, keeper)
    if (fresh(layer)) {
      layer.joinsLinks = fileSystem.numbersLast && reason === undefined
      layer.trustsOrigins = layer.joinsLinks && foreignTo(lower, keeper).every(({ marked }) => marked)
      layer.marksCopies = !layer.trustsOrigins || !fileSystem.leadsBack
      if (!layer.marksCopies) keeper.noteUnmarked(layer.fsIndex)
    }
    const notice = noticeOf(lower, reason, index !== undefined)
    if (notice !== undefined) notices.push(notice)
  }
  if (index) noteJoined(lowers, keeper)
  return notices
}

function noteJoined(lowers: readonly TrustedLayer[], keeper: IdentityKeeper): void {
  const joined = lowers.filter(({ layer }) => layer.joinsLinks)
  for (const uuid of new Set(joined.map(({ layer }) => hexOf(layer.fsUuid)))) {
    const of = joined.filter(({ layer }) => hexOf(layer.fsUuid) === uuid)
    keeper.noteIndexed(uuid, new Set(of.map(({ layer }) => layer.fsIndex)))
  }
}

/** Why the index could confuse links in a lower with those of another file system, or cannot name them. */
type Reason = 'no uuid' | 'shared uuid' | 'no handles' | 'replaced'

function whyNot(
  lower: TrustedLayer,
  lowers: readonly TrustedLayer[],
  uuidsInIndex: ReadonlySet<string>,
  keeper: IdentityKeeper,
): Reason | undefined {
  const { layer, fileSystem, hasHandles } = lower
  const uuid = hexOf(layer.fsUuid)
  const isTwin = ({ layer: other, fileSystem: its }: TrustedLayer) =>
    its.whole !== fileSystem.whole && hexOf(other.fsUuid) === uuid
  if (lowers.some(isTwin)) return uuid === '' ? 'no uuid' : 'shared uuid'
  if (!hasHandles) return 'no handles'
  if (!uuidsInIndex.has(uuid.padStart(UUID_DIGITS, '0'))) return undefined
  const own = keeper.fileSystems.find(({ index }) => index === layer.fsIndex)
  if (own?.indexed) return undefined
  // Earlier versions did not record whose links the index contains.
  const noted = keeper.fileSystems.some((entry) => entry.uuid === uuid && entry.indexed)
  return foreignTo(lower, keeper).some(({ indexed }) => indexed || !noted) ? 'replaced' : undefined
}

/** The other file systems with the same UUID that the overlay has ever had. */
function foreignTo({ layer, fileSystem }: TrustedLayer, keeper: IdentityKeeper): KnownFileSystem[] {
  const uuid = hexOf(layer.fsUuid)
  return keeper.fileSystems.filter(
    (entry) => entry.uuid === uuid && entry.index !== layer.fsIndex && !isPartOf(fileSystem, entry),
  )
}

function uuidsIn(index: readonly string[]): Set<string> {
  return new Set(index.map((name) => name.slice(UUID_AT, UUID_AT + UUID_DIGITS)))
}

function noticeOf(
  { path, fileSystem }: TrustedLayer,
  reason: Reason | undefined,
  indexed: boolean,
): string | undefined {
  const off = 'index=off is used for it, so its hard links break at copy-up'
  const links = indexed ? `; ${off}` : ''
  if (!fileSystem.numbersLast)
    return `the file system of the lower '${path}' has no unique UUID or no stable inode numbers: its objects are identified by path, and file handles may become stale when it is mounted again${links}`
  if (!indexed) return undefined
  switch (reason) {
    case 'no uuid':
      return `the lower '${path}' is one of several on file systems without a UUID; ${off}`
    case 'shared uuid':
      return `another lower is on a different file system with the same UUID as '${path}'; ${off}`
    case 'no handles':
      return `the file system of the lower '${path}' has no file handles; ${off}`
    case 'replaced':
      return `the index has links to another file system that has the same UUID as the lower '${path}', or also has none; ${off}`
    default:
      return undefined
  }
}
