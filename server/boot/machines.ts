import type { Logger } from 'pino'
import {
  type BootSettings,
  type MachineProfile,
  type MachineSettings,
  type ResolvedMachine,
  resolveMachine,
} from '../../config/index.ts'
import { nearestWord, OptionError } from '../../overlay-core/index.ts'
import type { RandomBytes } from '../random.ts'
import type { MachineNames } from '../registry/machine-names.ts'
import { type Claim, nameOfUnknown } from './claim.ts'
import type { Lease, MachineRecord, MachineRecords } from './machine-records.ts'
import { newSshHostKey, type SshHostKey } from './ssh-host-key.ts'

/** How long after its last call a machine counts as running. */
export const RUNNING_MS = 60_000
/** The maximum number of machines that wait for approval; the oldest gives way. */
const MOST_PENDING = 256

/** A machine that is in no list, and waits for approval. */
export interface PendingMachine {
  readonly mac: string | undefined
  readonly uuid: string | undefined
  readonly serial: string | undefined
  readonly address: string
  /** When it asked last, in ms since the epoch. */
  readonly askedMs: number
}

/** What machines need. */
export interface MachineParts {
  /** Whether the portmapper knows the ports of NFS. */
  readonly findable: boolean
  readonly records: MachineRecords
  readonly random: RandomBytes
  /** The time of day, in ms since the epoch. */
  readonly wallNow: () => number
  readonly log: Logger
}

interface LiveLease extends Lease {
  readonly name: string
  seenMs: number
}

/** What is secret of a machine and stays the same as long as it is known. */
export interface MachineSecrets {
  readonly machineId: string
  readonly sshKey: SshHostKey
}

/** The list of machines, and at which addresses they are. */
export class Machines implements MachineNames {
  settings: BootSettings
  /** Whether the portmapper knows the ports of NFS. */
  readonly findable: boolean
  readonly #parts: MachineParts
  #listed = new Map<string, MachineSettings>()
  #groups = new Map<string, MachineProfile>()
  /** Those that have an address for good. */
  #byAddress = new Map<string, ResolvedMachine>()
  /** By view and address. */
  readonly #leases = new Map<string, LiveLease>()
  /** When the machines with an address for good made their last call. */
  readonly #seenFixed = new Map<string, number>()
  readonly #pending = new Map<string, PendingMachine>()
  /** What is wrong with a machine, for the admin. */
  readonly #troubles = new Map<string, string>()
  /** Prepares the view of a machine that mounts without a boot script. */
  prepare: (machine: ResolvedMachine, view: string, address: string) => Promise<void> = async () => undefined

  constructor(settings: BootSettings, parts: MachineParts) {
    this.settings = settings
    this.findable = parts.findable
    this.#parts = parts
    this.change(settings)
    const now = parts.wallNow()
    // It is not known when they were seen last, and they go on as if nothing had happened.
    for (const { name, lease } of parts.records.list())
      if (lease !== undefined) this.#leases.set(keyOf(lease), { ...lease, name, seenMs: now })
  }

