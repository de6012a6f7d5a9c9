import { type MountOptions, mount, type Overlay } from '../overlay-core/index.ts'
import { makeUpper } from './new-upper.ts'
import { makeHandleDir } from './state-dir.ts'
import type { ResolvedViewSettings } from './views.ts'

/** A mounted view, the directory of its file handles if it has no workdir, and a warning if it differs from the requested settings. */
export interface Mounted {
  readonly overlay: Overlay
  readonly handleDir: string | undefined
  readonly warning?: string
}

/**
 * Mounts a view. The overlay decides what to do if the file system of the upper is full or read-only. Only if the upper cannot be created is
 * the view mounted without it, read-only.
 */
export async function mountView({ settings, options }: ResolvedViewSettings, stateDir: string): Promise<Mounted> {
  const { make, handlesOfItsOwn } = settings
  const view = handlesOfItsOwn ? settings.name : undefined
  if (options.upperdir === undefined) return await mountWithoutUpper(options, stateDir, view)
  if (make === undefined || (await makeUpper(options, make.owner)))
    return { overlay: await mount(options), handleDir: undefined }
  const lowers = withoutUpper(options)
  const warning = `the file system of ${options.upperdir} is full or read-only, so it cannot be created and the overlay is read-only; fix it and restart`
  return { ...(await mountWithoutUpper(lowers, stateDir, view)), warning }
}

/** The options of the same overlay without its upper, read-only. */
export function withoutUpper(options: MountOptions): MountOptions {
  return { ...options, upperdir: undefined, workdir: undefined, readOnly: true }
}

/** Mounts an overlay without an upper. It has no workdir for its file handles, so they are stored in the state directory if possible. */
async function mountWithoutUpper(options: MountOptions, stateDir: string, view: string | undefined): Promise<Mounted> {
  const handles = await makeHandleDir(stateDir, layersOf(options), view)
  if (handles === undefined) return { overlay: await mount(options), handleDir: undefined }
  try {
    return { overlay: await mount(options, { handleDirectory: handles.path }), handleDir: handles.path }
  } catch (error) {
    await handles.undo()
    throw error
  }
}

/** The layers that file handles of an overlay without an upper depend on, in order. */
export function layersOf({ lowerdir, datadir }: MountOptions): string[] {
  return [...lowerdir, '', ...datadir]
}
