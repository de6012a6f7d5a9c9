import { FileType } from '../../overlay-core/index.ts'
import type { Operation } from './operations.ts'
import type { Random } from './random.ts'
import type { Tree } from './tree.ts'
import { joined, nameOf, type Path, parentOf } from './view.ts'

/**
 * What the generator believes the tree to be, so that most operations meet something. It judges nothing: where it is wrong, an
 * operation fails on both sides in the same way.
 */
export class Model {
  #types = new Map<Path, FileType>([['', FileType.directory]])

  /** Starts from what was read. */
  reset(tree: Tree): void {
    this.#types = new Map([...tree].map(([path, { status }]) => [path, status.type]))
  }

  get size(): number {
    return this.#types.size
  }

  /** An existing path of one of these types, undefined when there is none. The root only where `withRoot` says so. */
  some(random: Random, types: readonly FileType[], withRoot = false): Path | undefined {
    const paths = [...this.#types].filter(([path, type]) => types.includes(type) && (withRoot || path !== ''))
    return paths.length === 0 ? undefined : random.pick(paths)[0]
  }

  /** Takes a successful operation in. */
  apply(operation: Operation): void {
    switch (operation.op) {
      case 'create':
      case 'openOrCreate':
      case 'write':
        this.#put(operation.path, FileType.regular)
        break
      case 'mkdir':
        this.#put(operation.path, FileType.directory)
        break
      case 'mkfifo':
        this.#put(operation.path, FileType.fifo)
        break
      case 'mknod':
        this.#put(operation.path, operation.type)
        break
      case 'symlink':
        this.#put(operation.path, FileType.symlink)
        break
      case 'link':
        this.#put(operation.to, this.#types.get(operation.path) ?? FileType.regular)
        break
      case 'unlink':
      case 'rmdir':
      case 'rmtree':
        this.#take(operation.path)
        break
      case 'renew':
        this.#take(operation.path)
        this.#put(operation.path, FileType.directory)
        break
      case 'rename':
        this.#move(operation.path, operation.to, operation.how === 'exchange')
        break
    }
  }

  #put(path: Path, type: FileType): void {
    this.#types.set(path, type)
  }

  /** Removes a path with all below it, and gives back what was there, by what follows the path. */
  #take(path: Path): Map<string, FileType> {
    const taken = new Map<string, FileType>()
    for (const [at, type] of this.#types) {
      if (at !== path && !at.startsWith(`${path}/`)) continue
      taken.set(at.slice(path.length), type)
      this.#types.delete(at)
    }
    return taken
  }

  #move(from: Path, to: Path, exchange: boolean): void {
    const moved = this.#take(from)
    const replaced = this.#take(to)
    for (const [rest, type] of moved) this.#types.set(to + rest, type)
    if (exchange) for (const [rest, type] of replaced) this.#types.set(from + rest, type)
  }
}

/** Few names, so that operations meet each other; and some that are hostile. */
const NAMES = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h']
const ODD_NAMES = ['#1', '.wh.a', 'b\xff\xfe', 'new\nline', 'x'.repeat(255), '...', 'work', 'y'.repeat(256)]

/** From now on no name is drawn that an upper with whiteouts as files cannot have, or cannot hide. */
export function avoidMarks(): void {
  ODD_NAMES.splice(ODD_NAMES.indexOf('.wh.a'), 1, 'wh.a')
  ODD_NAMES.splice(ODD_NAMES.indexOf('x'.repeat(255)), 1, 'x'.repeat(251))
}

/** A name, seldom an odd one. */
export function someName(random: Random): string {
  return random.chance(4) ? random.pick(ODD_NAMES) : random.pick(NAMES)
}

/** Deep enough; what lies deeper makes paths long and teaches nothing. */
const MAX_DEPTH = 5

/** A path for something new: a name in an existing directory. */
export function newPath(random: Random, model: Model): Path {
  const dir = model.some(random, [FileType.directory], true) ?? ''
  const at = dir.split('/').length >= MAX_DEPTH ? parentOf(dir) : dir
  return joined(at, someName(random))
}

/** A path that most often exists and is of one of the wanted types. */
export function somePath(random: Random, model: Model, types: readonly FileType[]): Path {
  const wanted = random.chance(90) ? types : Object.values(FileType)
  const found = random.chance(96) ? model.some(random, wanted) : undefined
  if (found !== undefined) return found
  const path = newPath(random, model)
  return random.chance(10) ? joined(path, nameOf(path)) : path
}
