import type { Name } from '../../../overlay-core/index.ts'
import { DavError } from '../http/dav-error.ts'
import { statusOf } from '../http/status.ts'
import type { ActiveLock } from '../locks/lock-store.ts'
import type { DavContext, DavView } from '../state/context.ts'
import { hrefIn } from '../state/served-view.ts'
import { Multistatus, statusResponse } from './multistatus.ts'

/** A member that a method on a whole tree failed on. */
export interface Failure {
  readonly view: DavView
  readonly names: readonly Name[]
  readonly collection: boolean
  readonly status: number
  readonly condition?: string | undefined
}

/** The failures in a tree: the first ones in full, the rest as a number. */
export class Failures {
  readonly #limit: number
  readonly #list: Failure[] = []
  #count = 0

  constructor(limit: number) {
    this.#limit = limit
  }

  get count(): number {
    return this.#count
  }

  /** Records that the member at `names` failed with `error`. */
  add(view: DavView, names: readonly Name[], collection: boolean, error: unknown): void {
    this.#count++
    if (this.#list.length >= this.#limit) return
    const condition = error instanceof DavError ? error.condition : undefined
    // Copied, because the walker continues to use the array.
    this.#list.push({ view, names: [...names], collection, status: statusOf(error), condition })
  }

  /** Responds with 207 and the recorded failures. */
  async send(ctx: DavContext): Promise<void> {
    const answer = new Multistatus(ctx)
    for (const { view, names, collection, status, condition } of this.#list) {
      await answer.add(statusResponse(hrefIn(view, names, collection), status, condition))
    }
    answer.end()
  }
}

/** Responds with 207 for locked members of a tree, after which nothing was done (RFC 4918 section 9.6.1). */
export async function sendLocked(ctx: DavContext, view: DavView, locks: readonly ActiveLock[]): Promise<void> {
  const answer = new Multistatus(ctx)
  for (const { names } of locks.slice(0, ctx.services.limits.reportedFailures)) {
    await answer.add(statusResponse(hrefIn(view, names, false), 423, '<D:lock-token-submitted/>'))
  }
  answer.end()
}
