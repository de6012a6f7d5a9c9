import { getPriority, setPriority } from 'node:os'

/** How much nicer attackers are: what they do in their own process shall not count as the server's slowness. */
const NICER = 5

let nicer = 0

/** Makes this process, the attacker, give way to the server and to the probe. */
export function giveWay(): void {
  // Only root can take it back for the processes that it starts.
  if (nicer > 0 || process.geteuid?.() !== 0 || getPriority() + NICER > 19) return
  setPriority(getPriority() + NICER)
  nicer = NICER
}

/** What to start so that `command` runs at the priority that this process had before it gave way. */
export function atOwnPriority(...command: string[]): { file: string; args: string[] } {
  if (nicer > 0) return { file: 'nice', args: ['-n', String(-nicer), ...command] }
  const [file = '', ...args] = command
  return { file, args }
}
