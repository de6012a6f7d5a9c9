import { setTimeout as pause } from 'node:timers/promises'
import type { Handle } from '../../helpers/nfs-client.ts'
import type { Victim } from './server.ts'

/** A view that is there, with what must be in it. */
export interface Known {
  readonly id: string
  name: string
  readonly root: Handle
  /** A file that holds `text`. */
  readonly file: Handle
  text: string
  /** Its snapshots, with what that file held. */
  snapshots: { readonly name: string; readonly text: string }[]
  /** A file whose content is of no interest. */
  readonly scratch: Handle
}

/** A step of the life of a view. */
export type Change =
  | { readonly kind: 'make by a mount' | 'make by command' | 'make and use'; readonly name: string }
  /** `squash`: merges the layers that `layersToMerge` made. */
  | { readonly kind: 'open' | 'close' | 'remove' | 'squash'; readonly view: Known }
  | { readonly kind: 'rename'; readonly view: Known; readonly to: string }
  | { readonly kind: 'snapshot'; readonly view: Known; readonly as: string }
  | { readonly kind: 'fork'; readonly view: Known; readonly fork: string }
  /** Changes the file to `text` first, which is acknowledged. */
  | {
      readonly kind: 'rollback'
      readonly view: Known
      readonly text: string
      readonly to: { name: string; text: string }
    }

export const KINDS = [
  'make by a mount',
  'make by command',
  'make and use',
  'open',
  'close',
  'rename',
  'remove',
  'snapshot',
  'fork',
  'rollback',
  'squash',
] as const
export type Kind = (typeof KINDS)[number]

/** Resolves when the server has answered. For `open` the view must be closed. */
export async function perform({ nfs, ask, askSnapshots }: Victim, change: Change): Promise<void> {
  switch (change.kind) {
    case 'make by a mount':
      await nfs.mount(`/course/${change.name}`)
      return
    case 'make by command':
      await ask({ verb: 'create', view: `course/${change.name}` })
      return
    case 'make and use':
      // Its answer promises that the file is durable, and with it the view.
      needOk('CREATE', (await nfs.create(await nfs.mount(`/course/${change.name}`), 'scratch')).status)
      return
    case 'open':
      needOk('WRITE', (await nfs.write(change.view.scratch, 0, Buffer.from('opened'), 2)).status)
      return
    case 'close':
      // Closing makes this durable.
      needOk('WRITE', (await nfs.write(change.view.scratch, 0, Buffer.from('closing'), 0)).status)
      while (await isOpen(ask, change.view.name)) await pause(20)
      return
    case 'rename':
      await ask({ verb: 'rename', view: `course/${change.view.name}`, to: change.to })
      return
    case 'snapshot':
      await askSnapshots({ verb: 'take', view: `course/${change.view.name}`, name: change.as })
      return
    case 'fork':
      await askSnapshots({ verb: 'fork', view: `course/${change.view.name}`, name: change.fork })
      return
    case 'rollback':
      needOk('WRITE', (await nfs.write(change.view.file, 0, Buffer.from(change.text), 2)).status)
      await askSnapshots({ verb: 'rollback', view: `course/${change.view.name}@${change.to.name}` })
      return
    case 'squash':
      await askSnapshots({ verb: 'squash', view: `course/${change.view.name}` })
      return
    case 'remove':
      await ask({ verb: 'remove', view: `course/${change.view.name}` })
  }
}

/** Makes frozen layers of a view that nothing but the view names. */
export async function layersToMerge(
  { nfs, askSnapshots }: Victim,
  { name, file, text, scratch }: Known,
): Promise<void> {
  for (const layer of ['merge-1', 'merge-2', 'merge-3']) {
    const written =
      layer === 'merge-2' ? nfs.write(file, 0, Buffer.from(text), 2) : nfs.write(scratch, 0, Buffer.from(layer), 2)
    needOk('WRITE', (await written).status)
    await askSnapshots({ verb: 'take', view: `course/${name}`, name: layer })
  }
  for (const layer of ['merge-1', 'merge-2', 'merge-3'])
    await askSnapshots({ verb: 'remove', view: `course/${name}@${layer}` })
}

async function isOpen(ask: Victim['ask'], name: string): Promise<boolean> {
  const [shown] = await ask({ verb: 'show', view: `course/${name}` })
  return shown?.state !== 'closed'
}

/** Uses a new view for the first time. */
export async function furnish({ nfs }: Victim, id: string, name: string): Promise<Known> {
  const root = await nfs.mount(`/course/${name}`)
  const text = `of ${id}`
  const create = async (file: string) => (await nfs.create(root, file, { mode: 'unchecked' })).handle
  const [file, scratch] = [await create('own'), await create('scratch')]
  if (file === undefined || scratch === undefined) throw new Error(`nothing can be created in the view ${name}`)
  needOk('WRITE', (await nfs.write(file, 0, Buffer.from(text), 2)).status)
  return { id, name, root, file, text, scratch, snapshots: [] }
}

/** A fork as it must be: it has all that the view had. */
export async function lookAtFork({ nfs }: Victim, id: string, name: string, text: string): Promise<Known> {
  const root = await nfs.mount(`/course/${name}`)
  const find = async (file: string) => (await nfs.lookup(root, file)).handle
  const [file, scratch] = [await find('own'), await find('scratch')]
  if (file === undefined || scratch === undefined) throw new Error(`the fork ${name} has not what the view had`)
  return { id, name, root, file, text, scratch, snapshots: [] }
}

function needOk(call: string, status: number): void {
  if (status !== 0) throw new Error(`${call} answers ${status}`)
}
