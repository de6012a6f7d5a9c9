import type { Overlay } from '../api/overlay-api.ts'
import { FileType, type Inode } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import type { TreeItem } from './tree-entry.ts'
import { ADMIN, ViewItems } from './view-item.ts'

/** Reads everything that a view shows, as `readTree` reads a layer; there are no whiteouts in it. Nobody may change it meanwhile. */
export async function* readView(overlay: Overlay): AsyncGenerator<TreeItem> {
  yield* readBelow(overlay, new ViewItems(overlay), overlay.root, '')
}

/** Reads an object of a view and everything below it. */
export async function* readBelow(
  overlay: Overlay,
  items: ViewItems,
  inode: Inode,
  path: string,
): AsyncGenerator<TreeItem> {
  const item = await items.of(inode, path)
  if (item) yield item
  if (inode.type !== FileType.directory) return
  for (const name of await items.names(inode)) {
    const found = await overlay.lookup(ADMIN, inode, name)
    if (found) yield* readBelow(overlay, items, found, path === '' ? name : `${path}/${name}`)
    if (loopBudget.spent) await loopBudget.rest()
  }
}
