import type { Overlay } from '../../../overlay-core/index.ts'
import { list, put, ROOT } from '../../helpers/overlay.ts'

/** What happens in the server without root in `without-root.test.ts`; each returns what its clients saw. */

export async function listMounted(overlay: Overlay): Promise<unknown> {
  return { names: await list(overlay), inside: await list(overlay, 'mnt') }
}

/** Changes of every kind that leaves a mark. */
export async function makeMarks(overlay: Overlay): Promise<unknown> {
  await put(overlay, 'd/f', 'changed')
  await overlay.unlink(ROOT, overlay.root, 'gone')
  await overlay.rmdir(ROOT, overlay.root, 'empty')
  await overlay.mkdir(ROOT, overlay.root, 'empty', { mode: 0o755 })
  await overlay.rename(ROOT, overlay.root, 'moved', overlay.root, 'elsewhere')
  return { names: await list(overlay), moved: await list(overlay, 'elsewhere') }
}
