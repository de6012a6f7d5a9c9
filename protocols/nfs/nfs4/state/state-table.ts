import { type Inode, loopBudget, type OpenFile } from '../../../../overlay-core/index.ts'
import type { NfsMember, ServedView } from '../../exports/served-view.ts'
import type { LockOwner } from '../../locks/file-locks.ts'
import type { LockTable } from '../../locks/lock-table.ts'
import type { ShareTable } from '../../locks/share-table.ts'
import { AddressShares } from './address-shares.ts'
import type { Nfs4Client } from './client.ts'
import { LockState, OpenOwner, OpenState, type State } from './open-state.ts'
import { OwnerSequence } from './owner-sequence.ts'

/** Opens and locks of one client, of one address, and of all. Each takes 1 KiB at most, with the name of its owner 2 KiB. */
const MOST_OF_CLIENT = 20_000
const MOST_OF_ADDRESS = 40_000
const MOST = 160_000
/** The part of the files held open that one client may have. */
const CLIENTS_PART = 4
/** Owners of which 4.0 remembers the last request. */
const MOST_OWNERS = 4096

/** A file of a view, with its key in the tables of locks. */
export interface Place {
  readonly view: ServedView
  readonly inode: Inode
  readonly file: string
}

/** What clients hold: opens and locks, by the serial number in their stateids. */
export class StateTable {
  readonly #states = new Map<number, State>()
  /** The opens of each file. */
  readonly #opens = new Map<string, Set<OpenState>>()
  readonly #locks: LockTable
  readonly #shares: ShareTable
  /** How many opens hold each file, by which it lives without a name. Each file takes a descriptor. */
  readonly #held = new Map<string, number>()
  readonly #mostHeld: number
  /** The owners of opens that were closed last, in 4.0. */
  readonly #closed = new Map<number, OwnerSequence>()
  readonly #ofAddress = new AddressShares(MOST_OF_ADDRESS)
  #serial = 0

  /** `mostHeld` is the maximum number of files that are held open for all clients together; one client gets a quarter. */
  constructor(locks: LockTable, shares: ShareTable, mostHeld: number) {
    this.#mostHeld = mostHeld
    this.#locks = locks
    this.#shares = shares
  }

  get size(): number {
    return this.#states.size
  }

  /** The state with this number. */
  find(serial: number): State | undefined {
    return this.#states.get(serial)
  }

