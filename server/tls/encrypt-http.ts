import type { Server } from 'node:http'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import { identityOf } from './certificate-identity.ts'
import type { Handshakes } from './handshakes.ts'

/** Called when the handshake of an accepted connection has succeeded. */
export type OnSecured = (accepted: Socket, secured: TLSSocket) => void

/** The users that clients have certificates of, by connection. */
const users = new WeakMap<Socket, string>()

/** The user in the certificate with which a connection was opened; undefined if there is none. */
export function userInCertificate(socket: Socket): string | undefined {
  return users.get(socket)
}

/** The answer to a request without TLS, as nginx gives it: people forget the s. */
export const PLAIN_REQUEST =
  'HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 52\r\n\r\nThis port speaks TLS only; use https:// in the URL.\n'

/**
 * Makes an HTTP server that has no listeners of its own yet encrypt its connections: it sees only those whose handshake has succeeded. Listeners of
 * `connection` that are added later see every accepted connection, as before.
 *
 * @param secured is called before the server sees a connection
 */
export function encryptHttp(server: Server, handshakes: Handshakes, secured: OnSecured): void {
  const takers = server.listeners('connection') as ((socket: Socket) => void)[]
  server.removeAllListeners('connection')
  server.on('connection', (accepted: Socket) =>
    handshakes.begin(accepted, ({ socket, certificate }) => {
      const identity = certificate && identityOf(certificate)
      if (identity?.kind === 'user') users.set(socket, identity.name)
      secured(accepted, socket)
      for (const take of takers) take.call(server, socket)
    }),
  )
}
