import { OptionError } from '../overlay-core/index.ts'
import { nameError } from './option-values.ts'

/** How a stack names a layer of the layer store: `layer:NAME`, or `layer:NAME@VERSION`. */
export interface LayerReference {
  readonly name: string
  /** Undefined: the newest one. */
  readonly version: string | undefined
}

/** A version of a layer of the layer store, as a lower of a stack. */
export interface StackLayer {
  readonly name: string
  readonly version: string
  /** Whether the configuration names the version; otherwise each view keeps the newest one of the time at which it was made. */
  readonly pinned: boolean
  /** The directory of the layer store. Absolute. */
  readonly store: string
}

const PREFIX = 'layer:'

/** Whether the name of a layer in a stack refers to the layer store. */
export function isLayerReference(text: string): boolean {
  return text.startsWith(PREFIX)
}

/** Reads `NAME`, `NAME@VERSION`, or either after `layer:`. @throws OptionError naming `layer` */
export function parseLayerReference(text: string): LayerReference {
  const rest = isLayerReference(text) ? text.slice(PREFIX.length) : text
  const at = rest.indexOf('@')
  const name = at < 0 ? rest : rest.slice(0, at)
  const version = at < 0 ? undefined : rest.slice(at + 1)
  const wrong = nameError(name) ?? (version === undefined ? undefined : nameError(version))
  if (wrong !== undefined) throw new OptionError('layer', `${wrong}; write NAME or NAME@VERSION`)
  return { name, version }
}

/** `NAME@VERSION`. */
export function layerText({ name, version }: Pick<StackLayer, 'name' | 'version'>): string {
  return `${name}@${version}`
}
