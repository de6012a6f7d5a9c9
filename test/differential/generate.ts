import { type AttrChange, type Cred, FileType } from '../../overlay-core/index.ts'
import { ACL_ACCESS } from '../../overlay-core/layer/acl.ts'
import { type Model, newPath, somePath } from './model.ts'
import type { Operation } from './operations.ts'
import type { Random } from './random.ts'
import { someRight } from './rights.ts'
import { drawSequence } from './sequences.ts'
import type { OpenMode } from './view.ts'

/** How often each kind of operation comes. */
const WEIGHTS = {
  create: 5,
  openOrCreate: 3,
  write: 10,
  read: 3,
  truncate: 4,
  mkdir: 6,
  rmdir: 4,
  rmtree: 1,
  renew: 2,
  unlink: 8,
  symlink: 3,
  mkfifo: 1,
  mknod: 2,
  link: 7,
  rename: 16,
  chmod: 5,
  chown: 4,
  times: 5,
  setxattr: 5,
  getxattr: 1,
  removexattr: 3,
  stat: 3,
  access: 1,
  readlink: 1,
  readdir: 3,
  open: 6,
  handleRead: 5,
  handleWrite: 6,
  handleTruncate: 1,
  handleAllocate: 1,
  handleStat: 2,
  handleClose: 2,
  list: 5,
  remount: 1,
  liveRemount: 2,
  freeze: 2,
  swap: 1,
} as const
type Kind = keyof typeof WEIGHTS

const FILES = [FileType.regular]
const DIRECTORIES = [FileType.directory]
const ANY = Object.values(FileType)
const NO_DIRECTORY = ANY.filter((type) => type !== FileType.directory)
const MODES = [
  0o644, 0o600, 0o755, 0o666, 0o777, 0o640, 0o444, 0o111, 0, 0o4755, 0o2755, 0o2644, 0o6777, 0o1777, 0o2775, 0o700,
]
const XATTRS = [
  'user.a',
  'user.b',
  'user.c',
  'trusted.t',
  'trusted.overlay.opaque',
  'user.overlay.redirect',
  'security.s',
  'odd.name',
]
const SLOTS = 4
/** In percent, how often several operations that belong together come instead of one. */
const SEQUENCES = 10

/** What the generator needs to know of the round. */
export interface Setting {
  /** The ordinary user, when there is one. */
  readonly user: Cred | undefined
  /** Whether remounts and the exchange of the uppers are wanted. */
  readonly mounts: boolean
  /** Whether both sides take extended attributes. */
  readonly xattrs: boolean
}

/** Draws the next operations: one, or some that belong together. */
export function generate(random: Random, model: Model, setting: Setting): Operation[] {
  const user = setting.user !== undefined && random.chance(30)
  if (random.chance(SEQUENCES))
    return drawSequence(random, model, SLOTS).map((bare) => ({ user, ...bare }) as Operation)
  return [drawOne(random, model, setting, user)]
}

function drawOne(random: Random, model: Model, setting: Setting, user: boolean): Operation {
  // Not too many names: the directories should be changed often, not grow.
  const weights = model.size > 60 ? { ...WEIGHTS, rmtree: 8, unlink: 16, create: 2, mkdir: 2, link: 3 } : WEIGHTS
  const kind = random.weighted<Kind>(weights)
  if (/remount|swap|freeze/i.test(kind) && (!setting.mounts || random.chance(50))) {
    return { user, op: 'stat', path: somePath(random, model, ANY) }
  }
  const operation = { user, ...make(kind, random, model, setting) } as Operation
  // Another operation in its place.
  if (!setting.xattrs && /xattr$/.test(kind)) return { user, op: 'stat', path: somePath(random, model, ANY) }
  return operation
}

type Bare = Operation extends infer O ? (O extends Operation ? Omit<O, 'user'> : never) : never

function make(kind: Kind, random: Random, model: Model, setting: Setting): Bare {
  switch (kind) {
    case 'create':
    case 'mkdir':
    case 'mkfifo':
      return { op: kind, path: newPath(random, model), mode: random.pick(MODES) }
    case 'openOrCreate': {
      const path = random.chance(50) ? newPath(random, model) : somePath(random, model, FILES)
      return { op: kind, path, mode: random.pick(MODES), truncate: random.chance(30) }
    }
    case 'mknod':
      return mknod(random, model)
    case 'symlink':
      return {
        op: 'symlink',
        path: newPath(random, model),
        target: random.pick(['a', '../b', '/c', 'x\xff', 'y'.repeat(200)]),
      }
    case 'link':
      return { op: 'link', path: somePath(random, model, NO_DIRECTORY), to: newPath(random, model) }
    case 'rename':
      return rename(random, model)
    case 'unlink':
      return { op: 'unlink', path: somePath(random, model, NO_DIRECTORY) }
    case 'rmdir':
    case 'rmtree':
    case 'renew':
      return { op: kind, path: somePath(random, model, DIRECTORIES) }
    case 'read':
      return { op: 'read', path: somePath(random, model, FILES) }
    case 'readdir':
      return { op: 'readdir', path: random.chance(15) ? '' : somePath(random, model, DIRECTORIES) }
    case 'stat':
      return { op: 'stat', path: somePath(random, model, ANY) }
    case 'readlink':
      return { op: 'readlink', path: somePath(random, model, [FileType.symlink]) }
    case 'access':
      return { op: 'access', path: somePath(random, model, ANY), mask: random.below(7) + 1 }
    case 'write':
      return {
        op: 'write',
        path: somePath(random, model, FILES),
        at: position(random),
        data: data(random),
        truncate: random.chance(20),
      }
    case 'truncate':
    case 'chmod':
    case 'chown':
    case 'times':
      return setattr(kind, random, model, setting)
    case 'setxattr':
    case 'getxattr':
    case 'removexattr':
      return xattr(kind, random, model, setting)
    case 'remount':
    case 'liveRemount':
    case 'freeze':
    case 'swap':
      return { op: kind }
    default:
      return onSlot(kind, random, model)
  }
}

