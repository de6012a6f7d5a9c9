import t from 'tap'
import { FileType } from '../../../overlay-core/api/types.ts'
import { OvlInode } from '../../../overlay-core/objects/dentry.ts'

const handle = () => ({ writes: false, beforeLastName: async () => undefined })

t.test('open handles that read a lower are known until the last one is closed', async (t) => {
  const inode = new OvlInode({ key: 1, generation: 1, type: FileType.regular, fileIdHi: 0, fileIdLo: 1 }, undefined, [])
  t.equal(inode.lowerHandles, undefined)
  const [first, second] = [handle(), handle()]
  inode.addLowerHandle(first)
  inode.addLowerHandle(second)
  inode.removeLowerHandle(first)
  inode.removeLowerHandle(first)
  t.same([...(inode.lowerHandles ?? [])], [second])
  inode.removeLowerHandle(second)
  t.equal(inode.lowerHandles, undefined)
})

t.test('closing the last handle keeps everything else that is known of the file', async (t) => {
  const inode = new OvlInode({ key: 1, generation: 1, type: FileType.regular, fileIdHi: 0, fileIdLo: 1 }, undefined, [])
  const only = handle()
  inode.addLowerHandle(only)
  const { nodeLock } = inode
  inode.lowerNlink = 2
  inode.removeLowerHandle(only)
  t.equal(inode.lowerNlink, 2)
  t.equal(inode.nodeLock, nodeLock)
})
