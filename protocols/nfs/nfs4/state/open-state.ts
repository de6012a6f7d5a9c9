import type { Inode, OpenFile } from '../../../../overlay-core/index.ts'
import type { ServedView } from '../../exports/served-view.ts'
import type { LockOwner } from '../../locks/file-locks.ts'
import type { Stateid } from '../wire/stateid.ts'
import type { Nfs4Client } from './client.ts'
import { OwnerSequence } from './owner-sequence.ts'

/** Something that a client holds and names by a stateid. */
export abstract class State {
  abstract readonly kind: 'open' | 'lock'
  readonly client: Nfs4Client
  readonly serial: number
  seqid = 0
  /** Why it no longer counts although the client has not let it go. */
  revoked = false
  readonly view: ServedView
  readonly inode: Inode
  /** The file in the tables of locks and shares. */
  readonly file: string

  constructor(client: Nfs4Client, serial: number, place: { view: ServedView; inode: Inode; file: string }) {
    this.client = client
    this.serial = serial
    this.view = place.view
    this.inode = place.inode
    this.file = place.file
  }

  /** Counts a change, which gives the stateid another version. It skips 0, which means the latest. */
  changed(): void {
    this.seqid = this.seqid === 0xffff_ffff ? 1 : this.seqid + 1
  }

  name(into: Stateid): void {
    into.seqid = this.seqid
    into.boot = this.client.idHi
    into.client = this.client.idLo
    into.serial = this.serial
  }

  abstract readonly access: number
}

/** Who opens files, in the words of its client (RFC 8881 section 9.1). */
export class OpenOwner {
  readonly client: Nfs4Client
  readonly name: string
  /** Its opens by file. */
  readonly opens = new Map<string, OpenState>()
  readonly sequence = new OwnerSequence()

  constructor(client: Nfs4Client, name: string) {
    this.client = client
    this.name = name
  }
}

/** A file that an owner has open. */
export class OpenState extends State {
  readonly kind = 'open'
  readonly owner: OpenOwner
  access = 0
  deny = 0
  /** The combinations of access (below) that were opened, to which it may be downgraded, as bits. */
  opened = 0
  /** Keeps the file alive when its last name is removed. */
  readonly handle: OpenFile | undefined
  readonly locks = new Set<LockState>()

  constructor(
    owner: OpenOwner,
    serial: number,
    place: { view: ServedView; inode: Inode; file: string },
    handle: OpenFile | undefined,
  ) {
    super(owner.client, serial, place)
    this.owner = owner
    this.handle = handle
  }
}

/** The locks that an owner has in an open file. */
export class LockState extends State {
  readonly kind = 'lock'
  readonly open: OpenState
  readonly owner: LockOwner
  readonly sequence: OwnerSequence

  constructor(open: OpenState, serial: number, owner: LockOwner, sequence: OwnerSequence) {
    super(open.client, serial, open)
    this.open = open
    this.owner = owner
    this.sequence = sequence
  }

  get access(): number {
    return this.open.access
  }
}
