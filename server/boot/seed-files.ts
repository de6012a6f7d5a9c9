import type { ResolvedMachine, Seed } from '../../config/index.ts'
import type { MachineSecrets } from './machines.ts'

/** A file that is written into the view of a machine. */
export interface SeedFile {
  /** Absolute in the view. */
  readonly path: string
  readonly content: Uint8Array
  readonly mode: number
  /** It is only written if this directory is there. */
  readonly within?: string
}

const MARK = '# Written by overlayd at each boot; see fstab, files and seeds of the machine in its configuration.\n'

/** Nothing of the network goes down before the root file system, which is on it. */
const SHUTDOWN: readonly SeedFile[] = [
  // ifupdown takes its interfaces down when it stops.
  seed(
    '/etc/systemd/system/networking.service.d/overlayd.conf',
    `${MARK}[Service]\nExecStop=\n`,
    '/etc/systemd/system',
  ),
  seed(
    '/etc/systemd/network/00-overlayd.network',
    `${MARK}[Match]\nKernelCommandLine=root=/dev/nfs\nType=ether\n\n[Network]\nDHCP=ipv4\nKeepConfiguration=yes\n\n[DHCPv4]\nClientIdentifier=mac\nUseMTU=no\n`,
    '/etc/systemd/network',
  ),
  seed(
    '/etc/NetworkManager/conf.d/overlayd.conf',
    `${MARK}[keyfile]\nunmanaged-devices=type:ethernet\n`,
    '/etc/NetworkManager/conf.d',
  ),
]

const JOURNAL = seed(
  '/etc/systemd/journald.conf.d/overlayd.conf',
  `${MARK}[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n`,
  '/etc/systemd',
)

/** The files that the seeds of a machine are. */
export function seedFiles(machine: ResolvedMachine, { machineId, sshKey }: MachineSecrets): SeedFile[] {
  const { name, fstab, authorizedKeys } = machine
  const files: Readonly<Record<Seed, readonly SeedFile[]>> = {
    hostname: [seed('/etc/hostname', `${name}\n`)],
    hosts: [
      seed(
        '/etc/hosts',
        `${MARK}127.0.0.1\tlocalhost\n127.0.1.1\t${name}\n::1\tlocalhost ip6-localhost ip6-loopback\nff02::1\tip6-allnodes\nff02::2\tip6-allrouters\n`,
      ),
    ],
    'machine-id': [
      seed('/etc/machine-id', `${machineId}\n`, undefined, 0o444),
      seed('/var/lib/dbus/machine-id', `${machineId}\n`, '/var/lib/dbus'),
    ],
    'ssh-keys': [
      seed('/etc/ssh/ssh_host_ed25519_key', sshKey.private, '/etc/ssh', 0o600),
      seed('/etc/ssh/ssh_host_ed25519_key.pub', sshKey.public, '/etc/ssh'),
    ],
    fstab: [seed('/etc/fstab', `${MARK}${fstab.map((line) => `${line}\n`).join('')}`)],
    shutdown: SHUTDOWN,
    'volatile-journal': [JOURNAL],
  }
  const keys = authorizedKeys.map((line) => `${line}\n`).join('')
  return [
    ...machine.seeds.flatMap((each) => files[each]),
    ...(keys === '' ? [] : [seed('/root/.ssh/authorized_keys', keys, '/root', 0o600)]),
  ]
}

function seed(path: string, text: string, within?: string, mode = 0o644): SeedFile {
  return { path, content: Buffer.from(text), mode, ...(within !== undefined && { within }) }
}
