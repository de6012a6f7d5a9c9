import { once } from 'node:events'
import { connect, isIP, type Socket } from 'node:net'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import type { Client, Filter } from 'ldapts'
import { within } from '../sources/within.ts'
import type { LdapLibrary } from './filter-pattern.ts'

/** More than a server says before encryption begins. */
const MOST_PLAIN_BYTES = 64 * 1024

/** Where a server is, and how it is reached. */
export interface LdapAddress {
  readonly host: string
  readonly port: number
  readonly encryption: 'tls' | 'starttls' | 'none'
  /** Certificates of trusted authorities, in PEM; undefined: those of Node. */
  readonly ca: string | undefined
  /** How long connecting, and then each operation, may take. */
  readonly timeoutMs: number
}

/** What an object of the directory says: its distinguished name, and the values by attribute, in lower case. */
export interface LdapEntry {
  readonly dn: string
  readonly values: ReadonlyMap<string, readonly string[]>
}

/** Results of a bind by which the server says that this is not the password, or that the account may not log in (RFC 4511 appendix A). */
const REFUSALS: ReadonlySet<number> = new Set([
  19, // constraintViolation: too many wrong passwords
  32, // noSuchObject
  48, // inappropriateAuthentication: there is no password
  49, // invalidCredentials
  50, // insufficientAccessRights
  53, // unwillingToPerform: a disabled account
])

/** A connection to a server. When it is lost it stays lost: the library would connect again without encryption and send passwords there. */
export class LdapConnection {
  readonly #client: Client
  readonly #sockets: Socket[]

  private constructor(client: Client, sockets: Socket[]) {
    this.#client = client
    this.#sockets = sockets
  }

  /** Connects, and starts encryption. @throws Error it cannot, or takes too long */
  static async open(library: LdapLibrary, address: LdapAddress): Promise<LdapConnection> {
    const sockets: Socket[] = []
    const opening = async () => {
      const client = await clientOf(library, address, sockets)
      if (address.encryption === 'starttls') await client.startTLS(tlsOptions(address))
      return new LdapConnection(client, sockets)
    }
    try {
      return await within(address.timeoutMs, opening())
    } catch (error) {
      destroy(sockets)
      throw error
    }
  }

  /** Whether it is not known to be lost. */
  get usable(): boolean {
    return this.#sockets.every((socket) => !socket.destroyed && socket.readable)
  }

  /** Whether this is the password of the object. From then on the connection acts for it. @throws Error the server cannot tell */
  async bind(dn: string, password: string): Promise<boolean> {
    // RFC 4513 section 5.1: without a name or a password, a server says yes to anybody.
    if (dn === '' || password === '') throw new Error('a bind needs a name and a password')
    try {
      await this.#client.bind(dn, password)
      return true
    } catch (error) {
      if (REFUSALS.has(resultCodeOf(error) ?? -1)) return false
      throw error
    }
  }

  /** The objects below `base` that match. @throws Error the server does not say all, or cannot tell */
  async search(base: string, filter: Filter, attributes: readonly string[], most: number): Promise<LdapEntry[]> {
    const options = { scope: 'sub' as const, filter, attributes: [...attributes], sizeLimit: most }
    const { searchEntries } = await this.#client.search(base, options)
    return searchEntries.map(({ dn, ...rest }) => ({ dn, values: valuesOf(rest) }))
  }

  close(): void {
    destroy(this.#sockets)
  }
}

/** A client on a connection of ours: the library never connects itself. */
async function clientOf(library: LdapLibrary, address: LdapAddress, sockets: Socket[]): Promise<Client> {
  const { host, port, encryption, timeoutMs } = address
  const first = encryption === 'tls' ? connectTls({ ...tlsOptions(address), port }) : connect({ host, port })
  sockets.push(first)
  // Until the library listens.
  first.on('error', () => undefined)
  await once(first, encryption === 'tls' ? 'secureConnect' : 'connect')
  /** What the server has said without encryption. */
  let plain = Buffer.alloc(0)
  if (encryption === 'starttls')
    first.on('data', (chunk: Buffer) => {
      if (sockets.length === 1 && plain.length <= MOST_PLAIN_BYTES) plain = Buffer.concat([plain, chunk])
    })
  let taken = false
  const take = () => {
    if (taken) throw new Error('the connection was lost')
    taken = true
    return first
  }
  const upgrade = (options: ConnectionOptions) => {
    // Whatever came with the answer was not encrypted, and the library would take it for the beginning of what is.
    if (sockets.length > 1 || !isOneMessage(plain)) throw new Error('the server said too much before encryption')
    const socket = connectTls(options)
    sockets.push(socket)
    return socket
  }
  return new library.Client({
    url: `${encryption === 'tls' ? 'ldaps' : 'ldap'}://${isIP(host) === 6 ? `[${host}]` : host}:${port}`,
    timeout: timeoutMs,
    createConnection: take as typeof connect,
    createSecureConnection: (encryption === 'tls' ? take : upgrade) as typeof connectTls,
  })
}

function tlsOptions({ host, ca }: LdapAddress): ConnectionOptions {
  return {
    host,
    minVersion: 'TLSv1.2',
    ...(isIP(host) === 0 && { servername: host }),
    ...(ca !== undefined && { ca }),
  }
}

function destroy(sockets: readonly Socket[]): void {
  for (const socket of sockets) {
    socket.on('error', () => undefined)
    socket.destroy()
  }
}

/** The result code of the server; undefined if the error is another one. */
export function resultCodeOf(error: unknown): number | undefined {
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  return typeof code === 'number' ? code : undefined
}

/** Values that are no text are left out. */
function valuesOf(attributes: Readonly<Record<string, Buffer | Buffer[] | string[] | string>>): LdapEntry['values'] {
  const list = Object.entries(attributes).map(([name, value]) => {
    const values = Array.isArray(value) ? value : [value]
    return [name.toLowerCase(), values.filter((each) => typeof each === 'string')] as const
  })
  return new Map(list)
}

/** Whether bytes are exactly one message: a BER sequence (RFC 4511 section 5.1). */
export function isOneMessage(bytes: Uint8Array): boolean {
  const [tag, first = 0x80] = bytes
  if (tag !== 0x30) return false
  if (first < 0x80) return bytes.length === 2 + first
  const count = first - 0x80
  if (count === 0 || count > 4 || bytes.length < 2 + count) return false
  return bytes.length === 2 + count + Buffer.from(bytes.buffer, bytes.byteOffset + 2, count).readUIntBE(0, count)
}
