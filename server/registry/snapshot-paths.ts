import type { Name } from '../../overlay-core/index.ts'
import type { DavUse } from '../../protocols/webdav/index.ts'
import { SERVER } from './copy-tree.ts'
import { listingId, SNAPSHOT_DIRECTORY, snapshotNamed } from './snapshot-views.ts'
import type { Template } from './template.ts'
import type { TemplateView } from './template-view.ts'

/** Whether the names that are left behind a view may lead to its snapshots. */
export function asksForSnapshots(names: readonly Name[], used: number): boolean {
  return names[used] === SNAPSHOT_DIRECTORY
}

/**
 * Where names lead that ask for the snapshots of a view (`asksForSnapshots`): to their directory, into one of them, or into the view itself if that has such a name. Releases
 * the view if it is not needed; undefined if there is no such snapshot.
 *
 * @throws OverlayError the snapshot cannot be opened
 */
export async function throughSnapshots(
  { snapshotViews }: Template,
  view: TemplateView,
  use: DavUse,
  names: readonly Name[],
): Promise<DavUse | undefined> {
  const { overlay } = use.member
  try {
    if (!snapshotViews || (await overlay.lookup(SERVER, overlay.root, SNAPSHOT_DIRECTORY))) return use
    const name = names[use.used + 1]
    if (name === undefined) {
      const id = listingId(view.record.id)
      const member = { ...use.member, id, overlay: snapshotViews.listing(view) }
      return { ...use, id, used: use.used + 1, member, readOnly: true, endsLocks: false }
    }
    const snapshot = snapshotNamed(view, Buffer.from(name, 'latin1').toString('utf8'))
    const inner = snapshot && snapshotViews.of(view, snapshot)
    const opened = await inner?.use()
    use.release()
    if (snapshot === undefined || inner === undefined || opened === undefined) return undefined
    const member = { ...use.member, id: snapshot.top, overlay: opened }
    const release = () => inner.release()
    return { ...use, id: snapshot.top, used: use.used + 2, member, readOnly: true, endsLocks: false, release }
  } catch (error) {
    use.release()
    throw error
  }
}
