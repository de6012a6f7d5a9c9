import { FileType, type Overlay } from '../../../overlay-core/index.ts'
import { at, list, put, ROOT, text } from '../../helpers/overlay.ts'

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

/** Changes that a kernel overlay without root can read: no redirects. */
export async function changePlainly(overlay: Overlay): Promise<unknown> {
  await put(overlay, 'd/f', 'changed')
  await overlay.unlink(ROOT, overlay.root, 'gone')
  await overlay.rmdir(ROOT, overlay.root, 'empty')
  await overlay.mkdir(ROOT, overlay.root, 'empty', { mode: 0o755 })
  await overlay.create(ROOT, await at(overlay, 'empty'), 'new', { mode: 0o644 })
  return await contents(overlay)
}

/** Everything in the overlay: paths with content, directories with a slash. */
async function contents(overlay: Overlay, path = ''): Promise<string[]> {
  const found: string[] = []
  for (const name of await list(overlay, path)) {
    const inside = path === '' ? name : `${path}/${name}`
    if ((await at(overlay, inside)).type === FileType.directory)
      found.push(`${inside}/`, ...(await contents(overlay, inside)))
    else found.push(`${inside} ${await text(overlay, inside)}`)
  }
  return found.sort()
}

export const allContents = (overlay: Overlay): Promise<unknown> => contents(overlay)
