import type { Attr, Inode, SetTime } from '../../../overlay-core/index.ts'
import { parseOcMtime } from '../http/headers.ts'
import type { DavView, ViewContext } from '../state/context.ts'

/** What X-OC-Mtime asks for, if it is there. */
export interface AskedTime {
  /** Gives the object the time. @returns what to tell the client, a flat list of names and values: that it has been done */
  set(view: DavView, inode: Inode | undefined): Promise<readonly string[]>
  readonly isAsked: boolean
}

const NOTHING: readonly string[] = []
const ACCEPTED: readonly string[] = ['X-OC-Mtime', 'accepted']

/** Reads X-OC-Mtime, which ownCloud clients and rclone send with whatever makes a resource. @throws DavError 400 */
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

/** What to answer when a time was asked for: nothing where the file system could keep another one only. */
export function acceptedTime(asked: SetTime | undefined, attr: Attr): readonly string[] {
  return asked !== undefined && keptTime(asked, attr) ? ACCEPTED : NOTHING
}

/** Whether the object has the time that was set, if any was: file systems take what lies beyond their range for the last one in it. */
export function keptTime(asked: SetTime | undefined, { mtime }: Attr): boolean {
  return asked === undefined || asked === 'now' || asked.sec === mtime.sec
}
