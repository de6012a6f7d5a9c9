import { createHash } from 'node:crypto'
import { type AttrChange, type Cred, FileType, OverlayError } from '../../overlay-core/index.ts'
import { NotCompared } from './kernel-view.ts'
import { type Handle, joined, type OpenMode, type Path, type Status, type Stream, type View } from './view.ts'

/** One member for each of the names, so that a switch over `op` tells them apart. */
type Kinds<Name extends string, Fields> = Name extends string
  ? { readonly user: boolean; readonly op: Name; readonly view?: number } & Fields
  : never

interface At {
  readonly path: Path
}

interface Slot {
  readonly slot: number
}

/** One step of a round, as data: it can be left out, printed and repeated. `user`: by the ordinary user, else by root; `view`: in which of several views. */
export type Operation =
  | Kinds<'create' | 'mkdir' | 'mkfifo', At & { readonly mode: number }>
  | Kinds<'openOrCreate', At & { readonly mode: number; readonly truncate: boolean }>
  | Kinds<'mknod', At & { readonly type: FileType; readonly mode: number; readonly minor: number }>
  | Kinds<'symlink', At & { readonly target: string }>
  | Kinds<'link', At & { readonly to: Path }>
  | Kinds<'unlink' | 'rmdir' | 'rmtree' | 'renew' | 'stat' | 'readlink' | 'readdir' | 'read', At>
  | Kinds<'rename', At & { readonly to: Path; readonly how: 'replace' | 'noReplace' | 'exchange' }>
  | Kinds<'setattr', At & { readonly change: AttrChange }>
  | Kinds<'access', At & { readonly mask: number }>
  | Kinds<'write', At & { readonly at: number | 'end'; readonly data: string; readonly truncate: boolean }>
  | Kinds<'setxattr', At & { readonly name: string; readonly value: string; readonly how?: 'create' | 'replace' }>
  | Kinds<'getxattr' | 'removexattr', At & { readonly name: string }>
  | Kinds<'open', Slot & At & { readonly mode: OpenMode }>
  | Kinds<'handleRead' | 'handleAllocate', Slot & { readonly at: number; readonly length: number }>
  | Kinds<'handleWrite', Slot & { readonly at: number; readonly data: string }>
  | Kinds<'handleTruncate', Slot & { readonly size: number }>
  | Kinds<'handleStat' | 'handleClose' | 'list' | 'listEnd', Slot>
  | Kinds<'listBegin', Slot & At>
  | Kinds<'remount' | 'liveRemount' | 'freeze' | 'swap' | 'compare', unknown>

/** Open files and listings of one side, by their slot. */
export interface Slots {
  readonly handles: Map<number, Handle>
  readonly streams: Map<number, { readonly stream: Stream; readonly seen: string[]; readonly path: Path }>
}

/** What an operation gives that is not to be compared. */
export const NOT_COMPARED = 'not compared'

/** Does one operation on one side; the answer is its result or errno, as text. */
export async function execute(view: View, slots: Slots, cred: Cred, operation: Operation): Promise<string> {
  try {
    return (await perform(view, slots, cred, operation)) ?? 'done'
  } catch (error) {
    if (error instanceof NotCompared) return NOT_COMPARED
    if (error instanceof OverlayError) return error.cause === undefined ? error.code : `${error.code} (${error.cause})`
    throw error
  }
}

async function perform(view: View, slots: Slots, cred: Cred, operation: Operation): Promise<string | undefined> {
  if ('slot' in operation) return await performOnSlot(view, slots, cred, operation)
  switch (operation.op) {
    case 'create':
      return void (await view.create(cred, operation.path, operation.mode))
    case 'openOrCreate':
      return void (await view.openOrCreate(cred, operation.path, operation.mode, operation.truncate))
    case 'mkdir':
      return void (await view.mkdir(cred, operation.path, operation.mode))
    case 'mkfifo':
      return void (await view.mknod(cred, operation.path, FileType.fifo, operation.mode, 0, 0))
    case 'mknod':
      return void (await view.mknod(cred, operation.path, operation.type, operation.mode, 0, operation.minor))
    case 'symlink':
      return void (await view.symlink(cred, operation.path, operation.target))
    case 'link':
      return void (await view.link(cred, operation.path, operation.to))
    case 'unlink':
      return void (await view.unlink(cred, operation.path))
    case 'rmdir':
      return void (await view.rmdir(cred, operation.path))
    case 'rmtree':
      return void (await removeTree(view, cred, operation.path))
    case 'renew':
      await removeTree(view, cred, operation.path)
      return void (await view.mkdir(cred, operation.path, 0o755))
    case 'rename':
      return void (await view.rename(cred, operation.path, operation.to, operation.how))
    case 'setattr':
      return void (await view.setattr(cred, operation.path, operation.change))
    case 'setxattr':
      return void (await view.setxattr(cred, operation.path, operation.name, bytes(operation.value), operation.how))
    case 'removexattr':
      return void (await view.removexattr(cred, operation.path, operation.name))
    case 'write':
      return await write(view, cred, operation)
    case 'remount':
    case 'liveRemount':
    case 'freeze':
    case 'swap':
    case 'compare':
      return undefined
    default:
      return await look(view, cred, operation)
  }
}

