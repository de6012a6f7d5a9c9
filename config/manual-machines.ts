import { BOOT_OPTIONS, MACHINE_OPTIONS } from './machine-options.ts'
import { code, type Section, text } from './manual-blocks.ts'

export const MACHINE: Section = {
  title: 'MACHINE',
  blocks: [
    code(
      'overlayd machine list [--json]',
      'overlayd machine show NAME [--json]',
      'overlayd machine approve MAC NAME [--view VIEW] [--group GROUP] [--json]',
      'overlayd machine reset NAME [--drop] [--yes] [--json]',
      'overlayd machine forget NAME [--yes] [--json]',
      'overlayd machine pin|unpin NAME [--json]',
      'overlayd machine console-args NAME',
    ),
    text(
      'Lists and changes the machines that boot from a running server, see [thin-clients.md](thin-clients.md).',
      '`list` shows all machines of the configuration and of the inventory, those that have booted, and those that wait for approval. `approve` adds a machine that waits to the list; with `boot.unknown = "register"` it boots within ten seconds. `reset` takes all changes of its view back, and keeps them as a snapshot unless `--drop` is given: do it while the machine is off, or restart it. `forget` removes its address, its identity (machine-id and SSH host keys) and its approval; its view stays, and at the next boot it gets a new identity. `pin` keeps a machine that is reset at boot on the version of its image until `unpin`. `console-args` prints the kernel command line, for a machine with an `address` whose kernel is started from outside.',
    ),
    { kind: 'options', options: MACHINE_OPTIONS, joint: ' ' },
    code('overlayd machine approve 52:54:00:12:34:56 lab7 --group lab', 'overlayd machine list --json'),
    text(
      'The exit status is 0; 1 if the server cannot be reached; 2 if it refuses, for example because there is no such machine.',
    ),
  ],
}

export const BOOT: Section = {
  title: 'BOOT',
  blocks: [
    code('overlayd boot dnsmasq --config FILE --network ADDRESS/BITS|--range FIRST,LAST [OPTION…]'),
    text(
      'Prints a configuration of dnsmasq that makes machines boot from the server: beside the DHCP server of the network (`--network`, proxy DHCP), or as the DHCP server itself (`--range`). It changes nothing. `boot.listen` must be an address of the network of the machines.',
    ),
    { kind: 'options', options: BOOT_OPTIONS, joint: ' ' },
    code('overlayd boot dnsmasq --config overlayd.toml --network 192.168.1.0/24 > /etc/dnsmasq.d/overlayd.conf'),
    text('The exit status is 0; 1 if the file has errors; 2 if the options are wrong.'),
  ],
}
