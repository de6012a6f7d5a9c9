import { createHash } from 'node:crypto'
import type { Arguments } from '../arguments.ts'
import type { BootSettings } from '../boot-settings.ts'
import { defaultExport, serverSettings, tlsOf, tlsParts } from '../command-line.ts'
import type { Environment } from '../environment.ts'
import { listenerErrors, loginErrors } from '../option-values.ts'
import type { Limits, LoginSettings, Settings } from '../settings.ts'
import { type TlsParts, tlsErrors } from '../tls-options.ts'
import { adminErrors, adminOf } from './admin-tables.ts'
import { bootOf } from './boot.ts'
import { type EffectiveValue, effectiveValues } from './effective.ts'
import type { Given } from './key.ts'
import { ldapOf } from './ldap-tables.ts'
import { oidcOf } from './oidc-tables.ts'
import { Problems } from './problems.ts'
import { quotaOf } from './quota-keys.ts'
import { type FileValues, inFileWords, keyOfOption, readTables } from './read-tables.ts'
import type { LayerLookup } from './stack-layers.ts'
import { substituteIn } from './substitute.ts'
import { readToml } from './toml.ts'
import { type FileView, viewsOf } from './views.ts'

export { bootErrors, type Inventory, readInventory } from './boot.ts'
export { inFileWords, keyOfOption } from './read-tables.ts'

/** The maximum size of a configuration file. */
export const MOST_BYTES = 1024 * 1024

/** The context in which a configuration file is read. */
export interface ConfigContext {
  /** The name of the file in messages. */
  readonly name: string
  /** The absolute path of the file. */
  readonly path: string
  readonly environment: Environment
  /** Options of the command line, which override the file. */
  readonly overrides: Arguments['values']
  /** Returns the error in a list of clients in the syntax of exports(5); undefined if there is none. */
  readonly exportError: (text: string) => string | undefined
  /** Finds layers in the layer store; by default there is none. */
  readonly layer?: LayerLookup
}

/** The result of reading a configuration file. */
export interface Config {
  /** The name of the file in messages. */
  readonly name: string
  /** Undefined if there are problems. */
  readonly settings: Settings | undefined
  /** The settings without the invalid parts. */
  readonly draft: Settings
  readonly values: readonly EffectiveValue[]
  readonly problems: Problems
  /** The views without problems. */
  readonly views: readonly FileView[]
  /** The offset of the key that corresponds to an option of the command line, or the start of the file if it does not contain the key. */
  placeOf(option: string): number
}

/**
 * Reads a configuration file. Does not access any other file.
 *
 * @throws OptionError one of `overrides` is invalid
 */
export function readConfig(text: string, context: ConfigContext): Config {
  const { environment, overrides, exportError, layer } = context
  const { uid } = environment
  const problems = new Problems(context.name, text)
  const document = readToml(text, problems)
  const root = substituteIn(document.root, environment.variables ?? {}, problems)
  const directory = context.path.replace(/\/[^/]*$/, '') || '/'
  const file = readTables({ ...document, root }, problems, { directory, uid })
  const memoryDirectory = (template: string) => memoryDirectoryOf(context.path, uid, template)
  const views = viewsOf(file, problems, { uid, exportError, defaultExport: defaultExport(uid), memoryDirectory, layer })
  const placeOf = (option: string) => givenOf(file, keyOfOption(option) ?? option)?.at ?? 0
  const boot = bootOf(
    file,
    views.map((view) => view.settings),
    problems,
  )
  const settings = { ...mergeSettings(file, bootable(views, boot), context), boot, metrics: metricsOf(file) }
  if (document.whole) {
    if (file.views.length === 0) problems.add(0, 'there is no view to serve; add [views.NAME] with a stack')
    const given = [
      ...tlsErrors(mergeTls(file, context)),
      ...listenerErrors(settings),
      ...loginErrors(settings),
      ...adminErrors(settings),
    ]
    for (const error of given) {
      const key = keyOfOption(error.option) ?? error.option
      problems.add(givenOf(file, key)?.at ?? 0, `\`${key}\`: ${inFileWords(error.reason)}`)
    }
  }
  return {
    name: context.name,
    settings: problems.any ? undefined : settings,
    draft: settings,
    values: effectiveValues({ file, fileName: context.name, problems, overrides, environment }),
    problems,
    views,
    placeOf,
  }
}

function metricsOf({ metrics }: FileValues): Settings['metrics'] {
  return metrics && (metrics.listen?.value.address ?? { host: '127.0.0.1', port: 9464, given: false })
}

/** The views, with those marked whose views are named by machines. */
function bootable(views: readonly FileView[], boot: BootSettings | undefined): FileView[] {
  return views.map((view) => {
    const { template, name } = view.settings
    if (template === undefined || !boot?.views.includes(name)) return view
    return { ...view, settings: { ...view.settings, template: { ...template, boots: true } } }
  })
}

/** Returns the defaults, without any file. @throws OptionError one of `overrides` is invalid */
export function defaultValues(environment: Environment, overrides: Arguments['values']): readonly EffectiveValue[] {
  serverSettings(overrides, environment)
  const problems = new Problems('', '')
  const document = readToml('', problems)
  const file = readTables(document, problems, { directory: '/', uid: environment.uid })
  return effectiveValues({ file, fileName: '', problems, overrides, environment })
}

