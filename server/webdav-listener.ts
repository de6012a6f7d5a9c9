import type { Logger } from 'pino'
import { type Address, isLoopback, type Settings } from '../config/index.ts'
import type { Cred, Journal } from '../overlay-core/index.ts'
import { type Caller, type DavTemplate, type DavViewSettings, registerWebDav } from '../protocols/webdav/index.ts'
import { type App, buildApp } from './app.ts'
import { steadyClock } from './clock.ts'
import { userName } from './groups.ts'
import { webdavCred } from './identity.ts'
import { JournalFile, lockJournalPath } from './journal-file.ts'
import { logOf } from './log.ts'
import { addAccessPage, addLoginRoutes, addTokenRoutes } from './login/index.ts'
import { readBootId } from './nfs-state.ts'
import { changeTokens, openWebLogin, type WebLogin } from './open-login.ts'
import { addOwnViewCalls } from './own-views/own-view-calls.ts'
import { addOwnViewPage } from './own-views/own-view-page.ts'
import { PatientJournal } from './patient-journal.ts'
import { PublicNames } from './public-names.ts'
import { TemplatePaths } from './registry/dav-template.ts'
import { MachinePaths } from './registry/machine-paths.ts'
import { accessByLogin, accessWithoutLogin } from './registry/template-access.ts'
import type { RunningServer } from './running-server.ts'
import { statePath } from './state-path.ts'
import { PLAIN_REQUEST } from './tls/encrypt-http.ts'
import { newTlsCounters } from './tls/handshakes.ts'
import { isServedBy, type View } from './views.ts'

/** Builds the HTTP process with WebDAV, without listening. The locks of the last run are in force when it returns. */
export async function prepareWebdav(
  server: RunningServer,
  settings: Settings,
  webdav: Address,
  log: Logger,
): Promise<void> {
  const served = server.views.list().filter((view) => isServedBy('webdav', view))
  const templates: DavTemplate[] = []
  const views: DavViewSettings[] = []
  const journals = new Map<string, Journal>()
  for (const view of served) {
    const template = await davTemplate(server, view, settings, webdav)
    if (template !== undefined) {
      templates.push(template)
      continue
    }
    views.push(await davView(view, settings))
    const journal = await openJournal(server, view, settings.stateDir, log)
    if (journal !== undefined) journals.set(view.name, journal)
  }
  const cred = await webdavCred(settings.as)
  server.webdavUser = cred
  const names = new PublicNames(settings)
  server.webLogin = await openWebLogin(server, names, settings)
  const login = server.webLogin?.http
  const anybody = withoutLogin(cred)
  server.http = buildApp({
    log: logOf(log, 'http'),
    anyHost: (settings.insecureNoAuth || login !== undefined) && !isLoopback(webdav.host),
    names,
    login,
    status: () => server.status(),
    connections: settings.limits?.httpConnections,
    handshakes: server.tls?.listener({
      protocol: 'http/1.1',
      minVersion: 'TLSv1.2',
      counters: newTlsCounters(),
      log: logOf(log, 'http'),
      answerToClearText: PLAIN_REQUEST,
    }),
  })
  if (server.webLogin !== undefined) addUserRoutes(server, server.http, server.webLogin)
  server.webdav = registerWebDav(server.http.app, {
    views,
    templates,
    callerOf: login === undefined ? () => anybody : (req) => login.callerOf(req),
    accountOf: login && ((req) => login.accountOf(req)),
    machineOf: (req) => names.machineOf(req),
    seen: (req, { login, user }, view) =>
      server.presence.seen(req.socket, names.clientOf(req), login ?? `uid ${user}`, view),
    lockJournals: journals,
    memberLocks: await openMemberLocks(server, settings, log),
    lockClock: { now: steadyClock, boot: await readBootId() },
    isOurs: (authority, req) => names.isOurs(authority, req),
    depthInfinity: settings.depthInfinity,
    log: logOf(log, 'webdav'),
  })
  server.http.direct.goTo(server.webdav)
}

