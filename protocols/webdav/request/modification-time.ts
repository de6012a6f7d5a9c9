import type { Inode } from '../../../overlay-core/index.ts'
import { parseOcMtime } from '../http/headers.ts'
import type { DavView, ViewContext } from '../state/context.ts'

/** What X-OC-Mtime asks for, if it is there, and what to answer once it is done. */
export interface AskedTime {
  /** Gives the object the time. */
  set(view: DavView, inode: Inode | undefined): Promise<void>
  /** For the answer, a flat list of names and values. */
  readonly headers: readonly string[]
}

/** Reads X-OC-Mtime, which ownCloud clients and rclone send with whatever makes a resource. @throws DavError 400 */
export function askedTime({ req }: ViewContext): AskedTime {
  const mtime = parseOcMtime(req.headers['x-oc-mtime'])
  if (mtime === undefined) return { set: async () => undefined, headers: [] }
  return {
    set: async (view, inode) => {
      if (inode !== undefined) await view.overlay.setattr(view.cred, inode, { mtime })
    },
    headers: ['X-OC-Mtime', 'accepted'],
  }
}