/** A directory of this user and file in the memory file system that every Linux has. */
function memoryDirectoryOf(path: string, uid: number | undefined, template: string): string {
  const file = createHash('sha256').update(path).digest('hex').slice(0, 8)
  return `/dev/shm/overlayd-${uid ?? 'user'}-${file}-${template}`
}

/** The value at the path `TABLE.KEY`, for a table without a name. */
function givenOf(file: FileValues, path: string): Given<unknown> | undefined {
  const [table = '', key = ''] = path.split('.')
  const tables: Readonly<Record<string, object>> = {
    server: file.server,
    log: file.log,
    webdav: file.webdav,
    nfs: file.nfs,
    login: file.login ?? {},
    tls: file.tls,
    ldap: file.ldap ?? {},
    oidc: file.oidc ?? {},
    metrics: file.metrics ?? {},
    boot: file.boot ?? {},
    admin: file.admin ?? {},
  }
  const values = tables[table] as Readonly<Record<string, Given<unknown> | undefined>> | undefined
  return values?.[key]
}

function loginOf({ login, ldap, oidc }: FileValues): LoginSettings | undefined {
  if (login?.sources === undefined) return undefined
  return {
    sources: login.sources.value,
    passwordFile: login.password_file?.value,
    ldap: ldapOf(ldap),
    oidc: oidcOf(oidc),
    realm: login.realm?.value ?? 'overlayd',
    ids: login.ids?.value.map(({ from }) => from) ?? ['system'],
    admins: login.admins?.value ?? [],
    readers: login.readers?.value ?? [],
    userHeader: (login.user_header?.value ?? 'X-Remote-User').toLowerCase(),
    auditFile: login.audit_file?.value,
  }
}

function limitsOf({ limits }: FileValues): Limits {
  return {
    names: limits.names?.value,
    listings: limits.listings?.value,
    directories: limits.directories?.value,
    files: limits.open_files?.value,
    openViews: limits.open_views?.value,
    httpConnections: limits.http_connections?.value,
    nfsConnections: limits.nfs_connections?.value,
  }
}

/** Merges the settings: the command line overrides the file, which overrides the defaults. */
function mergeSettings(file: FileValues, views: readonly FileView[], context: ConfigContext): Settings {
  const { overrides, environment } = context
  const line = serverSettings(overrides, environment)
  const pick = <Value>(option: string, given: Given<Value> | undefined): Value | undefined =>
    overrides.has(option) ? undefined : given?.value
  const { webdav, nfs, server, log } = file
  const webdavAt = pick('--webdav', webdav.listen)
  const nfsAt = pick('--nfs', nfs.listen)
  const as = pick('--as', webdav.as)
  const grace = pick('--lock-grace', nfs.lock_grace)
  const stateDir = pick('--state-dir', server.state_dir) ?? line.stateDir
  return {
    views: views.map(({ settings }) => settings),
    webdav: webdavAt === undefined ? line.webdav : webdavAt.address,
    nfs: nfsAt === undefined ? line.nfs : nfsAt.address,
    as: as === undefined ? line.as : { uid: as.uid, gid: as.gid },
    locks: pick('--locks', webdav.locks) ?? line.locks,
    symlinks: pick('--symlinks', webdav.symlinks) ?? line.symlinks,
    depthInfinity: pick('--depth-infinity', webdav.depth_infinity) ?? line.depthInfinity,
    insecureNoAuth: pick('--insecure-no-auth', webdav.insecure_no_auth) ?? line.insecureNoAuth,
    login: loginOf(file),
    admin: adminOf(file.admin),
    publicUrls: pick('--public-url', webdav.public_urls) ?? line.publicUrls,
    trustedProxies:
      pick('--trusted-proxy', webdav.trusted_proxies)?.map(({ network }) => network) ?? line.trustedProxies,
    tls: tlsOf(mergeTls(file, context)),
    rpcbind: pick('--rpcbind', nfs.rpcbind) ?? line.rpcbind,
    portmap: pick('--portmap', nfs.portmap) ?? line.portmap,
    lockGraceMs: grace === undefined ? line.lockGraceMs : grace * 1000,
    manageGids: pick('--manage-gids', nfs.manage_gids) ?? line.manageGids,
    logLevel: pick('--log-level', log.level) ?? line.logLevel,
    stateDir,
    layerDirectory: file.layerStore.directory?.value ?? `${stateDir}/layers`,
    userQuota: quotaOf(file.users),
    limits: limitsOf(file),
    readyFile: pick('--ready-file', server.ready_file) ?? line.readyFile,
    configFile: context.path,
  }
}

/** What the command line and the file say about TLS, each part by itself. */
function mergeTls({ tls }: FileValues, { overrides, environment }: ConfigContext): TlsParts {
  const line = tlsParts(overrides, environment)
  const certificate = tls.certificate?.value
  const fromFile =
    certificate === undefined || certificate === 'self-signed'
      ? certificate
      : { certificate, key: tls.key?.value ?? certificate }
  return {
    own: line.own ?? (fromFile as TlsParts['own']),
    clientCa: line.clientCa ?? tls.client_ca?.value,
    clients: line.clients ?? tls.clients?.value,
    revoked: line.revoked ?? tls.revoked?.value,
  }
}
