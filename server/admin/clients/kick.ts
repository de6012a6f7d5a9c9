import { isIP } from 'node:net'
import { OptionError } from '../../../overlay-core/index.ts'
import type { RunningServer } from '../../running-server.ts'

/** Who is to be disconnected: one of both. */
export interface KickOrder {
  /** An address. */
  readonly client?: string
  /** A login name, or the owner of a certificate. */
  readonly user?: string
}

/** What was ended. */
export interface KickReport {
  readonly connections: number
  /** Locks that ended: over NFS all of a client, over WebDAV all of a user. */
  readonly locks: number
  /** Sessions of browsers. */
  readonly sessions: number
}

/**
 * Ends the connections and locks of a client or user, and the sessions of a user. Nothing keeps them from coming back: take away an account or an export for that.
 *
 * @throws OptionError naming `kick`
 */
export async function kick(server: RunningServer, { client, user }: KickOrder): Promise<KickReport> {
  if ((client === undefined) === (user === undefined))
    throw new OptionError('kick', 'needs either the address of a client or the name of a user')
  if (client !== undefined && isIP(client) === 0)
    throw new OptionError('kick', `${JSON.stringify(client)} is not an address; see overlayd who`)
  const report = client === undefined ? await kickUser(server, user as string) : kickClient(server, client)
  if (report.connections + report.locks + report.sessions > 0) return report
  const what = client === undefined ? `the user ${JSON.stringify(user)}` : `the client ${client}`
  throw new OptionError('kick', `${what} has no connection, lock or session; see overlayd who`)
}

function kickClient({ nfs, http, presence }: RunningServer, client: string): KickReport {
  const before = nfs?.heldLocks.byClient.get(client) ?? 0
  nfs?.heldLocks.endOf(client)
  let connections = nfs?.endConnections(({ address }) => address === client) ?? 0
  for (const { connection, address } of http?.open() ?? []) {
    if ((presence.of(connection)?.address ?? address) !== client) continue
    connection.destroy()
    connections++
  }
  return { connections, locks: before, sessions: 0 }
}

async function kickUser(server: RunningServer, user: string): Promise<KickReport> {
  const { nfs, http, webdav, presence, login, webLogin } = server
  let connections = nfs?.endConnections(({ identity }) => identity?.name === user) ?? 0
  for (const { connection } of http?.open() ?? []) {
    if (presence.of(connection)?.user !== user) continue
    connection.destroy()
    connections++
  }
  const sessions = webLogin?.browsers()?.endOf(user) ?? 0
  // Its password is verified again.
  login?.login.forget()
  let locks = 0
  for (const { token, login: name, user: uid } of webdav?.locks() ?? [])
    if ((name ?? `uid ${uid}`) === user && (await webdav?.endLock(token))) locks++
  return { connections, locks, sessions }
}
