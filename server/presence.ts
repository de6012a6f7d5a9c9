import type { Socket } from 'node:net'
import { LRUCache } from 'lru-cache'
import type { Clock } from './clock.ts'

/** More uses are not remembered: those seen longest ago are forgotten. */
const MOST = 10_000

/** That somebody used a view over HTTP. */
export interface HttpUse {
  /** The address of the client, also behind a trusted proxy. */
  readonly address: string
  /** The login name; without a login `uid N`. */
  readonly user: string
  readonly view: string
  /** The latest request, in ms since the epoch. */
  lastMs: number
  requests: number
}

/** Who has used which views over HTTP lately. Requests on one connection have mostly the same user and view, which costs a few comparisons. */
export class Presence {
  readonly #uses = new LRUCache<string, HttpUse>({ max: MOST })
  readonly #latest = new WeakMap<Socket, HttpUse>()
  readonly #wallNow: Clock

  constructor(wallNow: Clock) {
    this.#wallNow = wallNow
  }

  seen(socket: Socket, address: string, user: string, view: string): void {
    const known = this.#latest.get(socket)
    const same = known !== undefined && known.view === view && known.user === user && known.address === address
    const use = same ? known : this.#find(socket, address, user, view)
    use.lastMs = this.#wallNow()
    use.requests++
  }

  #find(socket: Socket, address: string, user: string, view: string): HttpUse {
    const key = JSON.stringify([address, user, view])
    let use = this.#uses.get(key)
    if (use === undefined) {
      use = { address, user, view, lastMs: 0, requests: 0 }
      this.#uses.set(key, use)
    }
    this.#latest.set(socket, use)
    return use
  }

  /** The use of the latest request on a connection. */
  of(socket: Socket): HttpUse | undefined {
    return this.#latest.get(socket)
  }

  /** All that are remembered, the latest first. */
  list(): readonly HttpUse[] {
    return [...this.#uses.values()].filter((use) => use !== undefined).sort((a, b) => b.lastMs - a.lastMs)
  }
}