  /** An open file, which may have no name any more. */
  openFile(file: string): Inode | undefined {
    for (const { inode } of this.#opens.get(file) ?? []) return inode
    return undefined
  }

  /** Whether an open may hold its file. Beyond the limit a file lives only as long as it has a name. */
  mayHold(client: Nfs4Client, file: string): boolean {
    if (client.held >= this.#mostHeld / CLIENTS_PART) return false
    return this.#held.size < this.#mostHeld || this.#held.has(file)
  }

  /** The number of files that are held open. */
  get held(): number {
    return this.#held.size
  }

  /** Whether a client may have one more. */
  hasRoom({ states, address }: Nfs4Client): boolean {
    return states.size < MOST_OF_CLIENT && this.#ofAddress.hasRoom(address, 1) && this.#states.size < MOST
  }

  /** The order of the requests of the owner that closed this open, in 4.0. */
  closedBy(serial: number): OwnerSequence | undefined {
    return this.#closed.get(serial)
  }

  /** Forgets the locks of an owner in 4.0; false if it has any. */
  releaseLockOwner(client: Nfs4Client, owner: LockOwner): boolean {
    const own: LockState[] = []
    for (const state of client.states) {
      if (state.kind === 'lock' && (state as LockState).owner.key === owner.key) own.push(state as LockState)
    }
    if (own.some((lock) => this.#locks.hasOwner(lock.file, owner))) return false
    for (const lock of own) this.free(lock)
    client.lockOwners.delete(owner.key)
    return true
  }

  /** The owner with this name, made if it is new. */
  owner(client: Nfs4Client, name: string): OpenOwner {
    const known = client.owners.get(name)
    if (known !== undefined) return known
    if (client.owners.size >= MOST_OWNERS) forgetIdleOwner(client)
    const owner = new OpenOwner(client, name)
    client.owners.set(name, owner)
    return owner
  }

  /** Opens a file, or opens it again with more access. Undefined if a reservation of somebody else forbids it; then `handle` is not taken. */
  open(
    owner: OpenOwner,
    place: Place,
    share: { access: number; deny: number },
    handle: OpenFile | undefined,
  ): OpenState | undefined {
    const { file } = place
    const known = owner.opens.get(file)
    if (known === undefined) {
      if (!this.#shares.open(file, share.access, share.deny)) return undefined
      const open = new OpenState(owner, ++this.#serial, place, handle)
      owner.opens.set(file, open)
      this.#opens.set(file, (this.#opens.get(file) ?? new Set()).add(open))
      this.#add(open)
      countIn(owner.client, place.view.member, 1)
      if (handle !== undefined) this.#countHeld(open, 1)
      return taken(open, share.access, share.deny, share)
    }
    if (!this.#change(known, known.access | share.access, known.deny | share.deny)) return undefined
    handle?.close()
    return taken(known, known.access | share.access, known.deny | share.deny, share)
  }

  /** Reduces an open to a part of what it has. */
  downgrade(open: OpenState, access: number, deny: number): void {
    this.#change(open, access, deny)
    open.access = access
    open.deny = deny
    open.opened &= lessThan(access, deny)
    open.changed()
  }

  /** The locks of an owner in an open file, made if there are none. */
  lockState(open: OpenState, owner: LockOwner): LockState {
    for (const lock of open.locks) if (lock.owner.key === owner.key) return lock
    const sequence = open.client.lockOwners.get(owner.key) ?? new OwnerSequence()
    if (open.client.minor === 0) keep(open.client.lockOwners, owner.key, sequence)
    const lock = new LockState(open, ++this.#serial, owner, sequence)
    open.locks.add(lock)
    this.#add(lock)
    return lock
  }

  /** Ends an open and the locks in it. */
  close(open: OpenState): void {
    for (const lock of [...open.locks]) this.free(lock)
    this.#shares.close(open.file, open.access, open.deny)
    const others = this.#opens.get(open.file)
    others?.delete(open)
    if (others?.size === 0) this.#opens.delete(open.file)
    open.owner.opens.delete(open.file)
    // In 4.0 the order of its requests goes on.
    if (open.client.minor === 0) keep(this.#closed, open.serial, open.owner.sequence)
    else if (open.owner.opens.size === 0) open.client.owners.delete(open.owner.name)
    this.#drop(open)
    if (open.handle !== undefined) {
      this.#countHeld(open, -1)
      open.handle.close()
    }
    countIn(open.client, open.view.member, -1)
  }

  /** Ends the locks of an owner in a file. */
  free(lock: LockState): void {
    this.#locks.unlock(lock.file, lock.owner, { start: 0n, end: 0xffff_ffff_ffff_ffffn })
    lock.open.locks.delete(lock)
    this.#drop(lock)
  }

  /** The clients that have a file open. */
  *clientsOf(file: string): Generator<Nfs4Client> {
    for (const { client } of [...(this.#opens.get(file) ?? [])]) yield client
  }

  /** Ends what a client holds in a file. */
  freeFile(client: Nfs4Client, file: string): void {
    for (const open of [...(this.#opens.get(file) ?? [])]) if (open.client === client) this.close(open)
  }

  /** Ends all that a client holds, over several turns of the event loop if that is much. */
  async freeClient(client: Nfs4Client): Promise<void> {
    for (const state of client.states) {
      if (state.kind === 'open') this.close(state as OpenState)
      if (loopBudget.spent) await loopBudget.rest()
    }
  }

  #countHeld({ client, file }: OpenState, change: 1 | -1): void {
    client.held += change
    const holders = (this.#held.get(file) ?? 0) + change
    if (holders === 0) this.#held.delete(file)
    else this.#held.set(file, holders)
  }

  #change(open: OpenState, access: number, deny: number): boolean {
    const { file } = open
    this.#shares.close(file, open.access, open.deny)
    if (this.#shares.open(file, access, deny)) return true
    this.#shares.open(file, open.access, open.deny)
    return false
  }

  #add(state: State): void {
    this.#states.set(state.serial, state)
    state.client.states.add(state)
    this.#ofAddress.add(state.client.address, 1)
  }

  #drop(state: State): void {
    if (!this.#states.delete(state.serial)) return
    state.client.states.delete(state)
    this.#ofAddress.remove(state.client.address, 1)
  }
}

function countIn({ members }: Nfs4Client, member: NfsMember | undefined, change: 1 | -1): void {
  if (member === undefined) return
  const count = (members.get(member) ?? 0) + change
  if (count === 0) members.delete(member)
  else members.set(member, count)
}

/** Adds to a map that forgets its oldest. */
function keep<K>(map: Map<K, OwnerSequence>, key: K, sequence: OwnerSequence): void {
  map.set(key, sequence)
  if (map.size <= MOST_OWNERS) return
  for (const oldest of map.keys()) {
    map.delete(oldest)
    return
  }
}

/** An owner without opens confirms its next one anew. */
function forgetIdleOwner({ owners }: Nfs4Client): void {
  for (const [name, { opens }] of owners) {
    if (opens.size > 0) continue
    owners.delete(name)
    return
  }
}

function taken(open: OpenState, access: number, deny: number, share: { access: number; deny: number }): OpenState {
  open.access = access
  open.deny = deny
  open.opened |= 1 << (share.access * 4 + share.deny)
  open.changed()
  return open
}

/** The combinations that ask for nothing beyond these, as bits of `opened`. */
function lessThan(access: number, deny: number): number {
  let bits = 0
  for (let a = 0; a < 4; a++) for (let d = 0; d < 4; d++) if (!(a & ~access) && !(d & ~deny)) bits |= 1 << (a * 4 + d)
  return bits
}
