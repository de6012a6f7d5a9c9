import { hostname } from 'node:os'
import type { Logger } from 'pino'
import type { Address, Settings } from '../config/index.ts'
import { guardChanges, OptionError, type Overlay } from '../overlay-core/index.ts'
import { type ExportRule, type NfsExportSettings, parseExport, startNfs } from '../protocols/nfs/index.ts'
import type { DavHandle } from '../protocols/webdav/index.ts'
import { acceptMore } from './accept-more.ts'
import { groupsOf } from './groups.ts'
import { JournalFile } from './journal-file.ts'
import { nfsError } from './listeners.ts'
import { logOf } from './log.ts'
import { loadWriteVerifier } from './nfs-state.ts'
import { systemRandom } from './random.ts'
import { TemplateMembers } from './registry/nfs-members.ts'
import { openReplyMemory } from './reply-memory.ts'
import type { RunningServer } from './running-server.ts'
import { serverStatePath } from './server-state-path.ts'
import { loadHandleKey } from './state-dir.ts'
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
  const journal = await JournalFile.open(await lockClientsPath(settings, views), 'nfspeers')
  server.journals.push(journal)
  server.replyMemory = await openReplyMemory(settings, views, log)
  try {
    server.nfs = await startNfs({
      host: nfs.host,
      port: nfs.port,
      exports: views.filter((view) => isServedBy('nfs', view)).map((view) => exportOf(server, settings, view)),
      handleKey,
      writeVerifier: verifier.bytes,
      renewWriteVerifier: verifier.renew,
      log: logOf(log, 'nfs'),
      rpcbind: settings.rpcbind,
      portmap: settings.portmap ? {} : undefined,
      groupsOf: settings.manageGids ? groupsOf : undefined,
      acceptMore: (listening, sockets, most) => acceptMore(listening, sockets, most, logOf(log, 'nfs')),
      replyMemory: server.replyMemory,
      locks: { journal, graceMs: settings.lockGraceMs, hostName: hostname() },
    })
    return warnings
  } catch (error) {
    throw nfsError(nfs, error)
  }
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

/** The overlay as other protocols see it: with mandatory locks it enforces the locks of WebDAV clients. */
function overlayForOthers(view: View, settings: Settings, webdav: DavHandle | undefined): Overlay {
  const { name, overlay } = view
  // Of a template only the list of its views is served here.
  if (view.settings.template !== undefined) return overlay
  if (settings.locks === 'advisory' || webdav === undefined || !isServedBy('webdav', view)) return overlay
  return guardChanges(overlay, webdav.changeGuard(name))
}
