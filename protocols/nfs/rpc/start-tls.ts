import type { Socket } from 'node:net'

/** How a connection is protected, in the words of `xprtsec` in exports(5): not at all, encrypted, or encrypted with a client certificate that names somebody. */
export type TransportSecurity = 'none' | 'tls' | 'mtls'

/** Whom the certificate of a client is for. */
export interface ClientIdentity {
  readonly kind: 'user' | 'machine'
  readonly name: string
  /** The ids of a user; undefined if the server knows none. */
  readonly ids: { readonly uid: number; readonly gid: number; readonly groups: readonly number[] } | undefined
}

/** A connection after its handshake. */
export interface SecuredConnection {
  /** Carries what the client sends, decrypted. */
  readonly socket: Socket
  readonly identity: ClientIdentity | undefined
}

/** Turns connections into encrypted ones (RFC 9289). The server implements it. */
export interface StartTls {
  /**
   * Continues with TLS on `socket`, from which `first` has been read and which is not being read now. Calls `done` if the handshake succeeds; otherwise closes
   * the socket.
   */
  begin(socket: Socket, first: Buffer, done: (secured: SecuredConnection) => void): void
}
