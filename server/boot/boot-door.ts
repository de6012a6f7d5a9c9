import type { Logger } from 'pino'
import type { BootSettings, ResolvedMachine } from '../../config/index.ts'
import { OptionError } from '../../overlay-core/index.ts'
import type { Boot, BootedView, BootTokens } from './boot-tokens.ts'
import { type Claim, isEmpty } from './claim.ts'
import { kernelArguments } from './kernel-arguments.ts'
import type { Machines } from './machines.ts'
import { macError } from './neighbours.ts'
import { kernelOf, type ViewPreparer } from './prepare-view.ts'
import { RequestRate } from './request-rate.ts'
import { askingScript, type BootPlan, bootScript, grubScript, menuScript, waitingScript } from './scripts.ts'

/** How many scripts an address may ask for at once, and then every so many ms one. */
const MOST_SCRIPTS = 30
const SCRIPT_REFILL_MS = 2000

/** A request for a boot script. */
export interface ScriptRequest {
  readonly claim: Claim
  /** The address that has asked. */
  readonly address: string
  /** The address and port of this server at which it has asked. */
  readonly local: { readonly address: string; readonly host: string }
  /** The view that it has asked for; undefined: the one of the machine. */
  readonly view: string | undefined
  readonly form: 'ipxe' | 'grub'
}

/** An answer that is text. */
export interface TextAnswer {
  readonly status: 200 | 400 | 403 | 404 | 409 | 429 | 503
  readonly text: string
}

/** What the boot door works with. */
export interface BootDoorParts {
  readonly machines: Machines
  readonly preparer: ViewPreparer
  readonly tokens: BootTokens
  readonly log: Logger
  /** The port of NFS. */
  readonly nfsPort: () => number | undefined
  /** A monotonic clock, in ms. */
  readonly now: () => number
}

/** Decides what a machine boots, and makes its view ready. It is reached without a login: docs/security.md says what that means. */
export class BootDoor {
  readonly #parts: BootDoorParts
  readonly #rate: RequestRate

  constructor(parts: BootDoorParts) {
    this.#parts = parts
    this.#rate = new RequestRate(MOST_SCRIPTS, SCRIPT_REFILL_MS, parts.now)
    const { machines, preparer } = parts
    machines.prepare = async (machine, view, address) => {
      const server = machines.settings.server ?? machines.settings.listen.host
      // Mounting once more, while it runs, must not take its files away.
      const runs = machines.isRunning(machine.name)
      await preparer.prepare(runs ? { ...machine, policy: 'keep' } : machine, { view, address, server })
    }
  }

