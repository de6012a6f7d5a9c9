import type { Name } from '../api/types.ts'
import { loopBudget } from '../base/loop-turn.ts'
import type { SidecarLine, SidecarPath } from './sidecar-log.ts'

/** The attributes of one object under all of its names. */
export type SidecarRecord = Map<string, Uint8Array>

/** A name in a copy of the upper's tree: it holds the attributes of the object with that name, and the names below it. */
export class SidecarNode {
  parent: SidecarNode | undefined
  name: Name
  record: SidecarRecord | undefined = undefined
  /** The inode number that the overlay assigned to the object. */
  ino: number | undefined = undefined
  children: Map<Name, SidecarNode> | undefined = undefined

  constructor(parent: SidecarNode | undefined, name: Name) {
    this.parent = parent
    this.name = name
  }

  get path(): SidecarPath {
    const names: Name[] = []
    for (let at: SidecarNode | undefined = this; at?.parent; at = at.parent) names.unshift(at.name)
    return names
  }

  child(name: Name): SidecarNode | undefined {
    return this.children?.get(name)
  }

  /** The node of `name`, created if missing. */
  grow(name: Name): SidecarNode {
    const present = this.child(name)
    if (present) return present
    const node = new SidecarNode(this, name)
    this.#put(node)
    return node
  }

  /** Removes the node and everything below it from the tree. */
  cut(): void {
    this.parent?.children?.delete(this.name)
    this.parent = undefined
  }

  /** Inserts a cut node here under `name`, replacing the node with that name. */
  graft(node: SidecarNode, name: Name): void {
    this.child(name)?.cut()
    node.parent = this
    node.name = name
    this.#put(node)
  }

  #put(node: SidecarNode): void {
    this.children ??= new Map()
    this.children.set(node.name, node)
  }
}

/** The node at `path`, or undefined. */
export function nodeAt(top: SidecarNode, path: SidecarPath): SidecarNode | undefined {
  let node: SidecarNode | undefined = top
  for (const name of path) node = node?.child(name)
  return node
}

/** The node at `path`, created if missing. */
export function growAt(top: SidecarNode, path: SidecarPath): SidecarNode {
  let node = top
  for (const name of path) node = node.grow(name)
  return node
}

/** Moves the node `from` to `to`, replacing the node there. */
export function moveNode(top: SidecarNode, from: SidecarPath, to: SidecarPath): void {
  const node = nodeAt(top, from)
  if (!node) {
    nodeAt(top, to)?.cut()
    return
  }
  node.cut()
  growAt(top, to.slice(0, -1)).graft(node, to.at(-1) as Name)
}

/** Gives the node `from` the additional name `to`. */
export function linkNode(top: SidecarNode, from: SidecarPath, to: SidecarPath): void {
  nodeAt(top, to)?.cut()
  const source = growAt(top, from)
  source.record ??= new Map()
  growAt(top, to).record = source.record
}

/** The first inode number that the overlay assigns, above those that such file systems make up. */
export const FIRST_INODE_NUMBER = 2 ** 32

/** The first number for a single run, and the distance between the ranges of two runs. */
const FIRST_PASSING = 2 ** 47
const PASSING_STEP = 2 ** 32

/** The first inode number of a run that cannot save numbers; `bytes` are two random bytes. */
export function firstPassingNumber(bytes: Uint8Array): number {
  const [high = 0, low = 0] = bytes
  return FIRST_PASSING + (((high << 8) | low) & 0x7fff) * PASSING_STEP
}

/** The next inode number to assign, according to these lines. */
export function nextNumber(lines: readonly SidecarLine[]): number {
  let next = FIRST_INODE_NUMBER
  for (const line of lines) {
    if (line.op === 'next') next = Math.max(next, line.ino)
    if (line.op === 'number') next = Math.max(next, line.ino + 1)
  }
  return next
}

/** Whether any object at or below `node` has this attribute. */
export function holdsAny(node: SidecarNode, attr: string): boolean {
  if (node.record?.has(attr)) return true
  for (const child of node.children?.values() ?? []) if (holdsAny(child, attr)) return true
  return false
}

/** Converts the tree to lines: the shortest log that produces it. */
export async function linesOf(top: SidecarNode): Promise<SidecarLine[]> {
  const lines: SidecarLine[] = []
  const told = new Map<SidecarRecord, SidecarPath>()
  for (const node of nodesBelow(top)) {
    if (loopBudget.spent) await loopBudget.rest()
    const { record, path } = node
    const before = record && told.get(record)
    if (before) lines.push({ op: 'same', from: before, to: path })
    else if (record) {
      told.set(record, path)
      for (const [attr, value] of record) {
        lines.push({ op: 'set', at: path, attr, value: Buffer.from(value).toString('base64') })
      }
    }
    if (node.ino !== undefined) lines.push({ op: 'number', at: path, ino: node.ino })
  }
  return lines
}

/** A node and all nodes below it, each before those below it. */
function* nodesBelow(node: SidecarNode): Generator<SidecarNode> {
  yield node
  for (const child of node.children?.values() ?? []) yield* nodesBelow(child)
}

/** A change of names whose end is not recorded. */
export type PendingLine = Extract<SidecarLine, { op: 'move' | 'link' }>

/** Builds the tree from the lines, in turns of the event loop. Returns the changes of names whose end is not recorded. */
export async function replay(top: SidecarNode, lines: readonly SidecarLine[]): Promise<PendingLine[]> {
  const pending = new Map<number, PendingLine>()
  for (const line of lines) {
    if (loopBudget.spent) await loopBudget.rest()
    replayLine(top, pending, line)
  }
  return [...pending.values()]
}

/** Adds one line to the tree, or to the changes of names by their numbers whose end is not recorded. */
export function replayLine(top: SidecarNode, pending: Map<number, PendingLine>, line: SidecarLine): void {
  switch (line.op) {
    case 'set': {
      const node = growAt(top, line.at)
      node.record ??= new Map()
      node.record.set(line.attr, Uint8Array.from(Buffer.from(line.value, 'base64')))
      break
    }
    case 'remove':
      nodeAt(top, line.at)?.record?.delete(line.attr)
      break
    case 'gone':
      nodeAt(top, line.at)?.cut()
      break
    case 'number':
      growAt(top, line.at).ino = line.ino
      break
    case 'next':
      break
    case 'same':
      linkNode(top, line.from, line.to)
      break
    case 'end': {
      const begun = pending.get(line.n)
      if (begun && line.done) applyLine(top, begun.op, line.from, line.to)
      pending.delete(line.n)
      break
    }
    default:
      pending.set(line.n, line)
  }
}

/** Applies a change of names. */
export function applyLine(top: SidecarNode, op: 'move' | 'link', from: SidecarPath, to: SidecarPath): void {
  if (op === 'move') moveNode(top, from, to)
  else linkNode(top, from, to)
}
