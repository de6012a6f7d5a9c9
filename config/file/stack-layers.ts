import { OptionError } from '../../overlay-core/index.ts'
import {
  isLayerReference,
  type LayerReference,
  layerText,
  parseLayerReference,
  type StackLayer,
} from '../layer-reference.ts'
import type { Given } from './key.ts'
import type { Problems } from './problems.ts'

/** A version of a layer of the layer store. */
export interface FoundLayer {
  readonly version: string
  /** The directory of the layer store. Absolute. */
  readonly store: string
  /** The lower. Absolute. */
  readonly path: string
}

/** A version of a layer of the layer store, or what is wrong with it. */
export type LayerLookup = (reference: LayerReference) => FoundLayer | string

/** The layers of the layer store that stacks of a file name. */
export class StackLayers {
  readonly #lookup: LayerLookup
  readonly #problems: Problems

  constructor(lookup: LayerLookup, problems: Problems) {
    this.#lookup = lookup
    this.#problems = problems
  }

  /** Reports what is wrong with the syntax of a reference. */
  check({ value, valueAt }: Given<string>): void {
    try {
      parseLayerReference(value)
    } catch (error) {
      if (!(error instanceof OptionError)) throw error
      this.#problems.add(valueAt, error.reason)
    }
  }

  /** The lower of a view that is meant; undefined if there is none, which is reported for this view. */
  pathOf(given: Given<string>, view: string): Given<string> | undefined {
    const found = this.#find(given.value)
    if (typeof found !== 'string') return found && { ...given, value: found.path }
    this.#problems.add(given.valueAt, found, view)
    return undefined
  }

  /** The layers of a stack that have versions, by their positions in it. */
  versionsIn(names: readonly string[]): (StackLayer | undefined)[] {
    return names.map((text) => {
      const found = isLayerReference(text) ? this.#find(text) : undefined
      if (typeof found !== 'object') return undefined
      const { name, version, pinned, store } = found
      return { name, version, pinned, store }
    })
  }

  #find(text: string): (FoundLayer & StackLayer) | string | undefined {
    try {
      const { name, version } = parseLayerReference(text)
      const found = this.#lookup({ name, version })
      return typeof found === 'string' ? found : { ...found, name, pinned: version !== undefined }
    } catch (error) {
      // The stack was checked.
      if (!(error instanceof OptionError)) throw error
      return undefined
    }
  }
}

/** Why a shared upper cannot lie on these layers: it stays where it is when there is a newer version, so the file must say when it gets that. */
export function newestError(layers: readonly (StackLayer | undefined)[]): string | undefined {
  const newest = layers.find((layer) => layer?.pinned === false)
  return (
    newest &&
    `one upper for all clients needs a fixed version below it; write "layer:${layerText(newest)}" in the stack`
  )
}
