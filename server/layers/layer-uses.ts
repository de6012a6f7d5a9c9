import type { ViewSettings } from '../../config/index.ts'
import { layersOn } from '../registry/template-lowers.ts'
import type { LayerVersions } from '../registry/view-record.ts'

/** Who lies on a version of a layer. */
export interface LayerUse {
  readonly layer: string
  readonly version: string
  /** A view as `NAME` or `TEMPLATE/NAME`; or a template, whose new views lie on the version. */
  readonly by: string
}

/** The templates of a server, with their views. */
export interface UsingTemplates {
  list(): Iterable<{
    readonly name: string
    readonly settings: Parameters<typeof layersOn>[0]
    list(): Iterable<{ readonly path: string; readonly record: { readonly versions?: LayerVersions | undefined } }>
  }>
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
    }
  }
}