/** Adds the pages and calls of users. */
function addUserRoutes(server: RunningServer, { app }: App, { http, browsers }: WebLogin): void {
  const views = () => server.views.list().filter((view) => isServedBy('webdav', view))
  addTokenRoutes(app, http, (order, client) => changeTokens(server, order, client))
  addAccessPage(app, http, () => views().map(({ name }) => name))
  addLoginRoutes(app, { browsers, challenge: () => http.challenge })
  const templateOf = (name: string) => {
    const template = server.templates?.get(name)
    return template?.settings.kind === 'per-user' ? template : undefined
  }
  addOwnViewPage(app, http, (name) => templateOf(name) !== undefined)
  addOwnViewCalls(app, {
    login: http,
    viewOf: (name, user) => templateOf(name)?.byName(user)?.path,
    differences: async (order) => (await import('./diff/view-differences.ts')).viewDifferences(server, order),
    snapshots: (order) => server.changeSnapshots(order),
    conflicts: async (name, user) => {
      const [template, view] = [templateOf(name), templateOf(name)?.byName(user)]
      return template && view && (await template.rebases.lastReport(view))
    },
  })
}

/** The caller of all requests if there is no login. */
function withoutLogin(cred: Cred): Caller {
  return {
    ...cred,
    user: undefined,
    roles: [],
    groupNames: [],
    readOnly: false,
    dropOnly: false,
    lockName: undefined,
    endsLocks: false,
    scope: undefined,
  }
}

/** Serves one more view or template, or one whose export has changed. */
export async function serveWebdav(server: RunningServer, settings: Settings, view: View, log: Logger): Promise<void> {
  const { webdav } = server
  if (webdav === undefined || settings.webdav === undefined) return
  const template = await davTemplate(server, view, settings, settings.webdav)
  if (template !== undefined) return webdav.serveTemplate(template)
  const journal = server.lockJournals.has(view.name)
    ? undefined
    : await openJournal(server, view, settings.stateDir, log)
  webdav.serve(await davView(view, settings), journal)
}

/** Stops serving a view or template. */
export async function endWebdav(server: RunningServer, name: string): Promise<void> {
  await server.webdav?.end(name)
  const journal = server.lockJournals.get(name)
  server.lockJournals.delete(name)
  await journal?.close()
}

async function davView({ name, overlay, settings: { as } }: View, settings: Settings): Promise<DavViewSettings> {
  const all = as ?? settings.as
  return { name, overlay, as: all && (await webdavCred(all)), symlinks: settings.symlinks }
}

/**
 * The template that is this view, if it is one. Without a login the caller is the user of `as`; on loopback without `as`, the user that a path names.
 */
async function davTemplate(
  { templates, login }: RunningServer,
  { name, settings: given }: View,
  settings: Settings,
  webdav: Address,
): Promise<DavTemplate | undefined> {
  const template = templates?.get(name)
  if (template === undefined) return undefined
  if (template.settings.kind === 'per-machine') {
    const all = given.as ?? settings.as
    return new MachinePaths(template, all && (await webdavCred(all)), settings.symlinks)
  }
  if (login !== undefined) return new TemplatePaths(template, accessByLogin(template), settings.symlinks)
  const as = given.as ?? settings.as
  const user = as && (await userName(as.uid))
  const local = isLoopback(webdav.host) && settings.publicUrls.length === 0
  const anyUser = as === undefined ? local : as.uid === 0
  const access = accessWithoutLogin({ user, anyUser, onlyLoopback: as === undefined })
  return new TemplatePaths(template, access, settings.symlinks)
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

/** Opens the journal of the locks in a view; undefined if nothing can be locked in it. */
async function openJournal(
  server: RunningServer,
  { name, overlay }: View,
  stateDir: string,
  log: Logger,
): Promise<Journal | undefined> {
  const { upperdir } = overlay.options
  if (overlay.readOnly || upperdir === undefined) return undefined
  const journal = await JournalFile.open(lockJournalPath(stateDir, overlay, upperdir), 'davlocks')
  server.lockJournals.set(name, journal)
  const told = (error: unknown) =>
    log.warn({ err: error, view: name }, 'cannot save WebDAV locks at present, so they may end with this run')
  return new PatientJournal(journal, told)
}
