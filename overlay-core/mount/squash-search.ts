import { FileType, type Name } from '../api/types.ts'
import { type Found, keepsIdentities, type Layer, type Real } from '../layer/layer.ts'
import { findInLower, marksOfLower } from '../lookup/namei.ts'
import { redirected } from '../lookup/redirect.ts'
import type { SuperBlock } from '../objects/superblock.ts'

/** What the layers of a squash have at a name. */
export interface SquashedName {
  /** The directories that merge, topmost first, also those below the squashed layers; or one other object; none for a whiteout. */
  readonly found: readonly Found[]
  /** Whether nothing below the squashed layers belongs to it. */
  readonly ends: boolean
  /** Where a directory is looked up below the squashed layers, if not at its name. */
  readonly redirect: string | undefined
}

/**
 * Looks up `name` in `parents`, the directories of the squashed layers and below that merge, from the first that has the name. Follows redirects as any lookup
 * (`searchLowers` in namei.ts), and tells with which the search leaves the squashed layers.
 */
export async function searchSquashed(
  sb: SuperBlock,
  squashed: ReadonlySet<Layer>,
  parents: readonly Real[],
  name: Name,
): Promise<SquashedName> {
  const found: Found[] = []
  let redirect: string | undefined
  let left: { readonly redirect: string | undefined } | undefined
  let ends = false
  let list = parents
  for (let i = 0; i < list.length; i++) {
    const parent = list[i] as Real
    if (!squashed.has(parent.layer)) left ??= { redirect }
    const last = parent.layer === sb.lowers.at(-1) && sb.dataLayers.length === 0
    const { at, stop, redirect: onward } = await findInLower(sb, parent, redirect ?? name, last)
    redirect = onward ?? redirect
    if (!at) {
      ends = stop
      if (stop) break
      continue
    }
    const directory = at.stat.type === FileType.directory
    ends = found.length > 0 && !directory
    if (ends) break
    const marks = await marksOfLower(sb, at, last)
    found.push(keepsIdentities(at.real.layer) ? { ...at, origin: marks.origin, identity: marks.identity } : at)
    if (!directory) return { found, ends: true, redirect: undefined }
    const absolute = marks.redirect?.startsWith('/') === true
    ends = marks.opaque || (stop && !absolute)
    if (ends) break
    if (marks.redirect !== undefined) redirect = redirected(redirect, marks.redirect)
    if (!absolute) continue
    list = sb.lowers.slice(sb.lowers.indexOf(parent.layer) + 1).map(({ root }) => root)
    i = -1
  }
  if (left) return { found, ends: false, redirect: left.redirect }
  return { found, ends, redirect: ends ? undefined : redirect }
}
