import type { Random } from '../differential/random.ts'
import type { Id, Operation, State } from './model.ts'

export const NAMES = ['a', 'b', 'c', 'd'] as const

/** How often each operation is drawn; `list` is a walk through a directory. */
const WEIGHTS = {
  lookup: 10,
  create: 8,
  mkdir: 4,
  unlink: 8,
  rmdir: 4,
  put: 4,
  link: 6,
  rename: 22,
  chmod: 6,
  write: 8,
  read: 6,
  getattr: 8,
  list: 6,
} as const

/** What an operation may be about. */
export interface Choice {
  readonly directories: readonly Id[]
  readonly files: readonly Id[]
}

/** All objects of a state. */
export function choiceOf(state: State): Choice {
  const directories: Id[] = []
  const files: Id[] = []
  for (const [id, node] of state) {
    if (node.directory) directories.push(id)
    else files.push(id)
  }
  return { directories, files }
}

/** Draws an operation, or the directory of a listing. */
export function draw(random: Random, { directories, files }: Choice): Operation | { readonly list: Id } {
  const op = random.weighted(WEIGHTS)
  const dir = random.pick(directories)
  const name = random.pick(NAMES)
  const object = random.chance(80) && files.length > 0 ? random.pick(files) : dir
  const value = String(random.below(1e8)).padStart(8, '0')
  switch (op) {
    case 'list':
      return { list: dir }
    case 'put':
      return { op, dir, name, value }
    case 'link':
      return { op, object, dir, name }
    case 'rename': {
      const toDir = random.chance(40) ? dir : random.pick(directories)
      const how = random.weighted({ replace: 6, noReplace: 2, exchange: 3 })
      return { op, dir, name, toDir, toName: random.pick(NAMES), how }
    }
    case 'chmod':
      return { op, object, mode: 0o600 + random.below(64) }
    case 'getattr':
      return { op, object }
    case 'write':
    case 'read':
      if (files.length === 0) return { list: dir }
      return op === 'read' ? { op, object: random.pick(files) } : { op, object: random.pick(files), value }
    default:
      return { op, dir, name }
  }
}
