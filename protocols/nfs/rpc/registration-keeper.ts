import type { NetConnectOpts } from 'node:net'
import type { Logger } from './logger.ts'
import { isRegistered, type Registration, RPCBIND_ENDPOINTS, register, unregister } from './rpcbind.ts'

/** How often rpcbind is asked whether it still knows the programs. */
const CHECK_MS = 30_000

/** Keeps programs registered with the local rpcbind, even if rpcbind restarts. */
export class RegistrationKeeper {
  readonly #wanted: readonly Registration[]
  readonly #log: Logger
  readonly #endpoints: readonly NetConnectOpts[]
  #made: readonly Registration[] = []
  #timer: NodeJS.Timeout | undefined
  #checking: Promise<void> | undefined

  constructor(wanted: readonly Registration[], log: Logger, endpoints: readonly NetConnectOpts[] = RPCBIND_ENDPOINTS) {
    this.#wanted = wanted
    this.#log = log
    this.#endpoints = endpoints
  }

  /** Registers all programs. @throws Error rpcbind cannot be reached, or refuses */
  async start(checkMs: number = CHECK_MS): Promise<void> {
    await this.#register()
    this.#timer = setInterval(() => {
      this.#checking ??= this.check().finally(() => {
        this.#checking = undefined
      })
    }, checkMs).unref()
  }

  /** Registers programs again that rpcbind has forgotten. Never rejects: if rpcbind is unavailable, it is asked again later. */
  async check(): Promise<void> {
    try {
      if (await isRegistered(this.#made, this.#endpoints)) return
      await this.#register()
      this.#log.info({}, 'registered with rpcbind again')
    } catch (error) {
      this.#log.debug({ err: error }, 'rpcbind does not answer')
    }
  }

  /** Removes all registrations. Never rejects. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await this.#checking
    await unregister(this.#made, this.#endpoints).catch((error) =>
      this.#log.warn({ err: error }, 'cannot remove the programs from rpcbind'),
    )
  }

  async #register(): Promise<void> {
    this.#made = await register(this.#wanted, this.#endpoints)
    for (const { program } of this.#wanted.filter((wanted) => !this.#made.includes(wanted))) {
      this.#log.warn(
        { program },
        'another server on this machine has registered this program: NFS clients must mount with nolock',
      )
    }
  }
}