function mknod(random: Random, model: Model): Bare {
  const type = random.pick([FileType.character, FileType.block, FileType.socket])
  return { op: 'mknod', path: newPath(random, model), type, mode: random.pick(MODES), minor: random.below(3) }
}

function rename(random: Random, model: Model): Bare {
  const how = random.weighted({ replace: 6, noReplace: 1, exchange: 2 })
  const source = random.chance(45) ? DIRECTORIES : NO_DIRECTORY
  const target = random.chance(80) ? source : ANY
  const existing = how === 'exchange' ? random.chance(90) : random.chance(40)
  const to = existing ? somePath(random, model, target) : newPath(random, model)
  return { op: 'rename', path: somePath(random, model, source), to, how }
}

function setattr(kind: 'truncate' | 'chmod' | 'chown' | 'times', random: Random, model: Model, setting: Setting): Bare {
  const path =
    random.chance(3) && kind !== 'truncate' && kind !== 'chmod'
      ? ''
      : somePath(random, model, kind === 'truncate' ? FILES : ANY)
  return { op: 'setattr', path, change: change(kind, random, setting) }
}

function change(kind: 'truncate' | 'chmod' | 'chown' | 'times', random: Random, { user }: Setting): AttrChange {
  const ids = user ? [0, user.uid, 1234, user.gid, ...user.groups] : [0, 1000, 1234]
  switch (kind) {
    case 'truncate':
      return { size: random.pick([0, 1, 10, 100, 4096, 70_000]) }
    case 'chmod':
      return { mode: random.pick(MODES) }
    case 'chown':
      return random.weighted({ both: 2, uid: 1, gid: 2 }) === 'both'
        ? { uid: random.pick(ids), gid: random.pick(ids) }
        : random.chance(40)
          ? { uid: random.pick(ids) }
          : { gid: random.pick(ids) }
    case 'times':
      // One alone as 'now' cannot be said to the kernel as a server says it: with the rights for both.
      if (random.chance(15)) return { atime: 'now', mtime: 'now' }
      if (random.chance(40)) return { atime: time(random), mtime: time(random) }
      return random.chance(60) ? { mtime: time(random) } : { atime: time(random) }
  }
}

function time(random: Random): { sec: number; nsec: number } {
  return { sec: random.pick([-5, 0, 1, 1_000_000_000, 1_234_567_890, 2 ** 31 + 5]), nsec: random.below(1_000_000_000) }
}

function xattr(kind: 'setxattr' | 'getxattr' | 'removexattr', random: Random, model: Model, setting: Setting): Bare {
  const path = random.chance(5)
    ? ''
    : somePath(random, model, random.chance(80) ? [FileType.regular, FileType.directory] : ANY)
  if (random.chance(30)) {
    const right = someRight(random, setting)
    // The kernel's side goes through the root, and needs the right to search it for its own attributes too.
    if (path === '' && right.name === ACL_ACCESS) return { op: 'getxattr', path, name: ACL_ACCESS }
    return kind === 'setxattr' ? { op: kind, path, ...right } : { op: kind, path, name: right.name }
  }
  const name = random.chance(70) ? random.pick(XATTRS.slice(0, 3)) : random.pick(XATTRS)
  if (kind !== 'setxattr') return { op: kind, path, name }
  const value = random.pick(['', 'v', 'a longer value', '\0\xff', 'z'.repeat(300)])
  const how = random.weighted({ any: 4, create: 1, replace: 1 })
  return how === 'any' ? { op: kind, path, name, value } : { op: kind, path, name, value, how }
}

function onSlot(kind: Kind, random: Random, model: Model): Bare {
  const slot = random.below(SLOTS)
  switch (kind) {
    case 'open':
      return { op: 'open', slot, path: somePath(random, model, FILES), mode: openMode(random) }
    case 'handleRead':
      return { op: 'handleRead', slot, at: random.pick([0, 0, 3, 5000]), length: random.pick([10, 1000, 100_000]) }
    case 'handleWrite':
      return { op: 'handleWrite', slot, at: random.pick([0, 0, 2, 60, 5000]), data: data(random) }
    case 'handleTruncate':
      return { op: 'handleTruncate', slot, size: random.pick([0, 5, 5000]) }
    case 'handleAllocate':
      return { op: 'handleAllocate', slot, at: random.below(100), length: random.below(5000) + 1 }
    case 'list': {
      const op = random.pick(['listBegin', 'list', 'listEnd'] as const)
      return op === 'listBegin' ? { op, slot, path: somePath(random, model, DIRECTORIES) } : { op, slot }
    }
    default:
      return { op: kind === 'handleStat' ? 'handleStat' : 'handleClose', slot }
  }
}

function openMode(random: Random): OpenMode {
  const kind = random.weighted({ read: 5, write: 2, both: 2, truncate: 1 })
  if (kind === 'read') return { read: true }
  if (kind === 'write') return { write: true }
  return kind === 'both' ? { read: true, write: true } : { write: true, truncate: true }
}

function position(random: Random): number | 'end' {
  return random.chance(40) ? 'end' : random.pick([0, 0, 1, 10, 4095, 5000, 200_000])
}

function data(random: Random): string {
  const letter = String.fromCharCode(97 + random.below(26))
  return letter.repeat(random.pick([0, 1, 5, 40, 40, 1000, 5000]))
}