  get #settings(): BootSettings {
    return this.#parts.machines.settings
  }

  /** The script for a machine. Never throws for what a client says. */
  async script(request: ScriptRequest): Promise<TextAnswer> {
    const { claim, address, view, form } = request
    if (!this.#rate.take(address)) return { status: 429, text: 'too many requests from this address; wait\n' }
    const path = view === undefined ? '/boot.ipxe' : `/boot/${view}.ipxe`
    if (isEmpty(claim) && form === 'ipxe') return { status: 200, text: askingScript(path) }
    if (isEmpty(claim)) return { status: 400, text: 'says neither mac nor uuid nor serial; add ?mac=\n' }
    if (view !== undefined && !this.#settings.views.includes(view))
      return { status: 404, text: 'machines do not boot this view\n' }
    const refusal = await this.#refusal(request)
    if (refusal !== undefined) return refusal
    const machine = this.#parts.machines.find(claim)
    if (machine !== undefined) return this.#known(request, machine)
    return this.#unknown(request)
  }

  /** Why a machine gets no script; undefined if it may. */
  async #refusal({ claim, address }: ScriptRequest): Promise<TextAnswer | undefined> {
    const { machines, log } = this.#parts
    const wrong = await macError(this.#settings.checkMac, address, claim.mac)
    const machine = machines.find(claim)
    if (wrong !== undefined) {
      log.warn({ client: address, ...withoutKey(claim) }, `a machine was not let in: ${wrong}`)
      if (machine !== undefined)
        machines.trouble(machine.name, `a machine at ${address} claimed to be this one: ${wrong}`)
      return { status: 403, text: `${wrong}\n` }
    }
    if (machine === undefined) return undefined
    if (machine.key !== undefined && machine.key !== claim.key) {
      machines.trouble(machine.name, `a machine at ${address} claimed to be this one without its key`)
      return { status: 403, text: 'the key is missing or wrong; see the key of the machine in the configuration\n' }
    }
    const elsewhere = machines.runsElsewhere(machine.name, address) ?? otherThan(machine.address, address)
    if (elsewhere === undefined) return undefined
    machines.trouble(
      machine.name,
      `two machines under one identity: it is at ${elsewhere}, and ${address} asks to boot as it`,
    )
    return { status: 409, text: `this machine is at ${elsewhere}; it counts as off a minute after its last call\n` }
  }

  #known(request: ScriptRequest, machine: ResolvedMachine): TextAnswer {
    const { view, form } = request
    const chosen = machine.view ?? view ?? (form === 'grub' ? this.#usual : undefined)
    if (chosen === undefined) return this.#menu(request, machine.name)
    if (view !== undefined && view !== chosen)
      return { status: 403, text: `this machine boots ${chosen}; change its view in the configuration\n` }
    return this.#boot(request, machine, chosen)
  }

  async #unknown(request: ScriptRequest): Promise<TextAnswer> {
    const { machines, log } = this.#parts
    const { claim, address, view, form } = request
    const { unknown, unknownView } = this.#settings
    if (unknown === 'register') {
      machines.wait(claim, address)
      const text = 'This machine is not known yet. The admin can add it: overlayd machine approve'
      if (form === 'grub') return { status: 403, text: `${text}\n` }
      return { status: 200, text: waitingScript('/boot.ipxe', queryOf(claim), text) }
    }
    const wanted = unknown === 'ephemeral' ? unknownView : (view ?? (form === 'grub' ? this.#usual : undefined))
    if (unknown === 'menu' && wanted === undefined) return this.#menu(request, 'unknown machine')
    const machine = unknown === 'refuse' ? undefined : machines.unknown(claim, wanted)
    if (machine === undefined || wanted === undefined || !(await machines.makeRoom())) {
      log.warn({ client: address, ...withoutKey(claim) }, 'an unknown machine was not let in; add it to [machines]')
      return { status: 403, text: 'this machine is not in the list; add it to [machines] in the configuration\n' }
    }
    const elsewhere = machines.runsElsewhere(machine.name, address)
    if (elsewhere !== undefined) return { status: 409, text: `this machine is at ${elsewhere}\n` }
    return this.#boot(request, machine, wanted)
  }

  get #usual(): string {
    return this.#settings.default ?? (this.#settings.views[0] as string)
  }

  #menu({ claim }: ScriptRequest, title: string): TextAnswer {
    const { views, timeoutSeconds } = this.#settings
    return {
      status: 200,
      text: menuScript(views, {
        query: queryOf(claim),
        usual: this.#usual,
        timeoutSeconds,
        title: `overlayd: ${title}`,
      }),
    }
  }

  #boot({ address, local, form }: ScriptRequest, machine: ResolvedMachine, view: string): TextAnswer {
    const { machines, nfsPort } = this.#parts
    const port = nfsPort()
    if (port === undefined) return { status: 503, text: 'NFS is off; machines need it: set nfs.listen\n' }
    const token = this.#parts.tokens.make({ machine, view, address })
    const server = this.#settings.server ?? local.address
    // Which kernel it is, and whether it has an initial RAM disk, is known when the view is ready. One without gets an empty one, which the kernel ignores.
    const plan: BootPlan = {
      token,
      arguments: kernelArguments(machine, { server, port: machines.findable ? undefined : port, view }),
      initrd: true,
    }
    return { status: 200, text: form === 'grub' ? grubScript(local.host, plan) : bootScript(plan) }
  }

  /** The view and kernel of a boot script; the first request makes them ready. Undefined if the token is not valid here. @throws OptionError */
  async redeem(token: string, address: string, server: string): Promise<(Boot & BootedView) | undefined> {
    const boot = this.#parts.tokens.find(token, address)
    if (boot === undefined) return undefined
    boot.ready ??= this.#begin(boot, this.#settings.server ?? server)
    try {
      return { ...boot, ...(await boot.ready) }
    } catch (error) {
      boot.ready = undefined
      throw error
    }
  }

  async #begin({ machine, view, address }: Boot, server: string): Promise<BootedView> {
    const { machines, preparer, log } = this.#parts
    if (machines.runsElsewhere(machine.name, address) !== undefined)
      throw new OptionError('boot', `${machine.name} runs at another address by now`)
    try {
      const made = await preparer.prepare(machine, { view, address, server })
      const files = await kernelOf(made, machine)
      await machines.lease(machine.name, { view, address }, files.kernel)
      log.info({ machine: machine.name, view, client: address, ...files }, 'a machine boots')
      return { id: made.record.id, files }
    } catch (error) {
      machines.trouble(machine.name, `it cannot boot: ${(error as Error).message}`)
      throw error
    }
  }
}

function otherThan(own: string | undefined, address: string): string | undefined {
  return own === undefined || own === address ? undefined : own
}

function withoutKey({ mac, uuid, serial }: Claim) {
  return { mac, uuid, serial }
}

/** The claim as the next script sends it again. Each value is checked, and encoded, so that it is one word of a script. */
function queryOf(claim: Claim): string {
  return Object.entries(claim)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${encodeURIComponent(value as string)}`)
    .join('&')
}
