import { spawn } from 'node:child_process'
import { constants } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { claimDirectory, OptionError } from '../../overlay-core/index.ts'

/** A fork as the server describes it. */
export interface ForkPlace {
  readonly directory: string
  /** Topmost first. */
  readonly lowerdir: readonly string[]
  readonly userxattr: boolean
}

/** The exit status of the shell when the mount fails. */
const NO_MOUNT = 125
/** For so long the server may need to let go of a fork that it has just made. */
const CLAIM_MS = 10_000
const CLAIM_PAUSE_MS = 100
/** Mounts at $1 with the options $2, and becomes the command. The mount ends with the namespace, that is with the command. */
const SCRIPT = `mount -t overlay overlayd -o "$2" "$1" || exit ${NO_MOUNT}; cd "$1" || exit ${NO_MOUNT}; shift 2; exec "$@"`

/**
 * Runs a command in the root of a fork, mounted by the kernel's overlay in a mount namespace of its own. No other process uses the fork meanwhile. Returns the exit status
 * of the command; 128 plus the number of a signal that ended it.
 *
 * @throws OptionError the fork cannot be mounted
 */
export async function runInFork(fork: ForkPlace, mountpoint: string, command: readonly string[]): Promise<number> {
  if (process.platform !== 'linux') throw new OptionError('run', 'needs the overlay of a Linux kernel')
  const asRoot = process.geteuid?.() === 0
  if (!asRoot && !fork.userxattr)
    throw new OptionError('run', 'needs root, because the server of this view runs as root; use sudo')
  const release = await claim(join(fork.directory, 'upper'))
  try {
    // Ctrl-C is for the command; this process goes on afterwards.
    const ignored = () => undefined
    process.on('SIGINT', ignored)
    const namespaces = ['--mount', '--propagation', 'private', ...(asRoot ? [] : ['--user', '--map-root-user'])]
    const words = [...namespaces, 'sh', '-c', SCRIPT, 'sh', mountpoint, mountOptions(fork), ...command]
    const status = await ended(words)
    process.off('SIGINT', ignored)
    if (status === NO_MOUNT) throw new OptionError('run', 'the kernel cannot mount the fork; see the line before')
    return status
  } finally {
    release()
  }
}

async function claim(upper: string): Promise<() => void> {
  for (let waited = 0; ; waited += CLAIM_PAUSE_MS) {
    const release = await claimDirectory(upper)
    if (release !== undefined) return release
    if (waited >= CLAIM_MS) throw new OptionError('run', `${upper} is in use; does a client use the fork?`)
    await sleep(CLAIM_PAUSE_MS)
  }
}

function mountOptions({ directory, lowerdir, userxattr }: ForkPlace): string {
  const lowers = lowerdir.map((path) => path.replace(/[\\:,]/g, '\\$&')).join(':')
  const own = (name: string) => join(directory, name).replace(/[\\,]/g, '\\$&')
  const marks = userxattr ? 'userxattr' : 'redirect_dir=on'
  return `lowerdir=${lowers},upperdir=${own('upper')},workdir=${own('work')},index=off,metacopy=off,${marks}`
}

function ended(words: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn('unshare', words, { stdio: 'inherit' })
    child.on('error', reject)
    child.on('exit', (status, signal) => resolve(status ?? 128 + (signal === null ? 0 : constants.signals[signal])))
  })
}
