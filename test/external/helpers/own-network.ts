import { execFileSync, spawnSync } from 'node:child_process'

const MARK = 'OVERLAYD_TEST_NETWORK'

/** Addresses in the network of `enterOwnNetwork`. */
export const HOST_ADDRESS = '10.77.0.1'
/** One more of this machine: for another client. */
export const SECOND_ADDRESS = '10.77.0.3'
export const CLIENT_ADDRESS = '10.77.0.2'
export const TAP = 'tap0'

/**
 * Goes on in a network namespace of its own, where port 111 is free and nobody else is: runs the test file `path` again in there and ends with its status. In
 * there it returns, with a /run of its own (where rpcbind has its socket), a loopback interface, and a tap interface with our addresses for the kernel client.
 */
export function enterOwnNetwork(path: string): void {
  if (process.env[MARK] === undefined) {
    const { status } = spawnSync('unshare', ['--net', '--mount', process.execPath, ...process.execArgv, path], {
      stdio: 'inherit',
      env: { ...process.env, [MARK]: '1' },
    })
    process.exit(status ?? 1)
  }
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', '/run'])
  for (const words of [
    'link set lo up',
    `tuntap add ${TAP} mode tap`,
    `addr add ${HOST_ADDRESS}/24 dev ${TAP}`,
    `addr add ${SECOND_ADDRESS}/24 dev ${TAP}`,
    `link set ${TAP} up`,
  ]) {
    execFileSync('ip', words.split(' '))
  }
}
