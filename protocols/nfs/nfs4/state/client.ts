import type { NfsMember } from '../../exports/served-view.ts'
import type { OpenOwner, State } from './open-state.ts'
import type { OwnerSequence } from './owner-sequence.ts'
import type { Session } from './session.ts'

/** Who asks for a client id. */
export interface ClientName {
  readonly owner: string
  readonly verifier: string
  readonly principal: string
  readonly certificate: string | undefined
  readonly address: string
  readonly minor: number
}

/** A client with an id (RFC 8881 section 2.4). */
export class Nfs4Client {
  readonly idHi: number
  readonly idLo: number
  /** Its own name for itself (`co_ownerid`), as bytes. */
  readonly owner: string
  /** Changes when the client restarts (`co_verifier`). */
  readonly verifier: string
  /** Who created it. Nobody else may create one with this owner while it has state. */
  readonly principal: string
  /** Names it in the tables of locks; the address of the client is first, against which limits count. */
  readonly key: string
  readonly minor: number
  /** Of the machine from which it came first, against which limits count. */
  readonly address: string
  /** The certificate that it has shown; nobody without it acts as this client. */
  readonly certificate: string | undefined
  confirmed = false
  /** The next `csa_sequence`, and the reply to the last one. */
  createSequence = 1
  createReply: Uint8Array | undefined
  /** What SETCLIENTID_CONFIRM must send, in 4.0. */
  confirmVerifier: string | undefined
  readonly sessions = new Set<Session>()
  readonly owners = new Map<string, OpenOwner>()
  /** The order of the requests of owners of locks, in 4.0. */
  readonly lockOwners = new Map<string, OwnerSequence>()
  /** The views of templates in which it has files open, and how many. */
  readonly members = new Map<NfsMember, number>()
  /** The number of its opens that hold their file. */
  held = 0
  /** Everything with a stateid. */
  readonly states = new Set<State>()
  /** When it was last heard of, in ms of the injected clock. */
  renewedMs: number
  reclaimComplete = false
  /** Whether it is in the list of clients that may reclaim after a restart. */
  recorded = false

  constructor(id: { hi: number; lo: number }, who: ClientName, nowMs: number) {
    this.idHi = id.hi
    this.idLo = id.lo
    this.owner = who.owner
    this.verifier = who.verifier
    this.principal = who.principal
    this.minor = who.minor
    this.address = who.address
    this.certificate = who.certificate
    this.key = `${who.address} v4 ${id.hi}.${id.lo}`
    this.renewedMs = nowMs
  }
}
