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
  // Loaded on demand, so that the manual and a wrong option do not wait for the whole server to load.
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
  // Exit even if a bug left something open: everything has been flushed.
  setTimeout(() => process.exit(), 1_000).unref()
  return Math.max(closed, stop.exitStatus)
}

/** Writes to standard output; a closed pipe is not an error of the server. */
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
  // Keep the message in one line: control characters in user input could break it, or the terminal.
  process.stderr.write(`overlayd: ${error.message.replace(/\p{Cc}/gu, '?')}\n`)
  process.exitCode = 2
}
