import { LRUCache } from 'lru-cache'
import type { ResolvedMachine } from '../../config/index.ts'
import type { RandomBytes } from '../random.ts'
import type { KernelFiles } from './kernel-files.ts'

/** How long a boot script is good, in ms: loading a large initial RAM disk over a slow network takes minutes. */
const VALID_MS = 15 * 60_000
const MOST = 4096
const BYTES = 24

/** What a boot script was made for. */
export interface Boot {
  readonly machine: ResolvedMachine
  readonly view: string
  /** Only this address may use the token. */
  readonly address: string
  /** The view with its kernel, made ready by the first request with the token. */
  ready: Promise<BootedView> | undefined
}

/** A view from which a machine boots now. */
export interface BootedView {
  /** The id of the view, which is not that of a later view with the same name. */
  readonly id: string
  readonly files: KernelFiles
}

/** The secrets in boot scripts. Each is good for one boot of one machine from one address. */
export class BootTokens {
  readonly #random: RandomBytes
  readonly #boots: LRUCache<string, Boot>
  /** The last token of each machine. */
  readonly #last = new Map<string, string>()

  /** `now`: a monotonic clock, in ms. */
  constructor(random: RandomBytes, now: () => number) {
    this.#random = random
    this.#boots = new LRUCache({
      max: MOST,
      ttl: VALID_MS,
      perf: { now },
      dispose: ({ machine }, token) => {
        if (this.#last.get(machine.name) === token) this.#last.delete(machine.name)
      },
    })
  }

  /** A token for a boot. Earlier ones of the machine are worth nothing from now on. */
  make(boot: Omit<Boot, 'ready'>): string {
    const { name } = boot.machine
    const last = this.#last.get(name)
    if (last !== undefined) this.#boots.delete(last)
    const token = Buffer.from(this.#random(BYTES)).toString('base64url')
    this.#boots.set(token, { ...boot, ready: undefined })
    this.#last.set(name, token)
    return token
  }

  /** The boot of a token that comes from an address; undefined if it is not valid there. */
  find(token: string, address: string): Boot | undefined {
    const boot = this.#boots.get(token)
    return boot?.address === address ? boot : undefined
  }

  /** Lets no earlier token of a machine count any more. */
  revoke(name: string): void {
    const last = this.#last.get(name)
    if (last !== undefined) this.#boots.delete(last)
  }
}
