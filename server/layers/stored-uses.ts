import type { Settings, TemplateSettings } from '../../config/index.ts'
import { readRecord, viewDirectories } from '../registry/view-directory.ts'
import type { ViewRecord } from '../registry/view-record.ts'
import { type LayerUse, layerUses, type UsingTemplate } from './layer-uses.ts'

/** Tells who lies on which versions of layers while no server runs, by the configuration and the records of the views on disk. */
export async function storedUses({ views }: Pick<Settings, 'views'>): Promise<LayerUse[]> {
  const templates: UsingTemplate[] = []
  for (const { name, template } of views) {
    if (template === undefined) continue
    const records = await recordsOf(template)
    const list = () => records.map((record) => ({ path: `${name}/${record.name}`, record }))
    templates.push({ name, settings: template, list })
  }
  return [...layerUses(views, { list: () => templates })]
}

/** Ephemeral views end with their server. */
async function recordsOf({ directory, ephemeral }: TemplateSettings): Promise<ViewRecord[]> {
  const records: ViewRecord[] = []
  for (const id of ephemeral ? [] : await idsIn(directory)) {
    const record = await readRecord(directory, id)
    if (record) records.push(record)
  }
  return records
}

async function idsIn(directory: string): Promise<string[]> {
  try {
    return await viewDirectories(directory)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error
  }
}
