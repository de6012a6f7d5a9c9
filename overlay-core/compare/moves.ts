import type { Inode, Name } from '../api/types.ts'
import { LargeMap } from '../base/large-map.ts'

/** A name that has another object than in the base, or is in one of them only. An object that turned out to be moved is taken out. */
export interface Apart {
  readonly path: readonly Name[]
  /** The path in the base, which is another one in a moved directory. */
  readonly was: readonly Name[]
  after: Inode | undefined
  before: Inode | undefined
  /** Whether it is in a removed directory, which stands for it. */
  readonly inside: boolean
}

/** The names whose objects may have been moved, until it is known where to. */
export class Moves {
  #waiting: Apart[] = []
  /** Those that the base has, by the identity of their object. */
  readonly #gone = new LargeMap<string, Apart[]>()
  readonly #identityBefore: (inode: Inode) => string | undefined

  constructor(identityBefore: (inode: Inode) => string | undefined) {
    this.#identityBefore = identityBefore
  }

  get size(): number {
    return this.#waiting.length
  }

  add(apart: Apart): void {
    this.#waiting.push(apart)
    const identity = apart.before && this.#identityBefore(apart.before)
    if (identity === undefined) return
    const others = this.#gone.get(identity)
    if (others === undefined) this.#gone.set(identity, [apart])
    else others.push(apart)
  }

  /** Takes out the object of the base that has this identity, with its path. */
  take(identity: string): { readonly was: readonly Name[]; readonly before: Inode } | undefined {
    const found = this.#gone.get(identity)?.find(({ before }) => before !== undefined)
    if (found?.before === undefined) return undefined
    const { was, before } = found
    found.before = undefined
    return { was, before }
  }

  /** All that wait; those for which `stays` is false leave. */
  *leave(stays: (apart: Apart) => boolean): Generator<Apart> {
    const all = this.#waiting
    this.#waiting = []
    for (const apart of all) {
      if (stays(apart)) this.#waiting.push(apart)
      else yield apart
    }
  }

  [Symbol.iterator](): Iterator<Apart> {
    return this.#waiting[Symbol.iterator]()
  }
}
