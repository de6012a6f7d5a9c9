import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { run } from '../../server/launch.ts'
import { type Guest, startGuest } from './guest-console.ts'
import type { Scratch } from './scratch.ts'

/** The address of this machine in the network of the lab. */
export const LAB_ADDRESS = '10.78.0.1'
export const LAB_NETWORK = '10.78.0.0/24'
const BRIDGE = 'lab0'
const RANGE = '10.78.0.100,10.78.0.150'

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

/** A running dnsmasq. */
export interface Dnsmasq {
  log(): string
}

/**
 * Starts the real dnsmasq with the configuration that `overlayd boot dnsmasq` makes: beside the router (`proxy`), or as the DHCP server of the lab.
 *
 * @throws Error it refuses the configuration, or ends
 */
export async function startDnsmasq(scratch: Scratch, config: string, how: 'proxy' | 'range'): Promise<Dnsmasq> {
  const asked = how === 'proxy' ? ['--network', LAB_NETWORK] : ['--range', RANGE]
  const words = ['boot', 'dnsmasq', '--config', config, ...asked, '--interface', BRIDGE]
  const { stdout, stderr, status } = await run(words)
  if (status !== 0) throw new Error(`overlayd boot dnsmasq: ${stderr}`)
  const path = join(scratch.path, 'dnsmasq.conf')
  writeFileSync(path, stdout)
  execFileSync('dnsmasq', ['--test', '-C', path], { stdio: 'ignore' })
  return await dnsmasq(scratch, ['dnsmasq', '-C', path], 'boot')
}

/** Starts a router that gives out addresses and knows nothing of booting, in a network namespace of its own. */
export async function startRouter(scratch: Scratch): Promise<Dnsmasq> {
  const ip = (words: string) => execFileSync('ip', words.split(' '))
  ip(`link add router0 type veth peer name router1`)
  ip(`link set router1 master ${BRIDGE}`)
  ip('link set router1 up')
  const wait = 'until ip link set router0 up 2> /dev/null; do sleep 0.1; done; ip addr add 10.78.0.2/24 dev router0'
  const command = `${wait}; exec dnsmasq --port=0 --interface=router0 --dhcp-range=${RANGE},1h --log-dhcp "$@"`
  const started = dnsmasq(
    scratch,
    ['unshare', '--net', 'sh', '-c', command, 'router', '-C', '/dev/null'],
    'router',
    (pid) => ip(`link set router0 netns ${pid}`),
  )
  return await started
}

async function dnsmasq(
  scratch: Scratch,
  [program = '', ...args]: readonly string[],
  name: string,
  begun: (pid: number) => void = () => undefined,
): Promise<Dnsmasq> {
  const own = ['-k', '-u', 'root', '-g', 'root', '--pid-file', '--log-facility=-']
  const leases = `--dhcp-leasefile=${join(scratch.path, `${name}.leases`)}`
  const child: ChildProcess = spawn(program, [...args, ...own, leases], {
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  if (child.pid === undefined) throw new Error(`${program} cannot be started`)
  child.on('close', scratch.killAtEnd(child.pid))
  let log = ''
  const started = new Promise<void>((resolve) =>
    child.stderr?.on('data', (chunk) => {
      log += chunk
      if (log.includes('started')) resolve()
    }),
  )
  scratch.defer(() => void child.kill('SIGKILL'))
  const ended = once(child, 'close').then(() => Promise.reject(new Error(`dnsmasq ended: ${log}`)))
  // unshare has its network when it has become another program.
  await waitForOwnNetwork(child.pid, begun)
  await Promise.race([started, ended])
  ended.catch(() => undefined)
  return { log: () => log }
}

async function waitForOwnNetwork(pid: number, begun: (pid: number) => void): Promise<void> {
  const networkOf = (process: number | 'self') => readlinkSync(`/proc/${process}/ns/net`)
  const deadline = Date.now() + 10_000
  while (networkOf(pid) === networkOf('self') && Date.now() < deadline && begun.length > 0)
    await new Promise((resolve) => setTimeout(resolve, 50))
  begun(pid)
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
