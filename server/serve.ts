import type { Logger } from 'pino'
import { type BootSettings, formatAddress, type Settings, type TlsSettings } from '../config/index.ts'
import { limitCaches, OptionError } from '../overlay-core/index.ts'
import { type Admin, openAdmin } from './admin/open-admin.ts'
import { announce } from './announce.ts'
import { systemClock } from './clock.ts'
import { exposedDirectories } from './exposure.ts'
import type { Faults } from './faults.ts'
import { checkPorts, listenHttp } from './listeners.ts'
import { logOf } from './log.ts'
import type { LogCounters } from './log-sink.ts'
import { keepMemorySmall } from './memory-keeper.ts'
import { openNfs, readExports } from './nfs-listener.ts'
import { loginWarnings, openLogin } from './open-login.ts'
import { openTemplates, viewHooks } from './registry/open-templates.ts'
import type { ReloadReport } from './reload.ts'
import { RunningServer } from './running-server.ts'
import { planViews } from './sample.ts'
import { refuseSecretsInLayers, refuseSecretsInNewLayers } from './secret-paths.ts'
import {
  checkReadyFile,
  checkWritable,
  type ReadyFile,
  readRunFiles,
  writeReadyFile,
  writeRunFile,
} from './state-dir.ts'
import { TlsKeeper } from './tls/tls-keeper.ts'
import { isServedBy, Views } from './views.ts'

/** What the process provides to a server. */
export interface Surroundings {
  readonly log: Logger
  readonly logCounters: LogCounters
  readonly faults: Faults
  /** Prints a text for the person who started the server. */
  readonly print: (text: string) => void
  /** Warnings from before the start, one sentence each. */
  readonly warnings?: readonly string[]
  /** Reads the configuration file again; absent if there is none. */
  readonly reload?: ((server: RunningServer) => Promise<ReloadReport>) | undefined
}

/**
 * Starts everything that `given` requests. Returns once every listener accepts connections and has been announced.
 *
 * All options are checked before anything is created; if a later step fails, everything is released again.
 *
 * @throws OptionError with the option at fault and the mend
 */
export async function serve(
  given: Settings,
  { log, logCounters, faults, print, warnings: before = [], reload }: Surroundings,
): Promise<RunningServer> {
  checkExports(given)
  if (given.readyFile !== undefined) await checkReadyFile(given.readyFile)
  await checkWritable('--state-dir', given.stateDir)
  await refuseSecondServer(given)
  const settings = await checkPorts(given)
  await limitCaches(settings.limits ?? {})
  const tls = settings.tls && (await openTls(settings.tls, settings, log))
  const warnings = [...before, ...loginWarnings(settings), ...(tls?.credentials.warnings ?? [])]
  const failed = (view: string, error: unknown) => {
    const reason = error instanceof Error ? error.message : String(error)
    log.error({ err: error, view }, 'a view cannot be served')
    warnings.push(`the view ${view} is not served: ${reason}`)
  }
  const views = await openViews(settings, failed)
  warnings.push(...views.warnings)
  const server = new RunningServer({ log, logCounters, faults, clock: systemClock, views })
  server.tls = tls
  server.layerDirectory = settings.layerDirectory
  try {
    server.login = await openLogin(settings, log)
    if (settings.boot !== undefined) await readMachines(server, settings.boot, settings, log)
    server.templates = await openTemplates(server, settings, log, failed)
    server.templates.hooks = viewHooks(server, settings)
    warnings.push(...(await openListeners(server, settings, log)))
    server.reload = reload && (() => reload(server))
    if (settings.metrics !== undefined) {
      const { openMetrics } = await import('./metrics/metrics-listener.ts')
      server.metrics = await openMetrics(server, settings.metrics, logOf(log, 'metrics'))
    }
    server.admin = await openAdmin(server, settings, logOf(log, 'admin'))
    warnings.push(...(await tellOthers(server, settings, server.admin)))
  } catch (error) {
    await server.close()
    throw error
  }
  server.stopKeepingMemory = keepMemorySmall(log)
  server.history.start()
  server.ready = true
  tls?.start()
  warnings.push(...(await exposedDirectories(settings, server.views.list())))
  for (const warning of warnings) log.warn(warning)
  print(announce(server.listening, server.views.list(), settings, warnings))
  return server
}

/**
 * Mounts the views. Those of a configuration file do not depend on each other: one that cannot be mounted is reported to `failed`.
 *
 * @throws OptionError
 */
async function openViews(settings: Settings, failed: (view: string, error: unknown) => void): Promise<Views> {
  const plans = await planViews(settings)
  await refuseSecretsInLayers(
    settings,
    plans.flatMap(({ options, settings: { template } }) =>
      template === undefined ? [options] : [options, template.mount],
    ),
  )
  const { stateDir, configFile } = settings
  const views = await Views.open(plans, stateDir, {
    checkLayers: (options) => refuseSecretsInNewLayers(settings, options),
    ...(configFile !== undefined && { failed }),
  })
  if (views.list().length > 0) return views
  throw new OptionError('--config', 'none of its views can be served; see the errors above')
}

