/** An object, as its identity: what the core calls key and generation. */
export type Id = string

/** An operation of the stress test. Directories and objects are named by identity, as through handles. */
export type Operation =
  | { readonly op: 'lookup'; readonly dir: Id; readonly name: string }
  | { readonly op: 'create' | 'mkdir'; readonly dir: Id; readonly name: string }
  | { readonly op: 'unlink' | 'rmdir'; readonly dir: Id; readonly name: string }
  | { readonly op: 'put'; readonly dir: Id; readonly name: string; readonly value: string }
  | { readonly op: 'link'; readonly object: Id; readonly dir: Id; readonly name: string }
  | {
      readonly op: 'rename'
      readonly dir: Id
      readonly name: string
      readonly toDir: Id
      readonly toName: string
      readonly how: 'replace' | 'noReplace' | 'exchange'
    }
  | { readonly op: 'chmod'; readonly object: Id; readonly mode: number }
  | { readonly op: 'write'; readonly object: Id; readonly value: string }
  | { readonly op: 'read' | 'getattr'; readonly object: Id }

/** What an operation answered: `ok`, an errno, or what it found. A new object is told by its identity. */
export type Result = string

/** One object of the model. */
interface Node {
  readonly directory: boolean
  readonly mode: number
  readonly value: string
  /** Names of a file; 0 or 1 for a directory. */
  readonly links: number
  /** Of a directory. */
  readonly entries: ReadonlyMap<string, Id>
  readonly parent: Id | undefined
}

/** A state of the model: never changed, only replaced. */
export type State = ReadonlyMap<Id, Node>

/** What an operation does in a state: what it answers, of which any may be seen, and the state after. */
export interface Effect {
  readonly accepts: (result: Result) => boolean
  /** The same state when nothing changes. The result is needed where it names a new object. */
  readonly after: (result: Result) => State
}

const EMPTY: ReadonlyMap<string, Id> = new Map()

export const newFile = (mode: number, value: string): Node => ({
  directory: false,
  mode,
  value,
  links: 1,
  entries: EMPTY,
  parent: undefined,
})

export const newDirectory = (mode: number, parent: Id | undefined, entries: ReadonlyMap<string, Id> = EMPTY): Node => ({
  directory: true,
  mode,
  value: '',
  links: 1,
  entries,
  parent,
})

/** What clients see of an object by getattr. */
export function attributesOf({ directory, mode, links }: Node): Result {
  return directory ? `dir ${mode.toString(8)}` : `file ${mode.toString(8)} ${links}`
}

/** What `operation` does in `state`. A model file system for one writer after the other: no permissions, no whiteouts, no layers. */
export function effectOf(state: State, operation: Operation): Effect {
  switch (operation.op) {
    case 'lookup':
      return lookup(state, operation.dir, operation.name)
    case 'create':
    case 'mkdir':
      return make(state, operation.dir, operation.name, operation.op === 'mkdir')
    case 'put':
      return put(state, operation.dir, operation.name, operation.value)
    case 'unlink':
    case 'rmdir':
      return remove(state, operation.dir, operation.name, operation.op === 'rmdir')
    case 'link':
      return link(state, operation.object, operation.dir, operation.name)
    case 'rename':
      return rename(state, operation)
    default:
      return onObject(state, operation)
  }
}

function answers(state: State, ...results: Result[]): Effect {
  return { accepts: (result) => results.includes(result), after: () => state }
}

function changes(after: State): Effect {
  return { accepts: (result) => result === 'ok', after: () => after }
}

function isGone(node: Node | undefined): boolean {
  return node === undefined || node.links === 0
}

function lookup(state: State, dir: Id, name: string): Effect {
  const node = state.get(dir)
  // What was known of a removed directory may still be answered.
  if (isGone(node)) return answers(state, 'ESTALE', 'none')
  return answers(state, node?.entries.get(name) ?? 'none')
}

function make(state: State, dir: Id, name: string, directory: boolean): Effect {
  const node = state.get(dir) as Node
  if (isGone(node)) return answers(state, 'ESTALE')
  if (node.entries.has(name)) return answers(state, 'EEXIST')
  const fresh = directory ? newDirectory(0o755, dir) : newFile(0o644, '')
  return {
    accepts: (result) => /^\d/.test(result) && !state.has(result),
    after: (id) => with_(state, [id, fresh], [dir, entered(node, name, id)]),
  }
}

function put(state: State, dir: Id, name: string, value: string): Effect {
  const node = state.get(dir) as Node
  if (isGone(node)) return answers(state, 'ESTALE')
  const present = node.entries.get(name)
  const old = present === undefined ? undefined : state.get(present)
  if (old?.directory) return answers(state, 'EISDIR')
  return {
    accepts: (result) => /^\d/.test(result) && !state.has(result),
    after: (id) => {
      const next = new Map(with_(state, [id, newFile(old?.mode ?? 0o640, value)], [dir, entered(node, name, id)]))
      if (present !== undefined && old) next.set(present, { ...old, links: old.links - 1 })
      return next
    },
  }
}

