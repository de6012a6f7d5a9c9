import { LRUCache } from 'lru-cache'
import type { Logger } from 'pino'
import type { ClientIdentity, StartTls } from '../../protocols/nfs/index.ts'
import { type CertificateIdentity, identityOf } from './certificate-identity.ts'
import type { Handshakes, Secured } from './handshakes.ts'

/** Finds the ids of a user; undefined if there is no such user. @throws Error the lookup fails */
export type IdsOf = (user: string) => Promise<ClientIdentity['ids']>

/** For how long, and for how many users, the ids are remembered. */
const KNOWN_MS = 30_000
const MOST_KNOWN = 1000

/** NFS over TLS: handshakes on connections that the server has accepted, and whom their certificates are for. */
export function startTlsOf(handshakes: Handshakes, idsOf: IdsOf, log: Logger): StartTls {
  // Looking somebody up takes processes of the name service, and a client may connect as often as it likes.
  const known = new LRUCache<string, Promise<ClientIdentity['ids']>>({ max: MOST_KNOWN, ttl: KNOWN_MS })
  const remembered: IdsOf = (user) => {
    const found = known.get(user)
    if (found !== undefined) return found
    const asked = idsOf(user)
    known.set(user, asked)
    // A failure is not remembered.
    asked.catch(() => known.delete(user))
    return asked
  }
  return {
    begin(socket, first, done) {
      handshakes.beginWith(socket, first, async ({ socket: secured, certificate }: Secured) => {
        const named = certificate && identityOf(certificate)
        if (certificate !== undefined && named === undefined)
          log.info(
            { client: secured.remoteAddress, serial: certificate.serialNumber },
            'a client certificate names no user or machine',
          )
        done({ socket: secured, identity: named && (await identified(named, remembered, log)) })
      })
    },
  }
}

async function identified(named: CertificateIdentity, idsOf: IdsOf, log: Logger): Promise<ClientIdentity> {
  if (named.kind === 'machine') return { ...named, ids: undefined }
  try {
    return { ...named, ids: await idsOf(named.name) }
  } catch (error) {
    log.error(
      { err: error, user: named.name },
      'cannot look up the user of a certificate, who is nobody until the next connection',
    )
    return { ...named, ids: undefined }
  }
}
