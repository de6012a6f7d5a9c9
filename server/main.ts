import { type ConfigRequest, type Environment, parseCommandLine, readEnvironment } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { systemClock } from './clock.ts'
import { installFaultPolicy } from './faults.ts'
import { createLog } from './log.ts'
import type { RunningServer } from './running-server.ts'
import type { ServedConfig } from './serve-config.ts'
import { ServiceStates } from './service-states.ts'
import { listenForSignals } from './shutdown.ts'
import { versionText } from './version.ts'

/** Runs one command line to its end and returns the exit status. */
async function main(argv: readonly string[]): Promise<number> {
  const environment = readEnvironment()
  const command = parseCommandLine(argv, environment)
  if (command.kind === 'help') return print(command.text)
  if (command.kind === 'version') return print(versionText())
  // Loaded on demand, so that the manual and a wrong option do not wait for the whole server to load.
  if (command.kind === 'status') return (await import('./status-command.ts')).printStatus(command.settings, print)
  if (command.kind === 'remount')
    return (await import('./remount-command.ts')).askForRemount(command.settings, complain)
  if (command.kind === 'config-check') return (await import('./config-command.ts')).checkConfig(command.config, output)
  if (command.kind === 'config-print') return (await import('./config-command.ts')).printConfig(command.print, output)
  if (command.kind === 'reload') return (await import('./reload-command.ts')).askForReload(command.reload, output)
  if (command.kind === 'view') return (await import('./view-command.ts')).askForViews(command.view, output)
  if (command.kind === 'diff') return (await import('./diff/diff-command.ts')).printDifferences(command.diff, output)
  if (command.kind === 'rebase')
    return (await import('./rebase/rebase-command.ts')).askForRebase(command.rebase, process.stdin, output)
  if (command.kind === 'fsck') return (await import('./fsck/fsck-command.ts')).runFsck(command.fsck, output)
  if (command.kind === 'snapshot')
    return (await import('./snapshot-command.ts')).askForSnapshots(command.snapshot, process.stdin, output)
  if (command.kind === 'run')
    return (await import('./run/run-command.ts')).runOnFork(command.run, process.stdin, output)
  if (command.kind === 'layer')
    return (await import('./layers/layer-command.ts')).workOnLayers(
      command.layer,
      process.stdin,
      output,
      process.stderr.isTTY === true,
    )
  if (command.kind === 'admin')
    return (await import('./admin/commands/admin-command.ts')).runAdminCommand(command.admin, process.stdin, output)
  if (command.kind === 'user') return (await import('./user-command.ts')).changeUsers(command.user, output)
  if (command.kind === 'trash')
    return (await import('./trash-command.ts')).askForTrash(command.trash, process.stdin, output)
  if (command.kind === 'token') return (await import('./token-command.ts')).askForTokens(command.token, output)
  if (command.kind === 'cert') return (await import('./cert/cert-command.ts')).runCert(command.cert, output)
  if (command.kind === 'machine')
    return (await import('./boot/machine-command.ts')).askForMachines(command.machine, process.stdin, output)
  if (command.kind === 'image') return (await import('./image/image-command.ts')).workOnImage(command.image, output)
  if (command.kind === 'boot-dnsmasq')
    return (await import('./boot/boot-command.ts')).printDnsmasq(command.boot, output)
  if (command.kind === 'init') return (await import('./init-command.ts')).initialize(command.init, print)
  if (command.kind === 'serve-config') return await runFromConfig(command.config)
  return await run({ settings: command.settings, warnings: [] }, environment)
}

/** Serves what a configuration file says. Returns the exit status: 2 if the file has errors. */
async function runFromConfig(request: ConfigRequest): Promise<number> {
  const { servedConfig } = await import('./serve-config.ts')
  const config = await servedConfig(request)
  if (typeof config === 'string') {
    process.stderr.write(config)
    return 2
  }
  try {
    ;(await import('./obey-quotas.ts')).obeyQuotas(config.settings)
    return await run(config, request.environment, request)
  } catch (error) {
    if (!(error instanceof OptionError)) throw error
    complain(`${oneLine(config.explain(error))}\n`)
    return 2
  }
}

/** Serves until a signal ends it, and returns the exit status. */
async function run(
  { settings, warnings }: Pick<ServedConfig, 'settings' | 'warnings'>,
  { manager }: Environment,
  request?: ConfigRequest,
): Promise<number> {
  const { serve } = await import('./serve.ts')
  const { log, counters } = createLog(settings.logLevel)
  const stop =
    request === undefined
      ? listenForSignals(log)
      : listenForSignals(log, systemClock, process.exit, ['SIGTERM', 'SIGINT'])
  const faults = installFaultPolicy(log, stop)
  const reloader = request && new (await import('./reload.ts')).Reloader(request, settings, log)
  // One that comes before the views are open must not end the server.
  let hangUp = (): unknown => log.warn('still starting: the configuration file is not read again')
  if (reloader !== undefined) process.on('SIGHUP', () => hangUp())
  const reload = reloader && ((server: RunningServer) => reloader.reload(server))
  const server = await serve(settings, { log, logCounters: counters, faults, print, warnings, reload })
  hangUp = () => reload?.(server)
  const states = new ServiceStates(manager ?? { notify: undefined, watchdogMs: undefined }, log)
  states.ready(`serves ${settings.views.map(({ name }) => name).join(', ')}`)
  await stop.requested
  states.stopping()
  const closed = await server.close()
  states.close()
  // Exit even if a bug left something open: everything has been flushed.
  setTimeout(() => process.exit(), 1_000).unref()
  return Math.max(closed, stop.exitStatus)
}

/** Writes to standard output; a closed pipe is not an error of the server. */
function print(text: string): number {
  process.stdout.write(text)
  return 0
}

/** Writes to standard error, for messages of this command. */
function complain(text: string): void {
  process.stderr.write(`overlayd: ${text}`)
}

/** Keeps a message in one line: control characters in user input could break it, or the terminal. */
function oneLine(text: string): string {
  return text.replace(/\p{Cc}/gu, '?')
}

const output = { print, printError: (text: string) => void process.stderr.write(text) }

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof OptionError)) throw error
  complain(`${oneLine(error.message)}\n`)
  process.exitCode = 2
}
