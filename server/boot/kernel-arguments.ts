import type { ResolvedMachine } from '../../config/index.ts'

/** Where a machine finds its root file system. */
export interface RootPlace {
  /** The address of the NFS server. */
  readonly server: string
  /** The port of NFS and MOUNT; undefined: machines ask the portmapper, as klibc always does for MOUNT. */
  readonly port: number | undefined
  readonly view: string
}

/** How the root is mounted: klibc's own times are so short that a busy server looks dead. Locks are local, because nobody else has the view. */
const MOUNT = 'v3,tcp,nolock,timeo=600,retrans=2'

/** The words of the kernel's command line for a machine. All parts of them are checked where they come in: none has a blank or a sign that ends a word. */
export function kernelArguments(machine: ResolvedMachine, { server, port, view }: RootPlace): string[] {
  const { name, mac, console } = machine
  const host = server.includes(':') ? `[${server}]` : server
  const ports = port === undefined ? [] : [`port=${port}`, `mountport=${port}`]
  return [
    'root=/dev/nfs',
    `nfsroot=${host}:/${view}/self,${[MOUNT, ...ports, ...machine.mountOptions].join(',')}`,
    'rw',
    `ip=::::${name}::dhcp`,
    ...(mac === undefined ? [] : [`BOOTIF=01-${mac.replaceAll(':', '-')}`]),
    `nfs.nfs4_unique_id=${name}`,
    ...(console === undefined ? [] : [`console=${console}`]),
    ...machine.arguments,
  ]
}