  /** Takes another list. */
  change(settings: BootSettings): void {
    this.settings = settings
    this.#groups = new Map(settings.groups.map((group) => [group.name, group]))
    this.#listed = new Map()
    for (const { approved } of this.#parts.records.list())
      if (approved !== undefined) this.#listed.set(approved.name, approved)
    for (const machine of settings.machines) this.#listed.set(machine.name, machine)
    this.#byAddress = new Map()
    for (const machine of this.list()) if (machine.address !== undefined) this.#byAddress.set(machine.address, machine)
  }

  /** The machines of the list. */
  *list(): Iterable<ResolvedMachine> {
    for (const machine of this.#listed.values()) yield this.#resolve(machine)
  }

  /** The names of all machines that are in the list or have booted. */
  names(): string[] {
    return [...new Set([...this.#listed.keys(), ...[...this.#parts.records.list()].map(({ name }) => name)])]
  }

  byName(name: string): ResolvedMachine | undefined {
    const machine = this.#listed.get(name)
    return machine && this.#resolve(machine)
  }

  /** The machine with this name, also one that is in no list but has booted. @throws OptionError there is none */
  need(name: string): ResolvedMachine {
    const hasBooted = this.#parts.records.get(name) !== undefined
    const found = this.byName(name) ?? (hasBooted ? this.#resolve(unlisted(name)) : undefined)
    if (found !== undefined) return found
    const near = nearestWord(name, this.names())
    throw new OptionError(
      'machine',
      `there is no machine ${JSON.stringify(name)}; ${near === undefined ? 'see overlayd machine list' : `did you mean ${near}?`}`,
    )
  }

  record(name: string): MachineRecord | undefined {
    return this.#parts.records.get(name)
  }

  /** The machine of the list that fits everything that it says of itself. */
  find(claim: Claim): ResolvedMachine | undefined {
    for (const machine of this.#listed.values()) {
      const { mac, uuid, serial } = machine
      const given = [
        [mac, claim.mac],
        [uuid, claim.uuid],
        [serial, claim.serial],
      ].filter(([wanted]) => wanted !== undefined)
      if (given.length > 0 && given.every(([wanted, said]) => wanted === said)) return this.#resolve(machine)
    }
    return undefined
  }

  /** A machine that is in no list, for a view named by its MAC; undefined if it says nothing of itself. */
  unknown(claim: Claim, view: string | undefined): ResolvedMachine | undefined {
    const name = nameOfUnknown(claim)
    if (name === undefined) return undefined
    return this.#resolve({ ...unlisted(name), mac: claim.mac, uuid: claim.uuid, view })
  }

  #resolve(machine: MachineSettings): ResolvedMachine {
    return resolveMachine(machine, this.#groups, this.settings.arguments)
  }

  nameAt(template: string, address: string): string | undefined {
    const now = this.#parts.wallNow()
    const lease = this.#leases.get(`${template}\0${address}`)
    if (lease === undefined) {
      const name = this.#fixed(template, address)?.name
      if (name !== undefined) this.#seenFixed.set(name, now)
      return name
    }
    if (now - lease.seenMs > this.settings.leaseMs) {
      this.#leases.delete(keyOf(lease))
      return undefined
    }
    lease.seenMs = now
    return lease.name
  }

  mounting(template: string, address: string): Promise<void> | undefined {
    if (this.#leases.has(`${template}\0${address}`)) return undefined
    const machine = this.#fixed(template, address)
    if (machine === undefined) return undefined
    return this.prepare(machine, template, address)
  }

  /** The machine that has an address for good. */
  #fixed(template: string, address: string): ResolvedMachine | undefined {
    const machine = this.#byAddress.get(address)
    return machine !== undefined && (machine.view ?? this.settings.views[0]) === template ? machine : undefined
  }

  /** Where a machine is. */
  leaseOf(name: string): (Lease & { readonly seenMs: number }) | undefined {
    for (const lease of this.#leases.values()) if (lease.name === name) return lease
    return undefined
  }

  /** Whether a machine has made a call in the last minute. */
  isRunning(name: string): boolean {
    const seen = Math.max(this.leaseOf(name)?.seenMs ?? 0, this.#seenFixed.get(name) ?? 0)
    return this.#parts.wallNow() - seen < RUNNING_MS
  }

  /** The address at which another machine runs under this name; undefined if there is none. */
  runsElsewhere(name: string, address: string): string | undefined {
    const lease = this.leaseOf(name)
    if (lease === undefined || lease.address === address) return undefined
    return this.#parts.wallNow() - lease.seenMs < RUNNING_MS ? lease.address : undefined
  }

  /** Gives the address to a machine, which has no other from now on. It is durable when it resolves. @throws Error it cannot be kept */
  async lease(name: string, { view, address }: Lease, kernel: string | undefined): Promise<void> {
    const now = this.#parts.wallNow()
    for (const [key, lease] of this.#leases) {
      if (lease.name === name) this.#leases.delete(key)
      else if (lease.address === address) {
        // The address was given to another machine, so the earlier one is off.
        this.#leases.delete(key)
        await this.#parts.records.change(lease.name, { lease: undefined })
      }
    }
    this.#leases.set(keyOf({ view, address }), { name, view, address, seenMs: now })
    await this.#parts.records.change(name, { lease: { view, address }, bootedMs: now, kernel })
    this.#troubles.delete(name)
  }

  /** What a machine keeps, made at its first boot. */
  async secretsOf(name: string): Promise<MachineSecrets> {
    const { records, random } = this.#parts
    const known = records.get(name)
    const machineId = known?.machineId ?? Buffer.from(random(16)).toString('hex')
    const sshKey = known?.sshKey ?? newSshHostKey(`root@${name}`, random(4))
    if (known?.machineId === undefined || known.sshKey === undefined) await records.change(name, { machineId, sshKey })
    return { machineId, sshKey }
  }

  /** Forgets the machine in no list that booted longest ago, if no more can be kept. False if there is none that is not at an address now. */
  async makeRoom(): Promise<boolean> {
    const { records } = this.#parts
    if (!records.isFull) return true
    let oldest: MachineRecord | undefined
    for (const record of records.list()) {
      const gone =
        !this.#listed.has(record.name) && (record.lease === undefined || !this.#leases.has(keyOf(record.lease)))
      if (gone && (oldest === undefined || (record.bootedMs ?? 0) < (oldest.bootedMs ?? 0))) oldest = record
    }
    if (oldest !== undefined) await this.forget(oldest.name)
    return oldest !== undefined
  }

  trouble(name: string, text: string): void {
    if (this.#troubles.get(name) !== text) this.#parts.log.warn({ machine: name }, text)
    this.#troubles.set(name, text)
  }

  troubleOf(name: string): string | undefined {
    return this.#troubles.get(name)
  }

  /** Notes a machine that waits for approval. */
  wait({ mac, uuid, serial }: Claim, address: string): void {
    const key = mac ?? uuid ?? serial ?? ''
    if (!this.#pending.has(key)) {
      this.#parts.log.warn(
        { mac, uuid, serial, client: address },
        'an unknown machine waits for overlayd machine approve',
      )
      const [oldest] = this.#pending.keys()
      if (this.#pending.size >= MOST_PENDING && oldest !== undefined) this.#pending.delete(oldest)
    }
    this.#pending.delete(key)
    this.#pending.set(key, { mac, uuid, serial, address, askedMs: this.#parts.wallNow() })
  }

  pending(): Iterable<PendingMachine> {
    return this.#pending.values()
  }

  /** Adds a machine to the list. It is durable when it resolves. */
  async approve(machine: MachineSettings): Promise<void> {
    await this.#parts.records.change(machine.name, { approved: machine })
    for (const [key, { mac }] of this.#pending) if (mac !== undefined && mac === machine.mac) this.#pending.delete(key)
    this.change(this.settings)
  }

  /** Keeps a machine on the version of its image, or lets it go on. It is durable when it resolves. */
  async pin(name: string, pinned: boolean): Promise<void> {
    await this.#parts.records.change(name, { pinned })
  }

  /** Forgets where a machine is, its identity and its approval. Its view stays. */
  async forget(name: string): Promise<void> {
    for (const [key, lease] of this.#leases) if (lease.name === name) this.#leases.delete(key)
    this.#troubles.delete(name)
    await this.#parts.records.forget(name)
    this.change(this.settings)
  }
}

function keyOf({ view, address }: Lease): string {
  return `${view}\0${address}`
}

function unlisted(name: string): MachineSettings {
  return { name, groups: [], arguments: [], mountOptions: [], fstab: [], authorizedKeys: [], files: [] }
}
