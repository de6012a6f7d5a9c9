import type { ViewSettings } from '../../config/index.ts'
import type { LayerVersions } from '../registry/layer-versions.ts'
import { layersOn } from '../registry/template-lowers.ts'

/** Who lies on a version of a layer. */
export interface LayerUse {
  readonly layer: string
  readonly version: string
  /** A view as `NAME` or `TEMPLATE/NAME`; or a template, whose new views lie on the version. */
  readonly by: string
}

/** What a view lies on, and what it can be brought back to. */
interface UsingRecord {
  readonly versions?: LayerVersions | undefined
  readonly snapshots?: readonly { readonly name: string; readonly versions?: LayerVersions | undefined }[] | undefined
}

/** A template with its views. */
export interface UsingTemplate {
  readonly name: string
  readonly settings: Parameters<typeof layersOn>[0]
  list(): Iterable<{ readonly path: string; readonly record: UsingRecord }>
}

/** The templates of a server. */
export interface UsingTemplates {
  list(): Iterable<UsingTemplate>
}

/** Tells who lies on which versions of layers: the views that all share, templates, and the views of templates. */
export function* layerUses(views: Iterable<ViewSettings>, templates: UsingTemplates | undefined): Generator<LayerUse> {
  for (const { name, layers = [], template } of views) {
    if (template !== undefined) continue
    for (const used of layers) if (used) yield { layer: used.name, version: used.version, by: name }
  }
  for (const template of templates?.list() ?? []) {
    for (const { name, version } of layersOn(template.settings)) yield { layer: name, version, by: template.name }
    for (const view of template.list()) {
      for (const { name, version } of layersOn(template.settings, view.record.versions))
        yield { layer: name, version, by: view.path }
      for (const snapshot of view.record.snapshots ?? []) {
        const versions = snapshot.versions ?? view.record.versions
        for (const { name, version } of layersOn(template.settings, versions))
          yield { layer: name, version, by: `${view.path}@${snapshot.name}` }
      }
    }
  }
}
