import type { Address } from './settings.ts'

/** What happens to the changes of a machine when it boots. */
export const MACHINE_POLICIES = ['keep', 'reset-at-boot', 'snapshot-at-boot', 'ephemeral'] as const
export type MachinePolicy = (typeof MACHINE_POLICIES)[number]

/** What a machine gets that is in no list. */
export const UNKNOWN_MACHINES = ['refuse', 'menu', 'register', 'ephemeral'] as const
export type UnknownMachines = (typeof UNKNOWN_MACHINES)[number]

/** How a claimed MAC is compared with the neighbour table of the server. */
export const MAC_CHECKS = ['known', 'always', 'never'] as const
export type MacCheck = (typeof MAC_CHECKS)[number]

/** The files that the server writes into the view of a machine at each boot. */
export const SEEDS = ['hostname', 'hosts', 'machine-id', 'ssh-keys', 'fstab', 'shutdown', 'volatile-journal'] as const
export type Seed = (typeof SEEDS)[number]

/** What machines and groups may say; what is undefined comes from the groups. Lists are added to those of the groups. */
export interface MachineProfile {
  readonly name: string
  /** The groups that it belongs to, the most important one first. */
  readonly groups: readonly string[]
  /** The template that it boots; undefined: the menu. */
  readonly view?: string | undefined
  readonly policy?: MachinePolicy | undefined
  /** Words added to the kernel's command line. */
  readonly arguments: readonly string[]
  /** Further options of the NFS mount. */
  readonly mountOptions: readonly string[]
  /** The value of `console=`. */
  readonly console?: string | undefined
  /** Paths in the view; undefined: the newest kernel in /boot. */
  readonly kernel?: string | undefined
  readonly initrd?: string | undefined
  /** Undefined: the usual ones. */
  readonly seeds?: readonly Seed[] | undefined
  /** Lines for the fstab of the machine. */
  readonly fstab: readonly string[]
  /** Public keys that may log in as root. */
  readonly authorizedKeys: readonly string[]
  /** Directories whose files are written into the view. Absolute. */
  readonly files: readonly string[]
}

/** A machine of the list. */
export interface MachineSettings extends MachineProfile {
  /** Six pairs of lower-case hexadecimal digits with colons. */
  readonly mac?: string | undefined
  /** In lower case. */
  readonly uuid?: string | undefined
  readonly serial?: string | undefined
  /** The address that it has for good, so that it needs no boot script. */
  readonly address?: string | undefined
  /** A secret that the boot script must send. */
  readonly key?: string | undefined
}

/** How machines boot from the server. */
export interface BootSettings {
  readonly listen: Address
  /** The templates that machines boot from. */
  readonly views: readonly string[]
  readonly unknown: UnknownMachines
  /** The template of unknown machines. */
  readonly unknownView: string | undefined
  /** The template that the menu takes by itself. */
  readonly default: string | undefined
  /** How long the menu waits, in seconds. */
  readonly timeoutSeconds: number
  /** The address of the NFS server for machines; undefined: the one at which they have asked. */
  readonly server: string | undefined
  readonly arguments: readonly string[]
  /** A directory of files with machines and groups. Absolute. */
  readonly inventory: string | undefined
  /** How long a machine may be silent until its address is not its own any more. */
  readonly leaseMs: number
  readonly checkMac: MacCheck
  /** How many snapshots `snapshot-at-boot` keeps. */
  readonly keepSnapshots: number
  readonly machines: readonly MachineSettings[]
  readonly groups: readonly MachineProfile[]
}
