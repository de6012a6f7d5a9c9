import type { LayerWork } from '../../config/index.ts'
import type { Committed } from './commit.ts'
import { type Exported, exportLayers } from './export.ts'
import { executeLayerOrder, type LayerDescription, type Removed } from './layer-requests.ts'
import { type LayerServer, type LayerWatch, layerPartsOf } from './server-layers.ts'

/** What work on layers came to. */
export type LayerAnswer = readonly LayerDescription[] | Removed | Committed | Exported

/** Has a running server do work on layers. @throws OptionError nothing has changed */
export async function doLayerWork(server: LayerServer, work: LayerWork, watch: LayerWatch): Promise<LayerAnswer> {
  const parts = layerPartsOf(server, watch)
  if (work.verb === 'export') return await exportLayers(server, parts, work)
  if ('view' in work) {
    const { commitView } = await import('./commit.ts')
    return await commitView(server, parts, work)
  }
  const done = await executeLayerOrder(parts, work)
  return 'layers' in done ? done.layers : done.removed
}
