import { OverlayError } from '../api/errno.ts'
import type { Overlay } from '../api/overlay-api.ts'
import { resizing } from '../objects/charges.ts'
import type { OvlInode } from '../objects/dentry.ts'
import { attrFor } from '../objects/inode.ts'
import type { SuperBlock } from '../objects/superblock.ts'
import { fallocate } from '../sys/attr.ts'
import { FARTHEST } from '../sys/data.ts'
import { FALLOC_FL_KEEP_SIZE, FALLOC_FL_PUNCH_HOLE } from '../sys/flags.ts'
import { dropPrivilege, needRegular, needWrite } from './file.ts'

const PUNCH = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE

/** @see Overlay.allocate */
export async function allocate(
  sb: SuperBlock,
  inode: OvlInode,
  [cred, , how, position, length]: Parameters<Overlay['allocate']>,
): Promise<void> {
  needRegular(inode)
  if (sb.readOnly) throw new OverlayError('EROFS', 'fallocate')
  if (position + length > FARTHEST) throw new OverlayError('EFBIG', 'fallocate')
  await sb.descriptors.run(async () => {
    const attr = await attrFor(sb, cred, inode)
    needWrite(cred, attr)
    const size = how === 'allocate' ? Math.max(attr.size, position + length) : attr.size
    await resizing(sb.charges, inode, size, async (reserve) => {
      reserve()
      const file = await sb.descriptors.resting(() => sb.files.acquire(inode, true))
      try {
        await dropPrivilege(sb, cred, file, attr)
        await fallocate(file.fd, how === 'punch' ? PUNCH : 0, position, length)
      } finally {
        inode.changed()
        sb.files.release(file)
      }
    })
  })
}
