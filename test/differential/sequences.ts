import { FileType } from '../../overlay-core/index.ts'
import { type Model, newPath, somePath } from './model.ts'
import type { Operation } from './operations.ts'
import type { Random } from './random.ts'
import { joined, type Path, parentOf } from './view.ts'

const FILES = [FileType.regular]
const NO_DIRECTORY = Object.values(FileType).filter((type) => type !== FileType.directory)
const MODES = [0o644, 0o644, 0o600, 0o755, 0o666, 0o4755]

type Bare = Operation extends infer O ? (O extends Operation ? Omit<O, 'user'> : never) : never

/** How often each sequence comes. */
const WEIGHTS = { save: 4, pair: 3, lowerPair: 3, reuse: 3 } as const

/** Operations that belong together: names that come and go while the objects, their other names and open files stay. */
export function drawSequence(random: Random, model: Model, slots: number): Bare[] {
  const kind = random.weighted(WEIGHTS)
  switch (kind) {
    case 'save':
      return whileOpen(random, somePath(random, model, FILES), slots, (path) => save(random, path))
    case 'pair': {
      const [one, other] = [newPath(random, model), newPath(random, model)]
      return [
        { op: 'create', path: one, mode: random.pick(MODES) },
        { op: 'link', path: one, to: other },
        ...loss(random, model, one, other),
      ]
    }
    case 'lowerPair': {
      const [one, other] = [somePath(random, model, NO_DIRECTORY), newPath(random, model)]
      return whileOpen(random, one, slots, () => [
        { op: 'link', path: one, to: other },
        ...loss(random, model, one, other),
      ])
    }
    case 'reuse': {
      const path = somePath(random, model, FILES)
      const fresh = random.chance(50) ? path : newPath(random, model)
      return [
        { op: 'unlink', path },
        { op: 'create', path: fresh, mode: random.pick(MODES) },
        { op: 'stat', path: fresh },
      ]
    }
  }
}

/** Often holds the file at `path` open over what `change` does to its name, and uses it afterwards. */
function whileOpen(random: Random, path: Path, slots: number, change: (path: Path) => Bare[]): Bare[] {
  if (random.chance(40)) return change(path)
  const slot = random.below(slots)
  return [
    { op: 'open', slot, path, mode: { read: true, write: true } },
    ...change(path),
    { op: 'handleWrite', slot, at: random.pick([0, 3, 5000]), data: 'late' },
    { op: 'handleStat', slot },
    { op: 'handleRead', slot, at: 0, length: 100 },
  ]
}

/** An atomic save: the whole new content under another name, which then takes the place of the old one. */
function save(random: Random, path: Path): Bare[] {
  const temp = joined(parentOf(path), random.pick(['.tmp', '.tmp~']))
  return [
    { op: 'create', path: temp, mode: random.pick(MODES) },
    { op: 'write', path: temp, at: 0, data: 'saved'.repeat(1 + random.below(20)), truncate: false },
    { op: 'rename', path: temp, to: path, how: 'replace' },
    { op: 'stat', path },
  ]
}

/** How `one` of two names of an object goes, and what is then done by the `other`. */
function loss(random: Random, model: Model, one: Path, other: Path): Bare[] {
  const how = random.weighted({ save: 3, unlink: 2, rename: 2, onto: 1, none: 1 })
  const lost: Bare[] =
    how === 'save'
      ? save(random, one)
      : how === 'unlink'
        ? [{ op: 'unlink', path: one }]
        : how === 'rename'
          ? [{ op: 'rename', path: somePath(random, model, NO_DIRECTORY), to: one, how: 'replace' }]
          : // Both are the same object: nothing happens.
            how === 'onto'
            ? [{ op: 'rename', path: other, to: one, how: 'replace' }]
            : []
  const after = random.weighted({ chmod: 2, write: 2, link: 1, stat: 1 })
  switch (after) {
    case 'chmod':
      return [...lost, { op: 'setattr', path: other, change: { mode: random.pick(MODES) } }]
    case 'write':
      return [...lost, { op: 'write', path: other, at: 'end', data: 'more', truncate: false }]
    case 'link':
      return [...lost, { op: 'link', path: other, to: newPath(random, model) }]
    case 'stat':
      return [...lost, { op: 'stat', path: other }]
  }
}
