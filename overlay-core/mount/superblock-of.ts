import type { Overlay } from '../api/overlay-api.ts'
import { OptionError } from '../api/params.ts'
import type { SuperBlock } from '../objects/superblock.ts'

const superBlocks = new WeakMap<Overlay, SuperBlock>()

/** Lets `superBlockOf` find what is behind an overlay. */
export function registerSuperBlock(overlay: Overlay, sb: SuperBlock): void {
  superBlocks.set(overlay, sb)
}

/** What is behind an overlay that `mount` has returned. @throws OptionError it is something around one */
export function superBlockOf(overlay: Overlay): SuperBlock {
  const sb = superBlocks.get(overlay)
  if (sb === undefined)
    throw new OptionError('view', 'is not served by the overlay itself, so it cannot be put on other layers')
  return sb
}