type Looking = Extract<Operation, { op: 'stat' | 'access' | 'readlink' | 'readdir' | 'read' | 'getxattr' }>

async function look(view: View, cred: Cred, operation: Looking): Promise<string> {
  const { path } = operation
  switch (operation.op) {
    case 'stat':
      return statusText(await view.stat(cred, path))
    case 'access':
      return String(await view.access(cred, path, operation.mask))
    case 'readlink':
      return await view.readlink(cred, path)
    case 'readdir':
      return JSON.stringify(
        (await view.readdir(cred, path)).map(({ name, type }) => `${name} ${type.toString(8)}`).sort(),
      )
    case 'getxattr':
      return (await view.getxattr(cred, path, operation.name)).toString('latin1')
    case 'read': {
      const handle = await view.open(cred, path, { read: true })
      try {
        return digest(await handle.read(0, 2 ** 20))
      } finally {
        handle.close()
      }
    }
  }
}

async function write(view: View, cred: Cred, operation: Extract<Operation, { op: 'write' }>): Promise<undefined> {
  const handle = await view.open(cred, operation.path, { write: true, truncate: operation.truncate })
  try {
    const at = operation.at === 'end' ? (await handle.stat()).size : operation.at
    if (operation.data !== '') await handle.write(bytes(operation.data), at)
  } finally {
    handle.close()
  }
}

/** As rm -r: in the order of the names, until something cannot be removed. */
async function removeTree(view: View, cred: Cred, path: Path): Promise<void> {
  const { type } = await view.stat(cred, path)
  if (type !== FileType.directory) return await view.unlink(cred, path)
  const names = (await view.readdir(cred, path)).map(({ name }) => name).sort()
  for (const name of names) await removeTree(view, cred, joined(path, name))
  await view.rmdir(cred, path)
}

type OnSlot = Extract<Operation, { slot: number }>

async function performOnSlot(view: View, slots: Slots, cred: Cred, operation: OnSlot): Promise<string | undefined> {
  const { slot } = operation
  if (operation.op === 'open') {
    slots.handles.get(slot)?.close()
    slots.handles.delete(slot)
    slots.handles.set(slot, await view.open(cred, operation.path, operation.mode))
    return undefined
  }
  if (operation.op === 'listBegin' || operation.op === 'list' || operation.op === 'listEnd')
    return await performList(view, slots, cred, operation)
  const handle = slots.handles.get(slot)
  if (!handle) return NOT_COMPARED
  switch (operation.op) {
    case 'handleRead':
      return digest(await handle.read(operation.at, operation.length))
    case 'handleWrite':
      return void (await handle.write(bytes(operation.data), operation.at))
    case 'handleTruncate':
      return void (await handle.truncate(operation.size))
    case 'handleAllocate':
      return void (await handle.allocate(operation.at, operation.length))
    case 'handleStat':
      return statusText(await handle.stat())
    case 'handleClose':
      handle.close()
      slots.handles.delete(slot)
      return undefined
  }
}

type OnStream = Extract<Operation, { op: 'listBegin' | 'list' | 'listEnd' }>

/** The names that come are no part of the answer: between begin and end both sides may differ. They are judged at the end. */
async function performList(view: View, slots: Slots, cred: Cred, operation: OnStream): Promise<string | undefined> {
  const { slot } = operation
  const running = slots.streams.get(slot)
  if (operation.op === 'listBegin') {
    running?.stream.close()
    slots.streams.delete(slot)
    const stream = await view.stream(cred, operation.path)
    slots.streams.set(slot, { stream, seen: [], path: operation.path })
    return undefined
  }
  if (!running) return NOT_COMPARED
  for (;;) {
    const names = await running.stream.next()
    running.seen.push(...names)
    if (operation.op === 'list' || names.length === 0) break
  }
  return undefined
}

/** Lets go of all open files and listings. */
export function closeSlots(slots: Slots): void {
  for (const handle of slots.handles.values()) handle.close()
  for (const { stream } of slots.streams.values()) stream.close()
  slots.handles.clear()
  slots.streams.clear()
}

function bytes(text: string): Buffer {
  return Buffer.from(text, 'latin1')
}

/** Times are left to the comparison of the trees, which knows what the clock may have set. */
function statusText(status: Status): string {
  const { type, mode, nlink, uid, gid, size, rdev } = status
  const shownSize = type === FileType.directory ? '-' : size
  return `${type.toString(8)} ${mode.toString(8)} links ${nlink} ${uid}:${gid} size ${shownSize} device ${rdev}`
}

/** Short content as it is, long content by its hash. */
export function digest(data: Buffer): string {
  const text =
    data.length <= 64 ? JSON.stringify(data.toString('latin1')) : createHash('sha1').update(data).digest('hex')
  return `${data.length} bytes ${text}`
}
