import type { Logger } from 'pino'
import { formatAddress, type Settings } from '../config/index.ts'
import { announce } from './announce.ts'
import { systemClock } from './clock.ts'
import { type Control, openControl } from './control.ts'
import { exposedDirectories } from './exposure.ts'
import type { Faults } from './faults.ts'
import { checkPorts, listenHttp } from './listeners.ts'
import type { LogCounters } from './log-sink.ts'
import { keepMemorySmall } from './memory-keeper.ts'
import { openNfs, readExports } from './nfs-listener.ts'
import { systemRandom } from './random.ts'
import { RunningServer } from './running-server.ts'
import { planViews } from './sample.ts'
import { refuseSecretsInLayers, refuseSecretsInNewLayers } from './secret-paths.ts'
import { checkReadyFile, checkWritable, type ReadyNote, writeReadyFile, writeRunNote } from './state-dir.ts'
import { Views } from './views.ts'

/** What the process provides to a server. */
export interface Surroundings {
  readonly log: Logger
  readonly logCounters: LogCounters
  readonly faults: Faults
  /** Prints a text for the person who started the server. */
  readonly print: (text: string) => void
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
  { log, logCounters, faults, print }: Surroundings,
): Promise<RunningServer> {
  checkExports(given)
  if (given.readyFile !== undefined) await checkReadyFile(given.readyFile)
  await checkWritable('--state-dir', given.stateDir)
  const settings = await checkPorts(given)
  const views = await openViews(settings)
  const notes = [...views.notes]
  const server = new RunningServer({
    log,
    logCounters,
    faults,
    clock: systemClock,
    views,
  })
  try {
    await openListeners(server, settings, log)
    const control = await openControl({
      log: log.child({ listener: 'control' }),
      random: systemRandom,
      remount: (request) => server.remount(request),
    })
    server.control = control
    notes.push(...(await tellOthers(server, settings, control)))
  } catch (error) {
    await server.close()
    throw error
  }
  server.stopKeepingMemory = keepMemorySmall(log)
  notes.push(...(await exposedDirectories(settings, server.views.list())))
  for (const note of notes) log.warn(note)
  print(announce(server.listening, server.views.list(), settings, notes))
  return server
}

async function openViews(settings: Settings): Promise<Views> {
  const plans = await planViews(settings)
  await refuseSecretsInLayers(
    settings,
    plans.map(({ options }) => options),
  )
  return await Views.open(plans, settings.stateDir, (options) => refuseSecretsInNewLayers(settings, options))
}

/** Refuses a wrong `--export` before anything is created. */
function checkExports(settings: Settings): void {
  for (const view of settings.views) readExports(view.exports)
}

async function openListeners(server: RunningServer, settings: Settings, log: Logger): Promise<void> {
  const { nfs, webdav } = settings
  // Loaded on demand, because it takes more than 10 MB.
  if (webdav !== undefined) await (await import('./webdav-listener.ts')).prepareWebdav(server, settings, webdav, log)
  if (nfs !== undefined) await openNfs(server, settings, nfs, log)
  if (webdav !== undefined && server.http !== undefined) {
    server.webdavAddress = { host: webdav.host, port: await listenHttp(server.http.app, webdav) }
  }
}

/** Writes the ready file and the run file, by which scripts and `overlayd status` find the server. Returns warnings about files that could not be written. */
async function tellOthers(server: RunningServer, settings: Settings, control: Control): Promise<string[]> {
  const note = readyNote(server)
  const views = server.views.list().map(({ name }) => name)
  const run = { ...note, pid: process.pid, views, control: control.note }
  const path = await writeRunNote(settings.stateDir, run)
  if (path !== undefined) server.notes.push(path)
  if (settings.readyFile !== undefined) {
    await writeReadyFile(settings.readyFile, note)
    server.notes.push(settings.readyFile)
  }
  if (path !== undefined) return []
  return [
    `${settings.stateDir} is on a full or read-only disk, so overlayd status and overlayd remount cannot find this server`,
  ]
}

function readyNote({ listening, views }: RunningServer): ReadyNote {
  const name = views.list()[0]!.name
  const { webdav, nfs } = listening
  return {
    webdav: webdav === undefined ? null : `http://${formatAddress(reachable(webdav.host), webdav.port)}/${name}/`,
    nfs: nfs === undefined ? null : { host: reachable(nfs.host), port: nfs.port, export: `/${name}` },
  }
}

/** An address at which this machine reaches a listener on `host`. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1'
  return host === '::' ? '::1' : host
}
