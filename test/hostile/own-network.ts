import { execFileSync, spawnSync } from 'node:child_process'

const MARK = 'OVERLAYD_HOSTILE_NETWORK'

/**
 * Goes on in a network and mount namespace of its own, where port 111 is free and nobody else is: runs the program `path` again in there and ends with its status. In there it returns, with a
 * loopback interface.
 *
 * @throws Error not run by root
 */
export function enterHostileNetwork(path: string, args: readonly string[]): void {
  if (process.geteuid?.() !== 0)
    throw new Error('run this as root: it takes a network namespace, mounts and other users')
  if (process.env[MARK] === undefined) {
    const words = ['--net', '--mount', process.execPath, ...process.execArgv, path, ...args]
    const { status } = spawnSync('unshare', words, { stdio: 'inherit', env: { ...process.env, [MARK]: '1' } })
    process.exit(status ?? 1)
  }
  execFileSync('ip', ['link', 'set', 'lo', 'up'])
}
