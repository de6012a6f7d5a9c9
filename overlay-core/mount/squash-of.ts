import type { Squash } from '../api/overlay-api.ts'
import type { Mounting } from './unmount.ts'

/** @see Overlay.squash */
export function squashOf(
  mounting: Mounting,
  layers: readonly string[],
  directory: string,
  overlay: { readonly isMounted: () => boolean; readonly inTurn: (change: () => Promise<void>) => Promise<void> },
): Squash {
  const merge = mounting.squash(layers, overlay.isMounted)
  return {
    make: () => merge.make(directory),
    adopt: (place, options, { stack } = {}) =>
      overlay.inTurn(() => mounting.adopt(merge, directory, place, options, stack)),
    end: () => merge.end(),
  }
}
