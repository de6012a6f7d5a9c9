/**
 * Loaded into a server by `--import`. At each SIGUSR2 it prints the longest times in which the event loop did not turn since the last one, as JSON
 * (`LongestStalls`), and counts anew.
 */
import { Stalls } from '../../helpers/stalls.ts'

const stalls = new Stalls()

process.on('SIGUSR2', () => {
  process.stderr.write(`longest stalls ${JSON.stringify(stalls.longest)}\n`)
  stalls.reset()
})
