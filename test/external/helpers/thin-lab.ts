import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../server/launch.ts'
import { type Guest, startGuest } from './guest-console.ts'
import type { Scratch } from './scratch.ts'

/** The address of this machine in the network of the lab. */
export const LAB_ADDRESS = '10.78.0.1'
export const LAB_NETWORK = '10.78.0.0/24'
const BRIDGE = 'lab0'

/** Makes the network of the lab in the network namespace that the test has entered: a bridge with a tap interface for each machine. */
export function makeLabNetwork(machines: number): void {
  const ip = (words: string) => execFileSync('ip', words.split(' '))
  ip(`link add ${BRIDGE} type bridge`)
  ip(`addr add ${LAB_ADDRESS}/24 dev ${BRIDGE}`)
  ip(`link set ${BRIDGE} up`)
  for (let i = 0; i < machines; i++) {
    ip(`tuntap add labtap${i} mode tap`)
    ip(`link set labtap${i} master ${BRIDGE}`)
    ip(`link set labtap${i} up`)
  }
}

/** Starts the real dnsmasq with the configuration that `overlayd boot dnsmasq` makes. @throws Error it refuses the configuration, or ends */
export async function startDnsmasq(scratch: Scratch, config: string): Promise<{ log(): string }> {
  const asked = ['--range', '10.78.0.100,10.78.0.150', '--interface', BRIDGE]
  const { stdout, stderr, status } = await run(['boot', 'dnsmasq', '--config', config, ...asked])
  if (status !== 0) throw new Error(`overlayd boot dnsmasq: ${stderr}`)
  const path = join(scratch.path, 'dnsmasq.conf')
  writeFileSync(path, stdout)
  execFileSync('dnsmasq', ['--test', '-C', path], { stdio: 'ignore' })
  const leases = join(scratch.path, 'dnsmasq.leases')
  const child: ChildProcess = spawn(
    'dnsmasq',
    ['-C', path, '-k', '-u', 'root', '-g', 'root', `--dhcp-leasefile=${leases}`, '--pid-file', '--log-facility=-'],
    {
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    },
  )
  if (child.pid !== undefined) child.on('close', scratch.killAtEnd(child.pid))
  let log = ''
  child.stderr?.on('data', (chunk) => {
    log += chunk
  })
  scratch.defer(() => void child.kill('SIGKILL'))
  const started = new Promise<void>((resolve) => child.stderr?.on('data', () => log.includes('started') && resolve()))
  const ended = once(child, 'close').then(() => Promise.reject(new Error(`dnsmasq ended: ${log}`)))
  await Promise.race([started, ended])
  ended.catch(() => undefined)
  return { log: () => log }
}

/** Starts a machine without a disk, which boots from its network card. `number`: of its tap interface. */
export function startMachine(
  scratch: Scratch,
  { number, mac, memory = 384 }: { number: number; mac: string; memory?: number },
): Guest {
  return startGuest(scratch, [
    ...['-accel', 'tcg,thread=multi,tb-size=128', '-cpu', 'max', '-smp', '1', '-m', String(memory)],
    ...['-nodefaults', '-display', 'none', '-serial', 'stdio', '-boot', 'n'],
    ...['-netdev', `tap,id=n0,ifname=labtap${number},script=no,downscript=no`],
    ...['-device', `virtio-net-pci,netdev=n0,mac=${mac}`],
  ])
}
