import { FileType } from '../../overlay-core/index.ts'
import { digest } from '../differential/operations.ts'
import type { Random } from '../differential/random.ts'
import type { Tree } from '../differential/tree.ts'
import type { Actor } from './scenario.ts'

/** Content is always of this length, so that a write changes all of it, or nothing. */
const CONTENT_BYTES = 16
const MOST_NODES = 40

/** An object; names of the same one share it. */
export interface Node {
  readonly directory: boolean
  readonly mode: number
  readonly content: string
}

/** What is below the directory of one writer: paths, each behind its parent. */
export type Model = ReadonlyMap<string, Node>

/** What a writer does next. */
export type Change =
  | { readonly op: 'create' | 'mkdir' | 'unlink' | 'rmdir' | 'commit'; readonly path: string }
  | { readonly op: 'write' | 'put'; readonly path: string; readonly content: string }
  | { readonly op: 'chmod'; readonly path: string; readonly mode: number }
  | { readonly op: 'rename' | 'exchange' | 'link'; readonly path: string; readonly to: string }

/** Content number `n` of a writer, as long as any other. */
export function contentOf(n: number): string {
  return `content ${n}`.padEnd(CONTENT_BYTES, '.')
}

/** A change that will succeed in the state `model` of the writer whose directory is `root`. */
export function drawChange(random: Random, model: Model, root: string): Change {
  const files = [...model.keys()].filter((path) => model.get(path)?.directory === false)
  const directories = [...model.keys()].filter((path) => model.get(path)?.directory === true)
  const free = `${random.pick(directories)}/${random.pick(['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'])}${random.below(10)}`
  const empty = directories.filter((path) => path !== root && childrenOf(model, path).length === 0)
  const isFree = !model.has(free)
  const choices: Change[] = []
  if (isFree && model.size < MOST_NODES) {
    choices.push({ op: 'create', path: free }, { op: 'mkdir', path: free })
    choices.push({ op: 'put', path: free, content: contentOf(random.below(1000)) })
    if (files.length > 0) choices.push({ op: 'link', path: random.pick(files), to: free })
  }
  if (isFree && files.length > 0) choices.push({ op: 'rename', path: random.pick(files), to: free })
  const movable = directories.filter((path) => path !== root && !`${free}/`.startsWith(`${path}/`))
  if (isFree && movable.length > 0) choices.push({ op: 'rename', path: random.pick(movable), to: free })
  if (empty.length > 0) choices.push({ op: 'rmdir', path: random.pick(empty) })
  if (files.length > 0) choices.push(...changesOfFiles(random, files))
  return random.pick(choices)
}

function changesOfFiles(random: Random, files: readonly string[]): Change[] {
  const [one, other] = [random.pick(files), random.pick(files)]
  const content = contentOf(random.below(1000))
  return [
    { op: 'unlink', path: one },
    { op: 'write', path: one, content },
    { op: 'put', path: other, content },
    { op: 'chmod', path: one, mode: 0o600 + random.below(0o100) },
    { op: 'commit', path: one },
    ...(one === other ? [] : [{ op: 'rename' as const, path: one, to: other }]),
    ...(one === other ? [] : [{ op: 'exchange' as const, path: one, to: other }]),
  ]
}

function childrenOf(model: Model, path: string): string[] {
  return [...model.keys()].filter((other) => other.startsWith(`${path}/`))
}

/** The state after a change. */
export function changed(model: Model, change: Change): Model {
  const next = new Map(model)
  const node = next.get(change.path)
  switch (change.op) {
    case 'create':
      return next.set(change.path, { directory: false, mode: 0o644, content: '' })
    case 'mkdir':
      return next.set(change.path, { directory: true, mode: 0o755, content: '' })
    case 'put':
      return next.set(change.path, { directory: false, mode: node?.mode ?? 0o640, content: change.content })
    case 'write':
      return replaced(next, node as Node, { ...(node as Node), content: change.content })
    case 'chmod':
      return replaced(next, node as Node, { ...(node as Node), mode: change.mode })
    case 'link':
      return next.set(change.to, node as Node)
    case 'unlink':
    case 'rmdir':
      next.delete(change.path)
      return next
    case 'exchange':
      return next.set(change.path, next.get(change.to) as Node).set(change.to, node as Node)
    case 'rename':
      return renamed(next, change.path, change.to)
    case 'commit':
      return next
  }
}

/** Puts `by` in the place of a node, at all of its names. */
function replaced(model: Map<string, Node>, node: Node, by: Node): Model {
  for (const [path, other] of model) if (other === node) model.set(path, by)
  return model
}

function renamed(model: Map<string, Node>, from: string, to: string): Model {
  const node = model.get(from) as Node
  // A name of the same object: nothing happens, as in rename(2).
  if (model.get(to) === node) return model
  const below = childrenOf(model, from)
  for (const path of below) {
    model.set(to + path.slice(from.length), model.get(path) as Node)
    model.delete(path)
  }
  model.delete(from)
  return model.set(to, node)
}

/** Makes the change in the overlay. */
export async function make(actor: Actor, change: Change): Promise<void> {
  switch (change.op) {
    case 'create':
      return await actor.create(change.path)
    case 'mkdir':
      return await actor.mkdir(change.path)
    case 'put':
      return await actor.put(change.path, change.content, false)
    case 'write':
      return await actor.write(change.path, change.content)
    case 'chmod':
      return await actor.chmod(change.path, change.mode)
    case 'link':
      return await actor.link(change.path, change.to)
    case 'unlink':
      return await actor.unlink(change.path)
    case 'rmdir':
      return await actor.rmdir(change.path)
    case 'commit':
      return await actor.overlay.commit({ uid: 0, gid: 0, groups: [] }, await actor.at(change.path))
    default:
      return await actor.rename(change.path, change.to, change.op === 'exchange' ? 'exchange' : 'replace')
  }
}

/** The state as text: one line for each path, with the first path of the same object. */
export function textOf(model: Model): string[] {
  const first = new Map<Node, string>()
  return [...model.keys()].sort().map((path) => {
    const node = model.get(path) as Node
    if (!first.has(node)) first.set(node, path)
    if (node.directory) return `${path} directory ${node.mode.toString(8)}`
    return `${path} ${node.mode.toString(8)} ${digest(Buffer.from(node.content))} as ${first.get(node)}`
  })
}

/** The same of what is seen below `root`. */
export function textOfTree(tree: Tree, root: string): string[] {
  const first = new Map<string, string>()
  const paths = [...tree.keys()].filter((path) => path === root || path.startsWith(`${root}/`)).sort()
  return paths.map((path) => {
    const { status, content } = tree.get(path) as NonNullable<ReturnType<Tree['get']>>
    if (!first.has(status.fileId)) first.set(status.fileId, path)
    if (status.type === FileType.directory) return `${path} directory ${status.mode.toString(8)}`
    return `${path} ${status.mode.toString(8)} ${content} as ${first.get(status.fileId)}`
  })
}
