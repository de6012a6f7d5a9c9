import {
  type Attr,
  compare,
  FileType,
  type Inode,
  isErrno,
  mount,
  type Name,
  type Overlay,
} from '../../overlay-core/index.ts'
import { SERVER } from './copy-tree.ts'
import type { TemplateView } from './template-view.ts'
import { objectAt, type ViewPath } from './view-paths.ts'

/** A file that was changed so shortly before the comparison may have been changed during it with the same ctime, because file systems count time in ticks. */
const TICK_MS = 100

/** What was dropped from the upper of a view. */
export interface Deduplicated {
  readonly count: number
  /** The sizes of the files together. */
  readonly bytes: number
}

/**
 * Drops files and symlinks from the upper of a view that equal what is below them in every respect, times included. Clients keep their handles. Left alone are those with
 * several names or WebDAV properties, those that are open or were just changed, and directories. It is durable then.
 *
 * @param nowMs the time of day, in ms since the epoch
 */
export async function dedupe(view: TemplateView, nowMs: number): Promise<Deduplicated> {
  return await view.inTurn(async () => {
    const overlay = await view.use()
    try {
      const below = await mount(view.lowersOn(view.frozen))
      try {
        return await dropSame(overlay, below, nowMs)
      } finally {
        await below.unmount()
      }
    } finally {
      view.release()
    }
  })
}

async function dropSame(overlay: Overlay, below: Overlay, startMs: number): Promise<Deduplicated> {
  let [count, bytes] = [0, 0]
  for await (const { kind, path, after } of compare(SERVER, overlay, below)) {
    if (kind !== 'same' || after === undefined || after.type === FileType.directory) continue
    const seen = await settledAttr(overlay, after, startMs)
    if (seen === undefined || !(await drop(overlay, path, seen))) continue
    count++
    bytes += seen.type === FileType.regular ? seen.size : 0
  }
  if (count > 0) await overlay.sync()
  return { count, bytes }
}

/** The attributes of an object that was not changed since `startMs`; undefined if it was, or is gone. */
async function settledAttr(overlay: Overlay, inode: Inode, startMs: number): Promise<Attr | undefined> {
  try {
    const attr = await overlay.getattr(inode)
    return attr.ctime.sec * 1000 + attr.ctime.nsec / 1e6 < startMs - TICK_MS ? attr : undefined
  } catch (error) {
    if (!isErrno(error)) throw error
    return undefined
  }
}

async function drop(overlay: Overlay, path: ViewPath, seen: Attr): Promise<boolean> {
  try {
    const dir = await objectAt(overlay, path.slice(0, -1))
    if (dir === undefined) return false
    return await overlay.dropCopy(SERVER, dir, path.at(-1) as Name, seen)
  } catch (error) {
    // Somebody has removed or moved it, or it does not cover a lower.
    if (!isErrno(error, 'ENOENT', 'ENODATA', 'ESTALE', 'EISDIR', 'EMLINK', 'ENOTDIR')) throw error
    return false
  }
}
