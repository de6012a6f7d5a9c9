import { OverlayError } from '../api/errno.ts'
import { FileType, type Inode } from '../api/types.ts'

/** The error of a call after the overlay was unmounted. */
export function notMounted(): OverlayError {
  return new OverlayError('ESTALE', 'overlay')
}

/** @throws ENOTDIR */
export function needDirectory(inode: Inode): void {
  if (inode.type !== FileType.directory) throw new OverlayError('ENOTDIR', 'lookup')
}
