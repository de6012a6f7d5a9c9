import type { TemplateSettings } from '../../config/index.ts'
import { versionsToKeep } from './template-lowers.ts'
import type { TemplateView } from './template-view.ts'
import type { Registry } from './view-registry.ts'

/** The template began to name a layer without a version: from now on its views stay on the newest one of today. */
export async function keepVersions(
  views: Iterable<TemplateView>,
  settings: TemplateSettings,
  registry: Registry,
): Promise<void> {
  const moving = [...views].map(async (view) => {
    const versions = versionsToKeep(settings, view.record.versions)
    if (versions) view.record = await registry.lieOn(view.record, versions)
  })
  await Promise.all(moving)
}
