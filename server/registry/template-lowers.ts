import type { StackLayer, TemplateSettings } from '../../config/index.ts'
import type { MountOptions } from '../../overlay-core/index.ts'
import { pathOfVersion } from '../layers/version-record.ts'
import type { LayerVersions } from './layer-versions.ts'

type Stack = Pick<TemplateSettings, 'mount' | 'layers'>

/** The versions that a view which is made now keeps; undefined if the template names all versions itself. */
export function versionsOfNew({ layers = [] }: Pick<Stack, 'layers'>): LayerVersions | undefined {
  const kept = layers.filter((layer) => layer !== undefined && !layer.pinned) as StackLayer[]
  return kept.length === 0 ? undefined : Object.fromEntries(kept.map(({ name, version }) => [name, version]))
}

/** The versions on which a view lies, with those that the template names. Layers that the view has no version of count with their newest one. */
export function layersOn({ layers = [] }: Pick<Stack, 'layers'>, versions: LayerVersions = {}): StackLayer[] {
  const used = layers.filter((layer) => layer !== undefined)
  return used.map((layer) => (layer.pinned ? layer : { ...layer, version: versions[layer.name] ?? layer.version }))
}

/** The mount options of the template for a view that lies on these versions. */
export function mountOn({ mount, layers = [] }: Stack, versions: LayerVersions = {}): MountOptions {
  const lowerdir = mount.lowerdir.map((path, position) => {
    const layer = layers[position]
    const version = layer?.pinned === false ? versions[layer.name] : undefined
    return layer === undefined || version === undefined ? path : pathOfVersion(layer.store, layer.name, version)
  })
  return { ...mount, lowerdir }
}

/** The settings with another version of a layer for new views, at which the template does not name one. */
export function withNewest<Settings extends Stack>(settings: Settings, name: string, version: string): Settings {
  const { layers: before = [] } = settings
  const layers = before.map((layer) => (layer?.name === name && !layer.pinned ? { ...layer, version } : layer))
  return { ...settings, layers, mount: mountOn({ ...settings, layers }, { [name]: version }) }
}

/** The versions that a view must keep; undefined if it keeps them: those that it lacks are the newest ones of its template. */
export function versionsToKeep(stack: Pick<Stack, 'layers'>, versions: LayerVersions = {}): LayerVersions | undefined {
  const wanted = versionsOfNew(stack) ?? {}
  return Object.keys(wanted).every((name) => versions[name] !== undefined) ? undefined : { ...wanted, ...versions }
}
