import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { getPriority, setPriority } from 'node:os'

/** How much nicer attackers are: what they do in their own process shall not count as the server's slowness. */
const NICER = 5

/** How far a full run is raised above the priority of everything else on the machine. */
const AHEAD = 15

let nicer = 0

/** The nice value of the session. With autogroups, Linux divides processor time between sessions before it does between processes. */
const SESSION = '/proc/self/autogroup'

/**
 * Raises the priority of this process, its children and its session above everything else on the machine, until it ends. Otherwise the main thread of the server could wait for a helper thread,
 * such as one that collects garbage, while other programs have the processors. No system counter tells such a wait from a stall of the server's own.
 */
export function goFirst(): void {
  setPriority(Math.max(-20, getPriority() - AHEAD))
  if (!existsSync(SESSION)) return
  const before = /nice (-?\d+)/.exec(readFileSync(SESSION, 'latin1'))?.[1] ?? '0'
  writeFileSync(SESSION, String(-AHEAD))
  process.on('exit', () => writeFileSync(SESSION, before))
}

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
