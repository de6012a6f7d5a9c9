import type { Logger } from 'pino'
import { type Address, isLoopback, type Settings } from '../config/index.ts'
import type { Journal } from '../overlay-core/index.ts'
import { type DavTemplate, type DavViewSettings, registerWebDav } from '../protocols/webdav/index.ts'
import { buildApp } from './app.ts'
import { steadyClock } from './clock.ts'
import { userName } from './groups.ts'
import { webdavCred } from './identity.ts'
import { JournalFile, lockJournalPath } from './journal-file.ts'
import { logOf } from './log.ts'
import { readBootId } from './nfs-state.ts'
import { PatientJournal } from './patient-journal.ts'
import { PublicNames } from './public-names.ts'
import { TemplatePaths } from './registry/dav-template.ts'
import type { RunningServer } from './running-server.ts'
import { statePath } from './state-path.ts'
import { isServedBy, type View } from './views.ts'

/** Builds the HTTP process with WebDAV, without listening. The locks of the last run are in force when it returns. */
export async function prepareWebdav(
  server: RunningServer,
  settings: Settings,
  webdav: Address,
  log: Logger,
): Promise<void> {
  const served = server.views.list().filter((view) => isServedBy('webdav', view))
  const views = served.filter((view) => view.settings.template === undefined)
  const journals = await openJournals(server, views, settings.stateDir, log)
  const cred = await webdavCred(settings.as)
  server.webdavUser = cred
  const names = new PublicNames(settings)
  server.http = buildApp({
    log: logOf(log, 'http'),
    anyHost: settings.insecureNoAuth && !isLoopback(webdav.host),
    names,
    status: () => server.status(),
  })
  server.webdav = registerWebDav(server.http.app, {
    views: await Promise.all(views.map((view) => davView(view, settings))),
    templates: await davTemplates(server, served, settings, webdav),
    lockJournals: journals,
    memberLocks: await openMemberLocks(server, settings, log),
    lockClock: { now: steadyClock, boot: await readBootId() },
    isOurs: (authority, req) => names.isOurs(authority, req),
    depthInfinity: settings.depthInfinity,
    log: logOf(log, 'webdav'),
  })
}

async function davView({ name, overlay, settings: { as } }: View, settings: Settings): Promise<DavViewSettings> {
  return { name, overlay, cred: await webdavCred(as ?? settings.as), symlinks: settings.symlinks }
}

/** The templates among the views. Their caller is the user of `as`; on loopback without `as`, the user that a path names. */
async function davTemplates(
  { templates }: RunningServer,
  views: readonly View[],
  settings: Settings,
  webdav: Address,
): Promise<DavTemplate[]> {
  const found: DavTemplate[] = []
  for (const { name, settings: given } of views) {
    const template = templates?.get(name)
    if (template === undefined) continue
    const as = given.as ?? settings.as
    const user = as && (await userName(as.uid))
    const local = isLoopback(webdav.host) && settings.publicUrls.length === 0
    const anyUser = as === undefined ? local : as.uid === 0
    const mayName = (address: string) => anyUser && (as !== undefined || isLoopback(address))
    found.push(new TemplatePaths(template, { user, mayName }, settings.symlinks))
  }
  return found
}

/** The journal of the locks in all views of templates, which come and go while the server runs. Only a configuration file has templates. */
async function openMemberLocks(
  server: RunningServer,
  { stateDir, configFile }: Settings,
  log: Logger,
): Promise<Journal | undefined> {
  if (configFile === undefined) return undefined
  const journal = await JournalFile.open(statePath(stateDir, 'webdav-locks', ['config\0', configFile]), 'davlocks')
  server.journals.push(journal)
  const told = (error: unknown) =>
    log.warn({ err: error }, 'cannot save WebDAV locks at present, so they may end with this run')
  return new PatientJournal(journal, told)
}

async function openJournals(
  server: RunningServer,
  views: readonly View[],
  stateDir: string,
  log: Logger,
): Promise<Map<string, Journal>> {
  const journals = new Map<string, Journal>()
  for (const { name, overlay } of views) {
    const { upperdir } = overlay.options
    if (overlay.readOnly || upperdir === undefined) continue
    const journal = await JournalFile.open(lockJournalPath(stateDir, overlay, upperdir), 'davlocks')
    server.journals.push(journal)
    const told = (error: unknown) =>
      log.warn({ err: error, view: name }, 'cannot save WebDAV locks at present, so they may end with this run')
    journals.set(name, new PatientJournal(journal, told))
  }
  return journals
}
