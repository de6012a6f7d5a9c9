import { code, type Section, text } from './manual-blocks.ts'
import type { OptionSpec } from './schema.ts'

/** Where packages come from by default. */
export const MIRROR = 'http://deb.debian.org/debian'

/** The options of `overlayd image`. */
export const IMAGE_OPTIONS: readonly OptionSpec[] = [
  { name: '--debootstrap', value: 'SUITE', meaning: 'Makes a Debian of this suite, for example `bookworm`.' },
  {
    name: '--packages',
    value: 'NAME[,NAME…]',
    meaning: 'Further packages. What a machine needs to boot and to be logged into is there without it.',
  },
  { name: '--mirror', value: 'URL', meaning: 'Where the packages come from.', default: MIRROR },
  { name: '--cache', value: 'DIR', meaning: 'Keeps downloaded packages for the next image.' },
  { name: '--from', value: 'PATH', meaning: 'Copies this directory, or unpacks this tar file, instead.' },
  { name: '--fix', meaning: 'Mends what is safe to mend.' },
  { name: '--json', meaning: 'Prints the findings as JSON.' },
  { name: '--help', short: '-h', meaning: 'Prints how to use `overlayd image` and exits.' },
]

export const IMAGE: Section = {
  title: 'IMAGE',
  blocks: [
    code(
      'overlayd image build DIR --debootstrap SUITE [--packages NAME[,NAME…]] [--mirror URL] [--cache DIR]',
      'overlayd image build DIR --from PATH',
      'overlayd image lint DIR [--fix] [--json]',
    ),
    text(
      'Makes and checks images for machines that boot from the server, see [thin-clients.md](thin-clients.md). They need no running server. `build` makes the directory *DIR*, which must not exist, in one step: if it fails, nothing is left. It needs root, and `debootstrap` for a Debian. It prints what it does on standard error, and checks the image at the end, as `lint --fix` does.',
      '`lint` prints what breaks on a network root, and what each machine would have of all others: a missing kernel or initial RAM disk, one that cannot mount NFS, disks in `/etc/fstab`, a machine-id and SSH host keys in the image, file capabilities, what configures the network anew. `--fix` mends what is safe: it empties the machine-id, and removes host keys, fixed names of network cards, and disks in `/etc/fstab`.',
    ),
    { kind: 'options', options: IMAGE_OPTIONS, joint: ' ' },
    code(
      'overlayd image build /srv/lab/image --debootstrap bookworm --packages vim,firefox-esr --cache /var/cache/overlayd',
      'overlayd image lint /srv/lab/image --fix',
    ),
    text('The exit status is 0; 1 if an image cannot boot, or could not be made; 2 if the options are wrong.'),
  ],
}
