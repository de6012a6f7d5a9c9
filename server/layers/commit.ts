import { parseLayerReference } from '../../config/index.ts'
import { OptionError, readChanges, type TreeItem } from '../../overlay-core/index.ts'
import type { ServedViews } from '../diff/held-view.ts'
import { type HeldContent, holdContent } from './held-content.ts'
import { type LayerDescription, type LayerRequestParts, partOfVersion, refuseTaken } from './layer-requests.ts'
import { partOf } from './layer-source.ts'
import { makeVersion } from './make-version.ts'
import type { LayerVersion } from './version-record.ts'

/** A request of `overlayd commit` and `overlayd promote`. */
export interface CommitOrder {
  /** As `holdContent` takes it. */
  readonly view: string
  /** `LAYER` or `LAYER:VERSION`. */
  readonly to: string
  /** Only what is at these paths or below them; all changes if it is absent. */
  readonly paths?: readonly string[]
  /** Whether only to tell what the version would contain. */
  readonly dryRun?: boolean
}

/** What a commit did. */
export interface Committed {
  /** Undefined after a dry run. */
  readonly version?: Pick<LayerVersion, 'layer' | 'version' | 'digest'> & Pick<LayerDescription, 'path'>
  /** The version to whose content the changes were added; undefined: the version contains the changes alone. */
  readonly on?: string
  /** The paths of changed objects, and of removed ones (`removed`). After a dry run all, else none. */
  readonly changes: readonly { readonly path: string; readonly removed: boolean }[]
}

/** A dry run tells so many paths at most. */
const MOST_TOLD = 10_000

/**
 * Makes the changes of a view a new version of a layer. If the view lies on the layer, which must be the topmost one then, the version has the content of the one
 * below with the changes; otherwise it has the changes alone, to be put on top of the same stack. The view stays as it is.
 *
 * @throws OptionError naming `view`, `to` or `path`
 */
export async function commitView(
  served: ServedViews,
  parts: LayerRequestParts,
  order: CommitOrder,
): Promise<Committed> {
  const { name, version } = targetIn(order.to)
  await refuseTaken(parts.store, name, version)
  const held = await holdContent(served, order.view)
  try {
    const on = baseOf(held, name, order.view)
    const wanted = (order.paths ?? []).map(pathIn)
    if (order.dryRun) return { ...(on && { on: `${on.layer}@${on.version}` }), changes: await told(held, wanted) }
    const changes = partOf(notEmpty(readChanges(held.overlay, held.base, wanted), order))
    const below = on && (await parts.store.find(on.layer, on.version))
    const content = below
      ? { parts: [partOfVersion(parts.store, below), changes], isWhole: on.isLowest }
      : { parts: [changes], isWhole: false }
    const made = { layer: name, version, from: `view:${order.view}`, ...(below && { on: below.version }) }
    const done = await makeVersion(parts, made, content)
    parts.published(done)
    const { layer, digest } = done
    return {
      version: { layer, version: done.version, digest, path: parts.store.pathOf(done) },
      ...(below && { on: `${below.layer}@${below.version}` }),
      changes: [],
    }
  } finally {
    await held.release()
  }
}

function targetIn(text: string): { name: string; version: string | undefined } {
  const at = text.indexOf(':')
  return parseLayerReference(at < 0 ? text : `${text.slice(0, at)}@${text.slice(at + 1)}`)
}

/** The version of this layer below the view. @throws OptionError naming `to`: layers above it would hide the changes */
function baseOf({ lowers }: HeldContent, name: string, view: string) {
  const at = lowers.findIndex(({ layer }) => layer?.name === name)
  const found = lowers[at]?.layer
  const isLowest = lowers.length === 1
  if (at <= 0 || found === undefined) return found && { layer: found.name, version: found.version, isLowest }
  throw new OptionError(
    'to',
    `${name} is not the topmost layer of ${view}, so the layers above it would hide changes; name another layer`,
  )
}

/** Fails if nothing of what was asked for was changed. */
async function* notEmpty(items: AsyncIterable<TreeItem>, { view, paths }: CommitOrder): AsyncGenerator<TreeItem> {
  let found = false
  for await (const item of items) {
    found ||= item.entry.path !== ''
    yield item
  }
  if (found) return
  const where = paths === undefined ? '' : ` at ${paths.join(', ')}`
  throw new OptionError('view', `nothing was changed in ${view}${where}; see overlayd diff ${view}`)
}

async function told({ overlay, base }: HeldContent, wanted: readonly string[]): Promise<Committed['changes']> {
  const changes: { path: string; removed: boolean }[] = []
  for await (const { entry } of readChanges(overlay, base, wanted)) {
    const path = Buffer.from(entry.path, 'latin1').toString('utf8')
    if (entry.path !== '' && changes.length < MOST_TOLD) changes.push({ path, removed: entry.type === 'whiteout' })
  }
  return changes
}

/** A path of a view as bytes, one code unit each. */
function pathIn(text: string): string {
  return Buffer.from(text.replace(/^\/+|\/+$/g, ''), 'utf8').toString('latin1')
}
