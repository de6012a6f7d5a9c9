import type { Overlay } from './overlay-api.ts'
import type { MountOptions } from './params.ts'

/**
 * Opens the layers, claims upper and workdir, cleans the workdir and returns the overlay.
 *
 * @throws OptionError a directory is missing, unreadable, nested or busy (names the option; nothing was created)
 */
export declare function mount(options: MountOptions): Promise<Overlay>
