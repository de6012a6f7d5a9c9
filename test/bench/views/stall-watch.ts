/**
 * Loaded into a server by `--import`. At each SIGUSR2 it prints the longest time in which the event loop did not turn since the last one, and counts anew.
 */
import { monitorEventLoopDelay } from 'node:perf_hooks'

const delay = monitorEventLoopDelay({ resolution: 2 })
delay.enable()

process.on('SIGUSR2', () => {
  process.stderr.write(`longest stall ${(delay.max / 1e6).toFixed(2)}\n`)
  delay.reset()
})
