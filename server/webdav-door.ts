import type { Logger } from 'pino'
import { isLoopback, type Settings } from '../config/index.ts'
import { guardChanges, type Overlay } from '../overlay-core/index.ts'
import { type DavHandle, registerWebDav } from '../protocols/webdav/index.ts'
import { buildApp } from './app.ts'
import { webdavCred } from './identity.ts'
import { JournalFile, lockJournalPath } from './journal-file.ts'
import type { RunningServer } from './running-server.ts'
import type { View } from './views.ts'

/** Builds the HTTP process with WebDAV in it, without listening. The locks of the last run are in force when it returns. */
export async function prepareWebdav(server: RunningServer, settings: Settings, log: Logger): Promise<void> {
  const { webdav } = settings
  if (webdav === undefined) return
  const views = server.views.list()
  const journals = await openJournals(server, views, settings.stateDir)
  const cred = webdavCred(settings.as)
  server.http = buildApp({
    log: log.child({ door: 'http' }),
    anyHost: settings.insecureNoAuth && !isLoopback(webdav.host),
    status: () => server.status(),
  })
  server.webdav = registerWebDav(server.http.app, {
    views: views.map(({ name, overlay }) => ({ name, overlay, cred, symlinks: settings.symlinks })),
    lockJournals: journals,
    depthInfinity: settings.depthInfinity,
    log: log.child({ door: 'webdav' }),
  })
}

async function openJournals(
  server: RunningServer,
  views: readonly View[],
  stateDir: string,
): Promise<Map<string, JournalFile>> {
  const journals = new Map<string, JournalFile>()
  for (const { name, overlay } of views) {
    const { upperdir } = overlay.options
    if (overlay.readOnly || upperdir === undefined) continue
    const journal = await JournalFile.open(lockJournalPath(stateDir, overlay, upperdir))
    server.journals.push(journal)
    journals.set(name, journal)
  }
  return journals
}

/** The overlay as other protocols get it: with mandatory locks they respect those of WebDAV clients. */
export function overlayForOthers({ name, overlay }: View, settings: Settings, webdav: DavHandle | undefined): Overlay {
  if (settings.locks === 'advisory' || webdav === undefined) return overlay
  return guardChanges(overlay, webdav.changeGuard(name))
}
