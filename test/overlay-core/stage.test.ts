import { statSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import type { Inode, Overlay } from '../../overlay-core/index.ts'
import { at, ROOT, text, withOverlay, xattrOnDisk } from '../helpers/overlay.ts'

async function replace(overlay: Overlay, content: string, mode?: number): Promise<Inode> {
  const staged = await overlay.stage(ROOT, mode === undefined ? undefined : { mode, uid: 7 })
  await staged.append([Buffer.from(content)])
  return await staged.publish({ dir: overlay.root, name: 'file', mode: 0o640 })
}

t.test('a mode foreseen for a staged file decides nothing', async (t) => {
  await withOverlay(t, [{}], async ({ overlay, upper }) => {
    await replace(overlay, 'new', 0o777)
    t.equal(statSync(join(upper, 'file')).mode & 0o7777, 0o640, 'of a new file it is that of publish')
    t.equal(statSync(join(upper, 'file')).uid, 0)
    await overlay.setattr(ROOT, await at(overlay, 'file'), { mode: 0o604 })
    await replace(overlay, 'second', 0o640)
    t.equal(statSync(join(upper, 'file')).mode & 0o7777, 0o604, 'of a replaced one that which it had')
    t.equal((await overlay.getattr(await at(overlay, 'file'))).mode, 0o604)
    await replace(overlay, 'third', 0o604)
    t.equal(statSync(join(upper, 'file')).mode & 0o7777, 0o604)
  })
})

t.test('attributes set between replacements go along, those of a file that has none are not missed', async (t) => {
  await withOverlay(t, [{ file: 'lower' }], async ({ overlay, upper }) => {
    await replace(overlay, 'one')
    const second = await replace(overlay, 'two')
    await overlay.setxattr(ROOT, second, 'user.mark', Buffer.from('kept'))
    await overlay.setNote(ROOT, second, 'dav', Buffer.from('note'))
    const third = await replace(overlay, 'three')
    t.equal(xattrOnDisk(join(upper, 'file'), 'user.mark'), 'kept')
    await replace(overlay, 'four')
    t.equal(xattrOnDisk(join(upper, 'file'), 'user.mark'), 'kept', 'also once more')
    const now = await at(overlay, 'file')
    t.equal(Buffer.from((await overlay.getNote(ROOT, now, 'dav')) ?? []).toString(), 'note')
    t.equal(await text(overlay, 'file'), 'four')
    t.not(now, third)
  })
})
