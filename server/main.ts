import { parseCommandLine, readEnvironment } from '../config/index.ts'
import { OptionError } from '../overlay-core/index.ts'
import { installFaultPolicy } from './faults.ts'
import { createLog } from './log.ts'
import { listenForSignals } from './shutdown.ts'
import { versionText } from './version.ts'

/** Runs one command line to its end and returns the exit status. */
async function main(argv: readonly string[]): Promise<number> {
  const command = parseCommandLine(argv, readEnvironment())
  if (command.kind === 'help') return print(command.text)
  if (command.kind === 'version') return print(versionText())
  // Loaded when wanted: the manual and a wrong option shall not wait for the whole server.
  if (command.kind === 'status') return (await import('./status-command.ts')).printStatus(command.settings, print)
  if (command.kind === 'remount')
    return (await import('./remount-command.ts')).askForRemount(command.settings, complain)
  const { serve } = await import('./serve.ts')
  const { log, counters } = createLog(command.settings.logLevel)
  const stop = listenForSignals(log)
  const faults = installFaultPolicy(log, stop)
  const server = await serve(command.settings, { log, logCounters: counters, faults, print })
  await stop.requested
  const closed = await server.close()
  // Whatever a bug may have left open must not keep a flushed server from ending.
  setTimeout(() => process.exit(), 1_000).unref()
  return Math.max(closed, stop.exitStatus)
}

/** Writes to standard output; a reader that went away is no fault of the server. */
function print(text: string): number {
  process.stdout.write(text)
  return 0
}

/** Writes to standard error. */
function complain(text: string): void {
  process.stderr.write(`overlayd: ${text}`)
}

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error
})

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  if (!(error instanceof OptionError)) throw error
  // One line whatever the user typed: control characters would break it, or the terminal.
  process.stderr.write(`overlayd: ${error.message.replace(/\p{Cc}/gu, '?')}\n`)
  process.exitCode = 2
}
