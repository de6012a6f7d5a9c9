import type { Workload } from './workloads.ts'

/** A real client of one server. */
export interface Client {
  /** Runs a workload on a new mount; returns its wall time in seconds. @throws Error it fails, with what it printed */
  run(workload: Workload, round: number): Promise<number>
  stop(): Promise<void>
}

/** How a client mounts. */
export interface Mounting {
  readonly mountpoint: string
  readonly mount: string
  /** Takes the mount away; returns when everything has been sent. */
  readonly unmount: string
  /** Whether files may be sent after they are closed, so that the time counts up to the end of the unmounting. */
  readonly sendsLate: boolean
}

/** The script for bash of one workload; the last line that it prints is the time in microseconds. */
export function scriptOf(
  { mountpoint, mount, unmount, sendsLate }: Mounting,
  workload: Workload,
  round: number,
): string {
  const late = sendsLate && workload.writes
  const note = (word: string) => `${word}=\${EPOCHREALTIME/./}`
  return `
mkdir -p ${mountpoint}
${mount}
trap 'cd /; umount -l ${mountpoint}' EXIT
cd ${mountpoint}
tree=$PWD/${workload.case}-${round}
new=$PWD/new-${round}
export GIT_CONFIG_GLOBAL=$HOME/.gitconfig
mkdir -p "$new"
${note('started')}
(
${workload.script}
)
${late ? '' : note('ended')}
cd /
${unmount}
${late ? note('ended') : ''}
trap - EXIT
echo $((ended - started))
`
}

/** The time that a script printed, in seconds. @throws Error it printed none */
export function secondsOf(printed: string): number {
  const last = printed.trim().split('\n').at(-1) ?? ''
  if (!/^\d+$/.test(last)) throw new Error(`a workload failed:\n${printed.slice(-4000)}`)
  return Number(last) / 1e6
}
