import { type OptionSpec, STATE_DIR_OF_SERVER, WHICH_SERVER } from './schema.ts'

/** The options of `overlayd machine`. */
export const MACHINE_OPTIONS: readonly OptionSpec[] = [
  {
    name: '--view',
    value: 'VIEW',
    meaning: 'With `approve`: the view that the machine boots.',
    otherwise: 'that of its groups',
  },
  { name: '--group', value: 'GROUP', repeats: true, meaning: 'With `approve`: a group that the machine belongs to.' },
  { name: '--yes', meaning: 'Asks nothing. `reset` and `forget` ask on a terminal, and need it elsewhere.' },
  { name: '--drop', meaning: 'With `reset`: does not keep what the view contains now.' },
  { name: '--json', meaning: 'Prints the result as JSON.' },
  WHICH_SERVER,
  STATE_DIR_OF_SERVER,
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd machine` and exits.' },
]

/** The options of `overlayd boot dnsmasq`. */
export const BOOT_OPTIONS: readonly OptionSpec[] = [
  { name: '--config', value: 'FILE', meaning: 'The configuration file with the table `[boot]`. It is required.' },
  {
    name: '--network',
    value: 'ADDRESS/BITS',
    meaning: 'The network of the machines, in which another server gives out addresses.',
    examples: ['--network 192.168.1.0/24'],
  },
  {
    name: '--range',
    value: 'FIRST,LAST',
    meaning: 'Makes dnsmasq give out these addresses itself, where there is no other DHCP server.',
    examples: ['--range 192.168.1.100,192.168.1.200'],
  },
  { name: '--interface', value: 'NAME', meaning: 'The network interface that dnsmasq listens on.', otherwise: 'all' },
  {
    name: '--tftp-root',
    value: 'DIR',
    meaning: 'Where `undionly.kpxe` and `ipxe.efi` are, and the files of Raspberry Pis.',
    default: '/usr/lib/ipxe',
  },
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd boot` and exits.' },
]
