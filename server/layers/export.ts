import { parseLayerReference } from '../../config/index.ts'
import { OptionError, readChanges, readTree, readView, type TreeItem } from '../../overlay-core/index.ts'
import type { ServedViews } from '../diff/held-view.ts'
import { exportDirectory, exportFile } from './export-target.ts'
import { type HeldContent, holdContent } from './held-content.ts'
import { digestOf, type LayerIdentity } from './layer-digest.ts'
import type { LayerParts } from './make-version.ts'
import { type ImageLayer, imageArchive } from './oci-write.ts'
import { tarOf } from './tar-write.ts'
import type { LayerVersion } from './version-record.ts'
import type { VersionStore } from './version-store.ts'

export const EXPORT_FORMATS = ['oci-layer', 'oci-archive', 'tar', 'overlay-dir'] as const
export type ExportFormat = (typeof EXPORT_FORMATS)[number]

/** A request of `overlayd export`. */
export interface ExportOrder {
  /** A view as `holdContent` takes it, or `layer:NAME` or `layer:NAME@VERSION`. */
  readonly what: string
  readonly format: ExportFormat
  /** The file, or for `overlay-dir` the directory, which must not exist. Absolute. */
  readonly to: string
}

/** What was exported. */
export interface Exported {
  readonly to: string
  readonly format: ExportFormat
  /** Of the file, or of the tar file of a directory: `sha256:…`. */
  readonly digest: string
  readonly bytes: number
}

/** What can be exported of a view or layer. */
interface Exportable {
  /** The layer itself, or the changes of a view as a layer. */
  readonly layer: () => AsyncIterable<TreeItem>
  /** What one sees: without whiteouts. */
  readonly content: () => AsyncIterable<TreeItem>
  /** The layers of an image, lowest first. */
  readonly image: readonly ImageLayer[]
  readonly tag: string
  release(): Promise<void>
}

/**
 * Writes a view or layer to a file or directory, which appears as a whole. The same content makes the same bytes.
 *
 * @param served undefined if no server runs; then only layers can be exported
 * @throws OptionError naming `view`, `layer`, `to` or `export`
 */
export async function exportLayers(
  served: ServedViews | undefined,
  { store, progress, signal }: LayerParts,
  { what, format, to }: ExportOrder,
): Promise<Exported> {
  const from = what.startsWith('layer:') ? await ofLayer(store, what) : ofView(await held(served, what))
  let done = 0
  const counted = async function* (pieces: AsyncIterable<Uint8Array>) {
    for await (const piece of pieces) {
      if (signal?.aborted) throw new OptionError('export', 'ended; nothing was written')
      done += piece.length
      progress({ step: 'writing', done })
      yield piece
    }
  }
  try {
    const identity = await write(from, format, to, counted)
    return { to, format, digest: identity.digest, bytes: identity.tarBytes }
  } finally {
    await from.release()
  }
}

async function held(served: ServedViews | undefined, what: string): Promise<HeldContent> {
  if (served !== undefined) return await holdContent(served, what)
  throw new OptionError('view', `${what} needs a running server; start it, or name a layer as layer:NAME`)
}

async function write(
  { layer, content, image, tag }: Exportable,
  format: ExportFormat,
  to: string,
  counted: (pieces: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
): Promise<LayerIdentity> {
  if (format === 'overlay-dir') {
    await exportDirectory(to, layer())
    return await digestOf(counted(tarOf(readTree(to))))
  }
  const pieces = format === 'oci-archive' ? imageArchive(image, tag) : tarOf(format === 'tar' ? content() : layer())
  return await exportFile(to, counted(pieces))
}

async function ofLayer(store: VersionStore, what: string): Promise<Exportable> {
  const { name, version } = parseLayerReference(what)
  const release = await store.shared()
  if (release === undefined)
    throw new OptionError('layer', 'unused content is being removed; try again when overlayd layer gc has ended')
  try {
    return await ofVersion(store, await store.find(name, version), release)
  } catch (error) {
    release()
    throw error
  }
}

async function ofVersion(store: VersionStore, found: LayerVersion, release: () => void): Promise<Exportable> {
  const { digest, tarBytes } = await store.objectOf(found)
  const items = () => readTree(store.pathOf(found))
  return {
    layer: items,
    content: () => withoutMarks(items()),
    image: [{ items, identity: { digest, tarBytes } }],
    tag: found.version,
    release: async () => release(),
  }
}

function ofView({ overlay, base, lowers, release }: HeldContent): Exportable {
  const layer = () => readChanges(overlay, base)
  const below = lowers.map(({ path }): ImageLayer => ({ items: () => readTree(path) })).reverse()
  return { layer, content: () => readView(overlay), image: [...below, { items: layer }], tag: 'latest', release }
}

async function* withoutMarks(items: AsyncIterable<TreeItem>): AsyncGenerator<TreeItem> {
  for await (const item of items) {
    const { entry } = item
    if (entry.type !== 'whiteout') yield entry.opaque ? { ...item, entry: { ...entry, opaque: false } } : item
  }
}
