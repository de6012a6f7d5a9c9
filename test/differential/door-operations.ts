import type { AttrChange } from '../../overlay-core/index.ts'
import type { Random } from './random.ts'

/** What a handle of a door was given for and is kept in: slot 0 is the root's for ever. */
export type Slot = number

interface Name {
  readonly dir: Slot
  readonly name: string
}

type Kinds<Op extends string, Fields> = Op extends string ? { readonly uid: number; readonly op: Op } & Fields : never

/** One call by handles, as data: it can be left out, printed and repeated. `uid`: who calls. */
export type DoorOperation =
  | Kinds<'find', Name & { readonly into: Slot }>
  | Kinds<'create' | 'mkdir' | 'mkfifo', Name & { readonly mode: number; readonly into: Slot }>
  | Kinds<'symlink', Name & { readonly target: string; readonly into: Slot }>
  | Kinds<'getattr' | 'readlink' | 'list', { readonly slot: Slot }>
  | Kinds<'setattr', { readonly slot: Slot; readonly change: AttrChange }>
  | Kinds<'read', { readonly slot: Slot; readonly at: number }>
  | Kinds<'write', { readonly slot: Slot; readonly at: number; readonly data: string }>
  | Kinds<'link', Name & { readonly slot: Slot }>
  | Kinds<'remove' | 'rmdir', Name>
  | Kinds<'rename', Name & { readonly toDir: Slot; readonly toName: string }>
  | Kinds<'restart' | 'compare', unknown>

const SLOTS = 12
/** The two callers, and root. */
const USERS = [0, 0, 1000, 1000, 1001] as const
const NAMES = ['a', 'b', 'c', 'd', 'x', 'y']
const MODES = [0o644, 0o644, 0o600, 0o666, 0o755, 0o777, 0o4755, 0o2755, 0o1777]

/** How often each kind comes; the last ones are several operations: what makes names go and come while handles stay. */
const WEIGHTS = {
  find: 26,
  create: 5,
  mkdir: 3,
  symlink: 2,
  mkfifo: 1,
  getattr: 6,
  setattr: 20,
  read: 6,
  write: 10,
  readlink: 1,
  list: 2,
  link: 10,
  remove: 8,
  rmdir: 2,
  rename: 12,
  save: 10,
  pair: 6,
  reuse: 6,
  restart: 1,
} as const
type Kind = keyof typeof WEIGHTS

/** What the generator asks about the present state, so that most calls meet something. */
export interface DoorState {
  /** The slots that hold a handle of a directory. */
  directories(): readonly Slot[]
  /** The slots that hold a handle of anything else. */
  files(): readonly Slot[]
  /** The names in a directory. */
  names(dir: Slot): readonly string[]
}

/** Draws the next operations: one, or some that belong together. */
export function drawDoor(random: Random, state: DoorState): DoorOperation[] {
  const uid = random.pick(USERS)
  const kind = random.weighted<Kind>(WEIGHTS)
  const some = () => existing(random, state)
  switch (kind) {
    case 'save': {
      const at = some()
      const name = random.pick(['.tmp', '.tmp~'])
      const into = freeSlot(random)
      return [
        { uid, op: 'create', dir: at.dir, name, mode: random.pick(MODES), into },
        { uid, op: 'write', slot: into, at: 0, data: someData(random) },
        { uid, op: 'rename', dir: at.dir, name, toDir: at.dir, toName: at.name },
      ]
    }
    case 'pair': {
      const into = freeSlot(random)
      const [one, other] = [fresh(random, state), fresh(random, state)]
      return [
        { uid, op: 'create', ...one, mode: random.pick(MODES), into },
        { uid, op: 'link', slot: into, ...other },
      ]
    }
    case 'reuse': {
      const at = some()
      return [
        { uid, op: 'remove', ...at },
        { uid, op: 'create', ...fresh(random, state), mode: random.pick(MODES), into: freeSlot(random) },
      ]
    }
    default:
      return [{ uid, ...single(kind, random, state) } as DoorOperation]
  }
}

type Bare = DoorOperation extends infer O ? (O extends DoorOperation ? Omit<O, 'uid'> : never) : never

function single(kind: Exclude<Kind, 'save' | 'pair' | 'reuse'>, random: Random, state: DoorState): Bare {
  const file = () =>
    random.chance(92) && state.files().length > 0 ? random.pick(state.files()) : directory(random, state)
  switch (kind) {
    case 'find':
      return { op: 'find', ...existing(random, state), into: freeSlot(random) }
    case 'create':
    case 'mkdir':
    case 'mkfifo':
      return { op: kind, ...fresh(random, state), mode: random.pick(MODES), into: freeSlot(random) }
    case 'symlink':
      return { op: kind, ...fresh(random, state), target: random.pick(['a', '../x', '/y']), into: freeSlot(random) }
    case 'getattr':
    case 'readlink':
      return { op: kind, slot: file() }
    case 'list':
      return { op: kind, slot: directory(random, state) }
    case 'setattr':
      return { op: kind, slot: file(), change: someChange(random) }
    case 'read':
      return { op: kind, slot: file(), at: random.pick([0, 0, 3, 5000]) }
    case 'write':
      return { op: kind, slot: file(), at: random.pick([0, 0, 3, 5000]), data: someData(random) }
    case 'link':
      return { op: kind, slot: file(), ...(random.chance(85) ? fresh(random, state) : existing(random, state)) }
    case 'remove':
    case 'rmdir':
      return { op: kind, ...existing(random, state) }
    case 'rename': {
      const to = random.chance(60) ? existing(random, state) : fresh(random, state)
      return { op: kind, ...existing(random, state), toDir: to.dir, toName: to.name }
    }
    case 'restart':
      return { op: 'restart' }
  }
}

function directory(random: Random, state: DoorState): Slot {
  return random.chance(60) ? 0 : random.pick(state.directories())
}

function existing(random: Random, state: DoorState): Name {
  const dir = directory(random, state)
  const names = state.names(dir)
  return { dir, name: names.length > 0 && random.chance(92) ? random.pick(names) : random.pick(NAMES) }
}

function fresh(random: Random, state: DoorState): Name {
  return { dir: directory(random, state), name: random.pick(NAMES) }
}

function freeSlot(random: Random): Slot {
  return 1 + random.below(SLOTS - 1)
}

function someData(random: Random): string {
  return 'x'.repeat(random.below(40)) + random.below(1000)
}

function someChange(random: Random): AttrChange {
  const time = () => (random.chance(30) ? 'now' : { sec: 1_000_000_000 + random.below(1000), nsec: random.below(1e9) })
  const owner = () => random.pick([0, 1000, 1001, 2000])
  switch (random.pick(['mode', 'mode', 'owner', 'times', 'size'])) {
    case 'mode':
      return { mode: random.pick([...MODES, 0o4777, 0o444, 0]) }
    case 'owner':
      return random.chance(50) ? { uid: owner() } : { gid: owner() }
    case 'times':
      return random.chance(50) ? { mtime: time() } : { atime: time() }
    default:
      return { size: random.pick([0, 2, 100, 9000]) }
  }
}