/** Refuses a second server with the same file, because both would share the files of NFS locks and replies. @throws OptionError naming --config */
async function refuseSecondServer({ configFile, stateDir }: Settings): Promise<void> {
  if (configFile === undefined) return
  const other = (await readRunFiles(stateDir)).find(({ config }) => config === configFile)
  if (other === undefined) return
  throw new OptionError(
    '--config',
    `process ${other.pid} already serves this file; use overlayd reload, or stop it first`,
  )
}

/** Reads the certificates. @throws OptionError */
function openTls(tls: TlsSettings, { webdav, nfs, admin }: Settings, log: Logger): Promise<TlsKeeper> {
  return TlsKeeper.open(tls, {
    log: logOf(log, 'tls'),
    wallNow: systemClock,
    // Loaded on demand: making certificates needs a library.
    selfSigned: async () => {
      const { makeSelfSigned } = await import('./cert/self-signed.ts')
      return await makeSelfSigned([webdav?.host, nfs?.host, admin?.listen?.host], systemClock())
    },
  })
}

/** Reads what is kept of the machines that boot from the server. */
async function readMachines(server: RunningServer, boot: BootSettings, settings: Settings, log: Logger): Promise<void> {
  const { openMachines } = await import('./boot/open-boot.ts')
  const { machines, journal } = await openMachines(boot, settings, log)
  server.machines = machines
  server.journals.push(journal)
}

/** Refuses an invalid `--export` before anything is created. */
function checkExports(settings: Settings): void {
  for (const view of settings.views) readExports(view.exports)
}

/** Returns warnings, one sentence each. */
async function openListeners(server: RunningServer, settings: Settings, log: Logger): Promise<string[]> {
  const { nfs, webdav } = settings
  // Loaded on demand, because it takes more than 10 MB.
  if (webdav !== undefined) {
    await (await import('./webdav-listener.ts')).prepareWebdav(server, settings, webdav, log)
  }
  const warnings = nfs === undefined ? [] : await openNfs(server, settings, nfs, log)
  if (webdav !== undefined && server.http !== undefined) {
    const port = await listenHttp(server.http, webdav, logOf(log, 'http'))
    server.webdavAddress = { scheme: server.tls === undefined ? 'http' : 'https', host: webdav.host, port }
  }
  const { machines, templates } = server
  if (machines !== undefined && templates !== undefined) {
    const { openBoot } = await import('./boot/open-boot.ts')
    const nfsPort = () => server.nfs?.port
    if (!machines.findable) warnings.push(NO_PORTMAPPER)
    server.boot = await openBoot({ machines, templates, nfsPort, status: () => server.status(), log })
  }
  return warnings
}

/** Most initial RAM disks have no way to be told the port of MOUNT. */
const NO_PORTMAPPER =
  'machines that boot with klibc, as Debian does, ask the portmapper where NFS is, and it does not know: set nfs.portmap or nfs.rpcbind'

/** The consequences of a full or read-only disk of the state directory. */
const NOT_WRITABLE =
  'is on a full or read-only disk, so overlayd status and overlayd remount cannot find this server, new WebDAV locks may end with this run, and NFS clients may get no locks'

/** Writes the ready file and the run file, by which scripts and `overlayd status` find the server. Returns warnings about files that could not be written. */
async function tellOthers(server: RunningServer, settings: Settings, admin: Admin | undefined): Promise<string[]> {
  const { configFile, stateDir, readyFile } = settings
  const config = configFile === undefined ? {} : { config: configFile }
  server.publishViews = async () => {
    const views = server.views.list().map(({ name }) => name)
    // The socket is in the directory of the run file, so there is either both or none.
    if (admin === undefined) return undefined
    const run = {
      ...readyFileContent(server),
      pid: process.pid,
      views,
      ...config,
      admin: { socket: admin.socket, ...(admin.url !== undefined && { url: admin.url }) },
    }
    return await writeRunFile(stateDir, run)
  }
  const warnings: string[] = []
  const path = await server.publishViews()
  if (path !== undefined) server.publishedFiles.push(path)
  else warnings.push(`${stateDir} ${NOT_WRITABLE}`)
  if (readyFile === undefined) return warnings
  if (await writeReadyFile(readyFile, readyFileContent(server))) server.publishedFiles.push(readyFile)
  else
    warnings.push(`--ready-file: ${readyFile} is on a full or read-only disk and was not written; the server is ready`)
  return warnings
}

function readyFileContent({ listening: { webdav, nfs }, views }: RunningServer): ReadyFile {
  const first = (door: 'webdav' | 'nfs') => views.list().find((view) => isServedBy(door, view))?.name
  const [dav, exported] = [first('webdav'), first('nfs')]
  return {
    webdav:
      webdav === undefined || dav === undefined
        ? null
        : `${webdav.scheme}://${formatAddress(reachable(webdav.host), webdav.port)}/${dav}/`,
    nfs:
      nfs === undefined || exported === undefined
        ? null
        : { host: reachable(nfs.host), port: nfs.port, export: `/${exported}` },
  }
}

/** An address at which this machine reaches a listener on `host`. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}