function remove(state: State, dir: Id, name: string, directory: boolean): Effect {
  const node = state.get(dir) as Node
  if (isGone(node)) return answers(state, 'ESTALE')
  const id = node.entries.get(name)
  const victim = id === undefined ? undefined : state.get(id)
  if (id === undefined || !victim) return answers(state, 'ENOENT')
  if (victim.directory !== directory) return answers(state, directory ? 'ENOTDIR' : 'EISDIR')
  if (victim.entries.size > 0) return answers(state, 'ENOTEMPTY')
  return changes(with_(state, [dir, left(node, name)], [id, { ...victim, links: victim.links - 1 }]))
}

function link(state: State, object: Id, dir: Id, name: string): Effect {
  const node = state.get(dir) as Node
  if (isGone(node)) return answers(state, 'ESTALE')
  if (node.entries.has(name)) return answers(state, 'EEXIST')
  const target = state.get(object) as Node
  if (target.directory) return answers(state, 'EPERM')
  if (isGone(target)) return answers(state, 'ESTALE')
  return changes(with_(state, [dir, entered(node, name, object)], [object, { ...target, links: target.links + 1 }]))
}

function rename(state: State, operation: Operation & { op: 'rename' }): Effect {
  const { dir, name, toDir, toName, how } = operation
  const [from, to] = [state.get(dir) as Node, state.get(toDir) as Node]
  if (isGone(from) || isGone(to)) return answers(state, 'ESTALE')
  const sourceId = from.entries.get(name)
  if (sourceId === undefined) return answers(state, 'ENOENT')
  const targetId = to.entries.get(toName)
  if (how === 'noReplace' && targetId !== undefined) return answers(state, 'EEXIST')
  if (how === 'exchange' && targetId === undefined) return answers(state, 'ENOENT')
  if (isWithin(state, toDir, sourceId)) return answers(state, 'EINVAL')
  if (targetId !== undefined && isWithin(state, dir, targetId))
    return answers(state, how === 'exchange' ? 'EINVAL' : 'ENOTEMPTY')
  if (sourceId === targetId) return answers(state, 'ok')
  const source = state.get(sourceId) as Node
  const target = targetId === undefined ? undefined : (state.get(targetId) as Node)
  if (target && how !== 'exchange') {
    if (source.directory && !target.directory) return answers(state, 'ENOTDIR')
    if (!source.directory && target.directory) return answers(state, 'EISDIR')
    if (target.entries.size > 0) return answers(state, 'ENOTEMPTY')
  }
  return changes(moved(state, operation, sourceId, targetId))
}

function moved(
  state: State,
  { dir, name, toDir, toName, how }: Operation & { op: 'rename' },
  sourceId: Id,
  targetId: Id | undefined,
): State {
  const next = new Map(state)
  const update = (id: Id, change: (node: Node) => Node) => next.set(id, change(next.get(id) as Node))
  const settle = (id: Id, parent: Id) => update(id, (node) => (node.directory ? { ...node, parent } : node))
  if (how === 'exchange' && targetId !== undefined) {
    update(dir, (node) => entered(node, name, targetId))
    settle(targetId, dir)
  } else {
    update(dir, (node) => left(node, name))
    if (targetId !== undefined) update(targetId, (node) => ({ ...node, links: node.links - 1 }))
  }
  update(toDir, (node) => entered(node, toName, sourceId))
  settle(sourceId, toDir)
  return next
}

function onObject(state: State, operation: Operation & { object: Id }): Effect {
  const node = state.get(operation.object) as Node
  const { object } = operation
  // An object without a name answers as long as somebody has it open, which the model does not know.
  const gone = isGone(node)
  if (operation.op === 'getattr') return answers(state, attributesOf(node), ...(gone ? ['ESTALE'] : []))
  if (operation.op === 'read') return answers(state, node.value, ...(gone ? ['ESTALE'] : []))
  if (operation.op === 'chmod' || operation.op === 'write') {
    const next = operation.op === 'chmod' ? { ...node, mode: operation.mode } : { ...node, value: operation.value }
    const after = with_(state, [object, next])
    // Where it failed nothing has changed.
    return {
      accepts: (result) => result === 'ok' || (gone && result === 'ESTALE'),
      after: (result) => (result === 'ok' ? after : state),
    }
  }
  throw new RangeError('no such operation')
}

function with_(state: State, ...nodes: readonly (readonly [Id, Node])[]): State {
  const next = new Map(state)
  for (const [id, node] of nodes) next.set(id, node)
  return next
}

function entered(node: Node, name: string, id: Id): Node {
  return { ...node, entries: new Map(node.entries).set(name, id) }
}

function left(node: Node, name: string): Node {
  const entries = new Map(node.entries)
  entries.delete(name)
  return { ...node, entries }
}

function isWithin(state: State, id: Id, ancestor: Id): boolean {
  for (let at: Id | undefined = id; at !== undefined; at = state.get(at)?.parent) if (at === ancestor) return true
  return false
}

/** Text that is the same for the same states only. */
export function textOf(state: State): string {
  const lines: string[] = []
  for (const [id, node] of state) {
    const entries = [...node.entries].map(([name, child]) => `${name}:${child}`).sort()
    lines.push(`${id}=${node.mode},${node.links},${node.value},${node.parent ?? ''},${entries.join(';')}`)
  }
  return lines.sort().join('\n')
}
