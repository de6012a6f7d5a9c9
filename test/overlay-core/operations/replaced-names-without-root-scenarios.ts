import type { Inode, Overlay } from '../../../overlay-core/index.ts'
import { at, errnoOf, put, ROOT, text } from '../../helpers/overlay.ts'
import type { Scenario } from '../../helpers/without-root.ts'

/** What happens in the server without root in `replaced-names-without-root.test.ts`. */

async function read(overlay: Overlay, inode: Inode): Promise<string> {
  const buffer = Buffer.alloc(100)
  return buffer.toString('latin1', 0, await overlay.read(ROOT, inode, buffer, 0, buffer.length, 0))
}

async function modeAt(overlay: Overlay, path: string): Promise<number> {
  return (await overlay.getattr(await at(overlay, path))).mode
}

async function retained(overlay: Overlay, path: string): Promise<Inode> {
  const inode = await at(overlay, path)
  overlay.retain(inode)
  await overlay.retained()
  return inode
}

/** x0 is replaced while d/y0 is unknown. */
export const loseAndRestart: Scenario = async (overlay, remount) => {
  const old = await retained(overlay, 'x0')
  await overlay.create(ROOT, overlay.root, 'fresh', { mode: 0o644 })
  await put(overlay, 'fresh', 'fresh')
  await overlay.rename(ROOT, overlay.root, 'fresh', overlay.root, 'x0')
  const content = await read(overlay, old)
  await overlay.setattr(ROOT, old, { mode: 0o600 })
  const changed = { fresh: await modeAt(overlay, 'x0'), old: (await overlay.getattr(old)).mode }
  await overlay.link(ROOT, old, overlay.root, 'z')
  const linked = (await at(overlay, 'z')) === old && (await text(overlay, 'z')) === '0'
  await overlay.unlink(ROOT, overlay.root, 'z')
  const again = await remount()
  const afterRestart = await errnoOf(() => again.inodeByKey(old.key, old.generation))
  const freshAfterRestart = await modeAt(again, 'x0')
  return { content, changed, linked, afterRestart, freshAfterRestart, byName: await modeAt(again, 'd/y0') }
}

/** All of x0 … x1099 are removed, more than are held; then everything is tried by the handles. */
export const loseMany: Scenario = async (overlay) => {
  const all: Inode[] = []
  for (let i = 0; i < 1100; i++) {
    const inode = await retained(overlay, `x${i}`)
    all.push(inode)
    await overlay.unlink(ROOT, overlay.root, `x${i}`)
  }
  const stale: number[] = []
  let wrong = 0
  for (const [i, inode] of all.entries()) {
    const code = await errnoOf(() => overlay.setattr(ROOT, inode, { mode: 0o600 }))
    if (code === 'ESTALE') stale.push(i)
    else if (code !== 'none' || (await read(overlay, inode)) !== `${i}`) wrong++
  }
  const first = all[0] as Inode
  const untouched = (await modeAt(overlay, 'd/y1')) === 0o644
  const found = (await at(overlay, 'd/y0')) === first ? await read(overlay, first) : 'another object'
  return { stale: stale.length, wrong, heldAreLatest: stale.at(-1) === stale.length - 1, untouched, found }
}
