import type { Attr, Inode, SetTime } from '../../../overlay-core/index.ts'
import { parseOcMtime } from '../http/headers.ts'
import type { DavView, ViewContext } from '../state/context.ts'

/** The time in X-OC-Mtime, if present. */
export interface AskedTime {
  /** Sets the time of the object. @returns response fields that confirm it, as a flat list of names and values */
  set(view: DavView, inode: Inode | undefined): Promise<readonly string[]>
  readonly isAsked: boolean
}

const NOTHING: readonly string[] = []
const ACCEPTED: readonly string[] = ['X-OC-Mtime', 'accepted']

/** Reads X-OC-Mtime, which ownCloud clients and rclone send with every request that creates a resource. @throws DavError 400 */
export function askedTime({ req }: ViewContext): AskedTime {
  const mtime = parseOcMtime(req.headers['x-oc-mtime'])
  if (mtime === undefined) return { set: async () => NOTHING, isAsked: false }
  return {
    set: async (view, inode) => {
      if (inode === undefined) return NOTHING
      await view.overlay.setattr(view.cred, inode, { mtime })
      return acceptedTime(mtime, await view.overlay.getattr(inode))
    },
    isAsked: true,
  }
}

/** The response fields for a requested time: none if the file system could not store it. */
export function acceptedTime(asked: SetTime | undefined, attr: Attr): readonly string[] {
  return asked !== undefined && keptTime(asked, attr) ? ACCEPTED : NOTHING
}

/** Whether the object has the time that was set, if any. File systems clamp times outside their range. */
export function keptTime(asked: SetTime | undefined, { mtime }: Attr): boolean {
  return asked === undefined || asked === 'now' || asked.sec === mtime.sec
}
