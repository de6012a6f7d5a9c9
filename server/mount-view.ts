import { isErrno, type MountOptions, mount, type Overlay } from '../overlay-core/index.ts'
import { makeUpper } from './new-upper.ts'
import { makeHandleDir } from './state-dir.ts'
import type { ResolvedViewSettings } from './views.ts'

/** A mounted view, the directory of its file handles if it has no workdir, and a note if it differs from the requested settings. */
export interface Mounted {
  readonly overlay: Overlay
  readonly handleDir: string | undefined
  readonly note?: string
}

/**
 * Mounts. If the file system of the upper accepts no changes, because it is full or read-only, the overlay is served read-only, as
 * with `ro`.
 */
export async function mountView({ settings, options }: ResolvedViewSettings, stateDir: string): Promise<Mounted> {
  const { upperdir, lowerdir } = options
  const { make, handlesOfItsOwn } = settings
  const view = handlesOfItsOwn ? settings.name : undefined
  if (upperdir === undefined) return await mountWithoutUpper(options, stateDir, view)
  try {
    if (make !== undefined) await makeUpper(options, make.owner)
    return { overlay: await mount(options), handleDir: undefined }
  } catch (error) {
    if (!isErrno(error, 'EROFS', 'ENOSPC', 'EDQUOT')) throw error
    const below = { ...options, lowerdir: [upperdir, ...lowerdir], upperdir: undefined, workdir: undefined }
    const mounted = await mountWithoutUpper({ ...below, readOnly: true }, stateDir, view)
    const why = error.code === 'EROFS' ? 'is read-only' : `is full (${error.code})`
    return {
      ...mounted,
      note: `the file system of ${upperdir} ${why}, so the overlay is read-only; fix it and restart`,
    }
  }
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
