import { hostname } from 'node:os'
import type { Logger } from 'pino'
import { type Address, isLoopback, type Settings } from '../config/index.ts'
import { guardChanges, OptionError, type Overlay } from '../overlay-core/index.ts'
import {
  type ExportRule,
  type NfsExportSettings,
  parseExport,
  type StartTls,
  startNfs,
} from '../protocols/nfs/index.ts'
import type { DavHandle } from '../protocols/webdav/index.ts'
import { acceptMore } from './accept-more.ts'
import { systemClock } from './clock.ts'
import { groupsOf, userByName } from './groups.ts'
import { JournalFile } from './journal-file.ts'
import { nfsError } from './listeners.ts'
import { logOf } from './log.ts'
import { loadWriteVerifier } from './nfs-state.ts'
import { loadNfs4Instance } from './nfs4-state.ts'
import { systemRandom } from './random.ts'
import { TemplateMembers } from './registry/nfs-members.ts'
import { openReplyMemory } from './reply-memory.ts'
import type { RunningServer } from './running-server.ts'
import { serverStatePath } from './server-state-path.ts'
import { loadHandleKey } from './state-dir.ts'
import { newTlsCounters } from './tls/handshakes.ts'
import { startTlsOf } from './tls/nfs-start-tls.ts'
import { isServedBy, type View } from './views.ts'

/** Parses the rules of `--export`. @throws OptionError a rule is wrong */
export function readExports(texts: readonly string[]): ExportRule[] {
  try {
    return texts.flatMap((text) => parseExport(text))
  } catch (error) {
    throw error instanceof Error ? new OptionError('--export', error.message.replace(/^export: /, '')) : error
  }
}

/**
 * Opens NFS and its companion protocols. Returns warnings, one sentence each.
 *
 * @throws OptionError a port or rpcbind is unavailable
 */
export async function openNfs(server: RunningServer, settings: Settings, nfs: Address, log: Logger): Promise<string[]> {
  const { stateDir } = settings
  const views = server.views.list()
  const warnings: string[] = []
  const handleKey = await loadHandleKey(stateDir, systemRandom, () =>
    warnings.push(
      `${stateDir} is on a full or read-only disk and has no handle key yet, so NFS handles are valid only during this run`,
    ),
  )
  const verifier = await loadWriteVerifier(stateDir, systemRandom, (error) =>
    log.error({ err: error }, 'cannot save the NFS write verifier'),
  )
  const journal = await JournalFile.openWhenUsed(await lockClientsPath(settings, views), 'nfspeers')
  server.journals.push(journal)
  const nfs4Clients = await JournalFile.openWhenUsed(await nfs4Path(settings, views, 'nfs4-clients'), 'nfs4clients')
  server.journals.push(nfs4Clients)
  const instancePath = await nfs4Path(settings, views, 'nfs4-instance')
  const instance = await loadNfs4Instance(instancePath, systemRandom, systemClock(), (error) =>
    log.error({ err: error }, 'cannot save the number of this run of the NFSv4 server'),
  )
  server.replyMemory = await openReplyMemory(settings, views, log)
  warnings.push(
    ...protectionNotices(
      views.filter((view) => isServedBy('nfs', view)),
      server.tls !== undefined,
    ),
  )
  try {
    server.nfs = await startNfs({
      host: nfs.host,
      port: nfs.port,
      socket: nfs.socket,
      exports: views.filter((view) => isServedBy('nfs', view)).map((view) => exportOf(server, settings, view)),
      handleKey,
      writeVerifier: verifier.bytes,
      renewWriteVerifier: verifier.renew,
      log: logOf(log, 'nfs'),
      maxConnections: settings.limits?.nfsConnections,
      rpcbind: settings.rpcbind,
      portmap: settings.portmap ? {} : undefined,
      groupsOf: settings.manageGids ? groupsOf : undefined,
      startTls: startTls(server, log),
      acceptMore: (listening, sockets, most) => acceptMore(listening, sockets, most, logOf(log, 'nfs')),
      replyMemory: server.replyMemory,
      locks: { journal, graceMs: settings.lockGraceMs, hostName: hostname() },
      nfs4: { journal: nfs4Clients, ...instance },
    })
    return warnings
  } catch (error) {
    throw nfsError(nfs, error)
  }
}

/** What the owner of exports beyond this machine should know: that they are in clear text, or that clients must encrypt now. */
function protectionNotices(views: readonly View[], encrypts: boolean): string[] {
  return views.flatMap(({ name, settings: { exports } }) => {
    const open = readExports(exports).filter(({ client, xprtsec }) => xprtsec === undefined && !isHere(client))
    const clients = [...new Set(open.map(({ client }) => client))].join(', ')
    if (clients === '') return []
    return encrypts
      ? [
          `clients of ${name} at ${clients} must mount with xprtsec=tls or mtls; write xprtsec=none:tls:mtls into the export to allow clear text too`,
        ]
      : [
          `NFS sends ${name} to ${clients} in clear text, which everybody on the way can read and change; add a certificate with --tls, or write xprtsec=none into the export if that is intended`,
        ]
  })
}

/** Whether a client in the syntax of exports(5) is this machine. */
function isHere(client: string): boolean {
  return isLoopback(client.replace(/\/.*/, '')) || client === 'localhost'
}

/** TLS on the port of NFS; undefined if the server has no certificate. RFC 9289 needs TLS 1.3. */
function startTls(server: RunningServer, log: Logger): StartTls | undefined {
  const own = logOf(log, 'nfs')
  const handshakes = server.tls?.listener({
    protocol: 'sunrpc',
    minVersion: 'TLSv1.3',
    counters: newTlsCounters(),
    log: own,
  })
  if (handshakes === undefined) return undefined
  server.nfsTls = handshakes.counters
  const idsOf = async (user: string) => {
    if (server.login !== undefined) return await server.login.idsOf(user)
    const ids = await userByName(user)
    return ids && { ...ids, groups: (await groupsOf(ids.uid)) ?? [] }
  }
  return startTlsOf(handshakes, idsOf, own)
}

/** A view as NFS serves it. @throws OptionError a rule is wrong */
export function exportOf(server: RunningServer, settings: Settings, view: View): NfsExportSettings {
  const template = server.templates?.get(view.name)
  return {
    name: view.name,
    overlay: overlayForOthers(view, settings, server.webdav),
    rules: readExports(view.settings.exports),
    members: template && new TemplateMembers(template),
  }
}

/** The file that records which clients hold NFS locks. The views of templates have no part in its name, because they come and go. */
async function lockClientsPath(settings: Settings, views: readonly View[]): Promise<string> {
  const shared = views.filter((view) => view.settings.template === undefined)
  return await serverStatePath(settings, 'nfs-lock-clients', shared, ({ name, overlay }) => [overlay.uuid, `${name}/`])
}

/** A file about the NFSv4 server of these views: its clients, or its runs. */
async function nfs4Path(settings: Settings, views: readonly View[], folder: string): Promise<string> {
  const shared = views.filter((view) => view.settings.template === undefined)
  return await serverStatePath(settings, folder, shared, ({ name, overlay }) => [overlay.uuid, `${name}/`])
}

/** The overlay as other protocols see it: with mandatory locks it enforces the locks of WebDAV clients. */
function overlayForOthers(view: View, settings: Settings, webdav: DavHandle | undefined): Overlay {
  const { name, overlay } = view
  // Of a template only the list of its views is served here.
  if (view.settings.template !== undefined) return overlay
  if (settings.locks === 'advisory' || webdav === undefined || !isServedBy('webdav', view)) return overlay
  return guardChanges(overlay, webdav.changeGuard(name))
}
