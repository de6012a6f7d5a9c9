import type { Settings } from '../../config/index.ts'
import { layersOn } from '../registry/template-lowers.ts'
import { readRecord, viewDirectories } from '../registry/view-directory.ts'
import { type LayerUse, layerUses } from './layer-uses.ts'

/** Tells who lies on which versions of layers while no server runs, by the configuration and the records of the views on disk. */
export async function storedUses({ views }: Pick<Settings, 'views'>): Promise<LayerUse[]> {
  const uses = [...layerUses(views, undefined)]
  for (const { name, template } of views) {
    if (template === undefined) continue
    for (const used of layersOn(template)) uses.push({ layer: used.name, version: used.version, by: name })
    for (const id of template.ephemeral ? [] : await idsIn(template.directory)) {
      const record = await readRecord(template.directory, id)
      for (const used of record ? layersOn(template, record.versions) : [])
        uses.push({ layer: used.name, version: used.version, by: `${name}/${record?.name}` })
    }
  }
  return uses
}

async function idsIn(directory: string): Promise<string[]> {
  try {
    return await viewDirectories(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
